/* What `account` and `drive` have in common: lists of named things in the API. */
#pragma once

#include <json-c/json.h>

#include "common/error.h"

/* The item of the JSON array at `path` whose name or id is `name`, *ret NULL when there is none.
 * 0 or negative errno. The caller puts it. */
int listing_find(struct json_object *instance, const char *path, const char *name, struct json_object **ret,
                 struct error *e);

/* Prints the array at `path`, one line an item: the members `keys` (ending in NULL), tab separated. */
int listing_print(struct json_object *instance, const char *path, const char *const *keys, struct error *e);
