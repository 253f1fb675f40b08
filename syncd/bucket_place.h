/* Where the objects of a bucket come below a folder of this machine. */
#pragma once

#include "common/error.h"

struct syncd;

/* Where below the folder the object of a prefix comes: `folder` (owned by the caller, "" is the folder itself) and
 * *ret_name, borrowed from the key; NULL: the key is that of a folder's marker. 0, or a negative errno with why no file
 * here can have that name: an empty component, "." or "..", or one that is too long. Pure. */
int bucket_place(const char *prefix, const char *key, char **ret_folder, const char **ret_name, struct error *e);
/* The prefix that a download of the key or the prefix is counted from: its own last name comes along. Owned. Pure. */
char *bucket_place_above(const char *key);
/* What lies below the folder `base` may be one of Landfall's own, or hidden in the home directory. */
int bucket_place_check(const struct syncd *d, const char *base, const char *folder, const char *name, struct error *e);
