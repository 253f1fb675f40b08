/* Arrays of the API: finding by name, printing. */
#include "cli/listing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/instance.h"
#include "cli/shown.h"
#include "cli/target.h"

int listing_get(struct json_object *instance, const char *path, struct json_object **ret, struct error *e)
{
    int r = api_call(instance, "GET", path, NULL, ret, e);

    if (r < 0 || json_object_is_type(*ret, json_type_array))
        return r;
    json_object_put(*ret);
    *ret = NULL;
    return error_set(e, -EPROTO, "Landfall's answer to %s is not a list.", path);
}

int listing_find(struct json_object *instance, const char *path, listing_fits *fits, void *arg,
                 struct json_object **ret, struct error *e)
{
    struct json_object *list;
    int r = listing_get(instance, path, &list, e);

    *ret = NULL;
    for (size_t i = 0; r == 0 && !*ret && i < json_object_array_length(list); i++) {
        struct json_object *item = json_object_array_get_idx(list, i);

        if (fits(item, arg))
            *ret = json_object_get(item);
    }
    json_object_put(list);
    return r;
}

bool listing_named(struct json_object *item, void *name)
{
    return strcmp(instance_text(item, "name"), name) == 0 || strcmp(instance_text(item, "id"), name) == 0;
}

void listing_puts(const char *s)
{
    char one[SHOWN_MAX];

    while (*s) {
        (void)shown_next(&s, one);
        (void)fputs(one, stdout);
    }
}

/* Inside of strings alone JSON has such bytes, and there each has another form. */
void listing_json(struct json_object *o)
{
    const char *s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

    for (; *s; s++) {
        bool c1 = (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] >= 0x80 && (unsigned char)s[1] < 0xa0;

        if (!c1 && *s != 0x7f) {
            putchar(*s);
            continue;
        }
        s += c1;
        printf("\\u%04x", (unsigned)(unsigned char)*s);
    }
    putchar('\n');
}

static void print(struct json_object *list, const char *const *keys)
{
    for (size_t i = 0; i < json_object_array_length(list); i++)
        for (size_t k = 0; keys[k]; k++) {
            listing_puts(instance_text(json_object_array_get_idx(list, i), keys[k]));
            putchar(keys[k + 1] ? '\t' : '\n');
        }
}

int listing_run(int argc, char **argv, const char *what, const char *path, const char *const *keys)
{
    struct json_object *instance = NULL, *list = NULL;
    struct error e = { 0 };
    bool json = false;
    const struct target_option options[] = { { "json", NULL, &json }, { 0 } };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = listing_get(instance, path, &list, &e);
    if (r == 0 && json)
        listing_json(list);
    else if (r == 0)
        print(list, keys);
    json_object_put(list);
    json_object_put(instance);
    return r < 0 ? target_fail(what, &e) : EXIT_SUCCESS;
}
