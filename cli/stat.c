/* `landfall stat`: everything there is to say about one object, for a person or as the API's JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/target.h"
#include "common/cleanup.h"

enum { SHOWN_RANGES = 8 };

/* One line. Nothing is printed for what the answer has not. */
struct row {
    const char *label, *key;
    void (*print)(struct json_object *value, struct json_object *all);
};

static int64_t number(struct json_object *all, const char *key)
{
    return json_object_get_int64(json_object_object_get(all, key));
}

static void print_plain(struct json_object *value, struct json_object *all)
{
    (void)all;
    listing_puts(json_object_get_string(value));
}

static void print_yes(struct json_object *value, struct json_object *all)
{
    (void)all;
    listing_puts(json_object_get_boolean(value) ? "yes" : "no");
}

static void print_words(struct json_object *value, struct json_object *all)
{
    (void)all;
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        listing_puts(i ? ", " : "");
        listing_puts(json_object_get_string(json_object_array_get_idx(value, i)));
    }
}

static void print_cached(struct json_object *value, struct json_object *all)
{
    int64_t bytes = json_object_get_int64(value), size = number(all, "size");

    printf("%" PRId64 " of %" PRId64 " bytes", bytes, size);
    if (size > 0)
        printf(" (%d %%)", (int)(100.0 * (double)bytes / (double)size));
}

static void print_ranges(struct json_object *value, struct json_object *all)
{
    size_t n = json_object_array_length(value);

    for (size_t i = 0; i < n && i < SHOWN_RANGES; i++) {
        struct json_object *range = json_object_array_get_idx(value, i);

        printf("%s%" PRId64 "-%" PRId64, i ? ", " : "", number(range, "start"), number(range, "end"));
    }
    if (n > SHOWN_RANGES || json_object_get_boolean(json_object_object_get(all, "rangesCut")))
        printf(", and more");
}

static void print_fetched(struct json_object *value, struct json_object *all)
{
    (void)all;
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        struct json_object *came = json_object_array_get_idx(value, i);

        printf("%s%s %" PRId64 " bytes", i ? ", " : "", instance_text(came, "why"), number(came, "bytes"));
    }
}

static const struct row rows[] = {
    { "bucket", "bucketName", print_plain },
    { "type", "type", print_plain },
    { "inode", "inode", print_plain },
    { "size", "size", print_plain },
    { "modified", "lastModifiedDate", print_plain },
    { "state", "state", print_plain },
    { "lacking", "lacking", print_words },
    { "dirty since", "dirtySince", print_plain },
    { "waits for", "waitsFor", print_plain },
    { "key", "key", print_plain },
    { "next key", "nextKey", print_plain },
    { "version", "version", print_plain },
    { "cloud size", "cloudSize", print_plain },
    { "conflict", "conflict", print_plain },
    { "fault", "fault", print_plain },
    { "cut", "cut", print_yes },
    { "pinned", "pinned", print_yes },
    { "cached", "cachedBytes", print_cached },
    { "ranges", "cachedRanges", print_ranges },
    { "fetched for", "fetched", print_fetched },
    { "readers", "readers", print_plain },
    { "writers", "writers", print_plain },
};

static bool is_empty(struct json_object *value)
{
    return !value || (json_object_is_type(value, json_type_array) && json_object_array_length(value) == 0);
}

static void print_for_people(struct json_object *o)
{
    listing_puts(instance_text(o, "path"));
    putchar('\n');
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct json_object *value = json_object_object_get(o, rows[i].key);

        if (is_empty(value))
            continue;
        printf("  %-12s", rows[i].label);
        rows[i].print(value, o);
        putchar('\n');
    }
}

static int explain(struct json_object *instance, const char *path, bool json, struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    struct json_object *o = NULL;
    int r = place_request("/management/object_explain", path, "", &request, e);

    if (r == 0)
        r = api_call(instance, "GET", request, NULL, &o, e);
    if (r < 0)
        return r;
    if (json)
        listing_json(o);
    else
        print_for_people(o);
    json_object_put(o);
    return 0;
}

int command_stat(int argc, char **argv)
{
    CLEANUP_FREE const char **paths = calloc((size_t)argc, sizeof(*paths));
    bool json = false;
    const struct target_option options[] = { { "json", NULL, &json }, { 0 } };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    size_t n = 0;
    int r = paths ? target_open_paths(argc, argv, options, paths, &n, &instance) : EXIT_FAILURE;

    if (r == 0 && n == 1) {
        r = explain(instance, paths[0], json, &e) < 0 ? target_fail(argv[0], &e) : EXIT_SUCCESS;
    } else if (r == 0) {
        fprintf(stderr, "landfall stat: give one path of a drive.\n");
        r = EXIT_USAGE;
    }
    json_object_put(instance);
    return r;
}
