/* Arrays of the API: finding by name, printing. */
#include "cli/listing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/instance.h"
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
    for (; *s; s++)
        putchar((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s);
}

static int print(struct json_object *instance, const char *path, const char *const *keys, struct error *e)
{
    struct json_object *list;
    int r = listing_get(instance, path, &list, e);

    for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++)
        for (size_t k = 0; keys[k]; k++) {
            listing_puts(instance_text(json_object_array_get_idx(list, i), keys[k]));
            putchar(keys[k + 1] ? '\t' : '\n');
        }
    json_object_put(list);
    return r;
}

int listing_run(int argc, char **argv, const char *what, const char *path, const char *const *keys)
{
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, NULL, &instance);

    if (r)
        return r;
    r = print(instance, path, keys, &e);
    json_object_put(instance);
    return r < 0 ? target_fail(what, &e) : EXIT_SUCCESS;
}
