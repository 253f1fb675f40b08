/* The account that a new drive needs. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>

#include "cli/keys.h"
#include "cli/target.h"
#include "common/error.h"

/* What the options say. One of folder and endpoint; keys_file NULL: the environment. All borrowed. */
struct account_wish {
    const char *name, *folder, *endpoint, *region, *keys_file;
};

#define ACCOUNT_OPTIONS(w) \
    { "folder", &(w)->folder, NULL }, { "s3-endpoint", &(w)->endpoint, NULL }, { "region", &(w)->region, NULL }, \
    { "keys-file", &(w)->keys_file, NULL }

struct account {
    char id[64];
    bool made;                  /* it was not there before */
};

/* The account with that name or id. 0 and *ret, or a negative errno with a sentence: -ENOENT when there is none. */
int account_find(struct json_object *instance, const char *name, struct account *ret, struct error *e);

/* An account for this cloud with these keys, which is named after both (`name` is not read). The keys given are tried
 * at the cloud in any case, on `bucket` when an account of them is stored already. 0 and *ret, or a negative errno
 * with a sentence and no account made. */
int account_ensure(struct json_object *instance, const struct account_wish *w, const char *bucket,
                   struct account *ret, struct error *e);

/* "PLACE DIGEST": another folder, and another region or access key at the same service, make another name; of the
 * place as much is shown as fits, in whole characters. A folder comes as its absolute path. Owned by the caller;
 * NULL: no memory. */
char *account_name(const struct account_wish *w, const struct key_pair *k);

/* Forgets it again if it was made. */
void account_undo(struct json_object *instance, struct account *a);
