/* `landfall cp`: one file, between here and a drive or a bucket. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "common/error.h"

struct copy {
    struct json_object *instance;
    struct json_object *place;   /* the drive or the account that was named */
    const char *remote;          /* below the drive, or BUCKET/KEY */
    const char *local;           /* "-": stdin or stdout */
    bool up;                     /* to the cloud */
    bool force;                  /* what is there is replaced */
};

/* The exit status, or a negative errno with a sentence. */
int copy_drive(const struct copy *c, struct error *e);
int copy_cloud(const struct copy *c, struct error *e);

/* The last name of a path; "" when it ends with a slash. Borrowed. */
const char *copy_name(const char *path);
/* Where a file goes that was told to go to `target`: into it where that is a folder, under `name` then. Owned by the
 * caller. 0 or negative errno with a sentence. */
int copy_target(const char *target, const char *name, char **ret, struct error *e);
