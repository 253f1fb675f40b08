/* The state database, <StateDir>/state.db: settings, accounts, drives (docs/FORMATS.md has the tables).
 *
 * Models are kept as packed protobuf messages beside the columns that identify and constrain them.
 * Keys of accounts and drives stand in it only sealed by cryptd. Every change is durable when its function
 * returns. Results: 0 or a negative errno as in store_sql.h; -ENOENT: no such row. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "proto/api.pb-c.h"

struct store;

/* Opens or creates the database. Failures have a sentence for a person in *e, and then the daemon must not go on:
 *  -EUCLEAN: it is damaged and has been kept as "state.db.corrupt-DATE"; or it is empty, or missing beside one that
 *      was kept aside, its log or drives, so that an empty start would drop all of them. The sentence says how to go
 *      on.
 *  -EPROTONOSUPPORT: written by a newer version; left as it is. -EBUSY: another process uses it. */
int store_open(const char *state_dir, struct store **ret, struct error *e);
void store_close(struct store *s);   /* NULL is fine */

/* Small facts by name. The value is the caller's to free. */
int store_setting_get(struct store *s, const char *name, char **ret);
int store_setting_set(struct store *s, const char *name, const char *value);
/* All of them or none. */
struct store_setting {
    const char *name, *value;
};
int store_settings_set(struct store *s, const struct store_setting *settings, size_t n);

/* --- store_account.c --------------------------------------------------------------------------- */

/* `model` has its keys masked; `sealed` is what cryptd made of the real ones, n 0: the account has none. -EEXIST when
 * its name is taken. */
int store_account_insert(struct store *s, const Lf__CloudAccount *model, const void *sealed, size_t n);
/* *ret: lf__cloud_account__free_unpacked(, NULL). -EUCLEAN: the row does not unpack. */
int store_account_get(struct store *s, const char *id, Lf__CloudAccount **ret);
/* *ret is the caller's to free; NULL and 0 for an account without keys. */
int store_account_sealed(struct store *s, const char *id, void **ret, size_t *ret_size);
/* The id of some account that has keys, the caller's to free. */
int store_account_with_keys(struct store *s, char **ret_id);
/* Accounts by rising id, after `after` ("" from the start), until each() returns false. The model is
 * each()'s to free. Rows that do not unpack are left out. */
int store_account_each(struct store *s, const char *after, bool (*each)(Lf__CloudAccount *model, void *arg), void *arg);
int store_account_delete(struct store *s, const char *id);   /* -EBUSY: drives use it */

/* --- store_drive.c ------------------------------------------------------------------------------ */

/* What is known of a drive whose insertion, or whose deletion, has not come to its end. */
enum store_drive_state {
    STORE_DRIVE_HALF_MADE,      /* nobody has had an answer yet */
    STORE_DRIVE_SETTLED,
    STORE_DRIVE_LEAVING,        /* nothing brings it back: its folders go, and then its row */
};

/* The drive stands there half made. -EEXIST when the name or the letter (any case) is taken, -ENOENT when the account
 * is gone. */
int store_drive_insert(struct store *s, const Lf__CloudDrive *model);
/* Settled: keys that it inherited are not kept any more (store_kept_claim()). */
int store_drive_set_state(struct store *s, const char *id, enum store_drive_state state);
/* A move of its cache: where it is of what is named beside it. */
enum store_cache_move {
    STORE_CACHE_STAYS = 0,
    STORE_CACHE_HALF_COPIED = 1,    /* the other folder is to go */
    STORE_CACHE_RENAMING = 2,       /* what is not in the other folder yet is to go there */
    STORE_CACHE_LEFT = 3,           /* it came from the other folder, which is to go */
};
int store_drive_cache_move(struct store *s, const char *id, enum store_cache_move how, const char *other);
/* The model is stored as well: it has come from that folder. */
int store_drive_cache_moved(struct store *s, const Lf__CloudDrive *model, const char *from);
/* *ret_other: the caller's, NULL where it stays. */
int store_drive_cache_move_get(struct store *s, const char *id, enum store_cache_move *ret, char **ret_other);
int store_drive_update(struct store *s, const Lf__CloudDrive *model);   /* by its id */
int store_drive_delete(struct store *s, const char *id);
/* All drives by rising id, as for accounts. */
int store_drive_each(struct store *s, bool (*each)(Lf__CloudDrive *model, enum store_drive_state state, void *arg),
                     void *arg);

/* --- store_keys.c ------------------------------------------------------------------------------- */

/* The keys of a drive as cryptd sealed them (cryptd/drive_keys.h), and the number of that change. They go with the
 * drive's row. */
struct store_keys {
    void *blob;                 /* the caller's to free; NULL: they were destroyed */
    size_t n;
    uint32_t serial;
    int64_t destroyed_ns;       /* wall clock */
};
int store_keys_get(struct store *s, const char *drive_id, struct store_keys *ret);
/* In the place of those that were, which are overwritten. -ENOENT: no such drive. */
int store_keys_put(struct store *s, const char *drive_id, const void *blob, size_t n, uint32_t serial);
/* The same, but those that were stay beside them: they cannot be opened here, perhaps elsewhere. */
int store_keys_replace(struct store *s, const char *drive_id, const void *blob, size_t n, uint32_t serial);
/* Nothing was made with them. */
int store_keys_remove(struct store *s, const char *drive_id);
/* Overwrites all keys that the drive has and had. That it happened, and when, is kept. */
int store_keys_destroy(struct store *s, const char *drive_id);
/* Whether there are keys of the drive that could be destroyed; also when that cannot be told. */
bool store_keys_kept(struct store *s, const char *drive_id);

/* --- store_kept.c ------------------------------------------------------------------------------- */

/* Keys of a drive that is gone. Strings are owned; store_kept_free(). */
struct store_kept {
    char *id, *name;
    char *service, *bucket, *prefix;   /* where its objects are */
    char *recipient;                   /* NULL: not known */
    int64_t deleted_ns;                /* wall clock */
    int64_t replaced_ns;               /* since when there were others in their place; 0: they were the last ones */
    struct store_keys keys;
};
void store_kept_free(struct store_kept *k);
/* The drive is leaving; if objects were ever encrypted with its keys they are kept, with what `place` says of name,
 * service, bucket, prefix and recipient. All of it or nothing. -ENOENT: no such drive. */
int store_drive_leave(struct store *s, const char *id, const struct store_kept *place, bool *ret_kept);
/* The last ones of that drive (any case). */
int store_kept_get(struct store *s, const char *drive_id, struct store_kept *ret);
/* The last ones of each drive by rising id, as for accounts. */
int store_kept_each(struct store *s, const char *after, bool (*each)(const struct store_kept *k, void *arg), void *arg);
/* All keys of that place, the latest first, at most so many; *ret_n are to be freed, also after an error. */
int store_kept_at(struct store *s, const char *service, const char *bucket, const char *prefix, struct store_kept *ret,
                  size_t most, size_t *ret_n);
/* The drive has inherited them: they go when it is settled, and stay if it goes before. */
int store_kept_claim(struct store *s, const struct store_kept *k, const char *heir);
/* Overwrites all that are kept of that drive. */
int store_kept_destroy(struct store *s, const char *drive_id);
