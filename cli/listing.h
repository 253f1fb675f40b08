/* What `account` and `drive` have in common: lists of named things in the API. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "common/error.h"

/* The JSON array at `path`, to be put. 0 or negative errno. */
int listing_get(struct json_object *instance, const char *path, struct json_object **ret, struct error *e);

/* The first item of the array at `path` that fits, to be put; *ret NULL when none does. 0 or negative errno. */
typedef bool listing_fits(struct json_object *item, void *arg);
int listing_find(struct json_object *instance, const char *path, listing_fits *fits, void *arg,
                 struct json_object **ret, struct error *e);

/* For listing_find(): whether the name or id of the item is the text `name`. */
listing_fits listing_named;

/* The command `landfall WHAT list` with its arguments: prints the array at `path`, one line an item: the members `keys`
 * (ending in NULL), tab separated. The exit status. */
int listing_run(int argc, char **argv, const char *what, const char *path, const char *const *keys);

/* Prints JSON of the API on a line of its own, for scripts; nothing of it may steer a terminal either. */
void listing_json(struct json_object *o);

/* Prints text that comes from the cloud and from other programs: nothing of it may steer the terminal. */
void listing_puts(const char *s);
