/* `landfall audit`: who changed what over the API, and whether the log of that is as it was written. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"

enum { REQUEST_MAX = 128 };

static const char *member(struct json_object *o, const char *name)
{
    struct json_object *value;

    return json_object_object_get_ex(o, name, &value) ? json_object_get_string(value) : NULL;
}

static struct json_object *lines_behind(struct json_object *instance, uint64_t since, struct error *e)
{
    char request[REQUEST_MAX];
    struct json_object *lines = NULL;

    (void)snprintf(request, sizeof(request), "/management/audit?since=%" PRIu64, since);
    return api_call(instance, "GET", request, NULL, &lines, e) < 0 ? NULL : lines;
}

/* --- the list --------------------------------------------------------------------------------------------- */

static void put(const char *text)
{
    listing_puts(text ? text : "?");
}

/* One line for both lines of a call; result NULL: it is under way, or the agent was ended meanwhile. */
static void print_call(struct json_object *call, struct json_object *result)
{
    const char *query = member(call, "query"), *error = result ? member(result, "error") : NULL;

    printf("%s  ", member(call, "time"));
    printf("uid %s ", member(call, "uid"));
    put(member(call, "exe"));
    printf("[%s]  %s ", member(call, "pid") ? member(call, "pid") : "?", member(call, "method"));
    put(member(call, "endpoint"));
    if (query) {
        (void)putchar('?');
        put(query);
    }
    printf("  %s%s%s\n", result ? member(result, "status") : "no result", error ? " " : "", error ? error : "");
}

static void print_lines(struct json_object *lines)
{
    struct json_object *open = json_object_new_object(), *call;

    for (size_t i = 0; i < json_object_array_length(lines); i++) {
        struct json_object *line = json_object_array_get_idx(lines, i);
        const char *id = member(line, "call");

        if (!id)
            continue;
        if (member(line, "endpoint")) {
            (void)json_object_object_add(open, id, json_object_get(line));
        } else if (json_object_object_get_ex(open, id, &call)) {
            print_call(call, line);
            json_object_object_del(open, id);
        }
    }
    json_object_object_foreach(open, id, unanswered) {
        (void)id;
        print_call(unanswered, NULL);
    }
    json_object_put(open);
}

static int list(int argc, char **argv)
{
    const char *since = NULL;
    bool as_json = false;
    const struct target_option options[] = { { "since", &since, NULL }, { "json", NULL, &as_json }, { 0 } };
    struct json_object *instance = NULL, *lines;
    struct error e = { 0 };
    uint64_t behind = 0;
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    if (since && !text_number(since, INT64_MAX, &behind)) {
        fprintf(stderr, "landfall %s: --since takes the number of a line.\n", argv[0]);
        json_object_put(instance);
        return EXIT_USAGE;
    }
    lines = lines_behind(instance, behind, &e);
    if (!lines)
        r = target_fail(argv[0], &e);
    else if (as_json)
        listing_json(lines);
    else
        print_lines(lines);
    json_object_put(lines);
    json_object_put(instance);
    return r;
}

/* --- whether it is whole ---------------------------------------------------------------------------------- */

/* A head that was kept elsewhere: "SEQ:HASH". */
static bool has_head(struct json_object *instance, const char *head, struct error *e)
{
    const char *hash = strchr(head, ':');
    CLEANUP_FREE char *number = strndup(head, hash ? (size_t)(hash - head) : 0);
    struct json_object *lines = NULL, *first;
    uint64_t seq = 0;
    bool found;

    if (!number || !text_number(number, INT64_MAX, &seq) || seq == 0) {
        (void)error_set(e, -EINVAL, "--head takes what an earlier verification printed: NUMBER:HASH.");
        return false;
    }
    lines = lines_behind(instance, seq - 1, e);
    first = lines ? json_object_array_get_idx(lines, 0) : NULL;
    found = first && strcmp(member(first, "seq"), number) == 0 && strcmp(member(first, "hash"), hash + 1) == 0;
    if (lines && !found)
        (void)error_set(e, -EUCLEAN, "Line %s of the audit log is not there with that hash: the log was cut off or "
                        "written anew since.", number);
    json_object_put(lines);
    return found;
}

static int say(const char *command, struct json_object *verdict)
{
    struct error e;

    printf("%s lines, from %s to %s\nhead %s:%s\n", member(verdict, "lines"), member(verdict, "first"),
           member(verdict, "last"), member(verdict, "last"), member(verdict, "head"));
    if (json_object_get_boolean(json_object_object_get(verdict, "whole"))) {
        printf("All of them are as they were written.\n");
        return EXIT_SUCCESS;
    }
    (void)error_set(&e, -EUCLEAN, "%s", member(verdict, "problem"));
    return target_fail(command, &e);
}

static int say_json(struct json_object *verdict)
{
    listing_json(verdict);
    return json_object_get_boolean(json_object_object_get(verdict, "whole")) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int verify(int argc, char **argv)
{
    const char *head = NULL;
    bool as_json = false;
    const struct target_option options[] = { { "head", &head, NULL }, { "json", NULL, &as_json }, { 0 } };
    struct json_object *instance = NULL, *verdict = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    if (api_call(instance, "GET", "/management/audit_verify", NULL, &verdict, &e) < 0)
        r = target_fail(argv[0], &e);
    else
        r = as_json ? say_json(verdict) : say(argv[0], verdict);
    if (r == 0 && head && !has_head(instance, head, &e))
        r = target_fail(argv[0], &e);
    json_object_put(verdict);
    json_object_put(instance);
    return r;
}

const struct command audit_verbs[] = {
    { "list", "[--since NUMBER] [--json] [--dir DIR]", "calls that could change something, and what came of them",
      list, NULL },
    { "verify", "[--head NUMBER:HASH] [--json] [--dir DIR]",
      "whether all lines are as they were written; --head: and that one is still there", verify, NULL },
    { 0 },
};
