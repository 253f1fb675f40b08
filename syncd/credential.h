/* The real keys of accounts: in our memory only while something is signed or sealed, at rest only
 * as what cryptd sealed. */
#pragma once

#include <stddef.h>

#include "common/error.h"
#include "syncd/cloud.h"

struct syncd;

struct credential {
    char *access_key, *secret_key;   /* owned; NULL: none */
};

/* Overwrites and frees what it holds. */
void credential_wipe(struct credential *c);
/* Overwrites a string that stays where it is: keys in a message that its owner frees. NULL is fine. */
void credential_wipe_text(char *s);

/* A keyring that gives away `c`, whichever account is asked for: for keys that are not stored. `c` is borrowed. */
struct cloud_keyring credential_draft(const struct credential *c);

/* Keys that cryptd sealed, of an account that is not stored; and a keyring of them, which borrows them. */
struct credential_sealed {
    struct syncd *d;
    void *data;             /* owned, free() */
    size_t n;
};
struct cloud_keyring credential_keyring_sealed(struct credential_sealed *sealed);

/* The keyring of the stored accounts: for each signature cryptd unseals, `give` uses, we overwrite. Fails
 * with -ENOKEY for an account without keys and with cryptd's reason. */
struct cloud_keyring credential_keyring(struct syncd *d);

/* Looks whether cryptd can open the stored keys, and logs it if its key store is another one than they were sealed
 * with. */
void credential_check(struct syncd *d);

/* Calls done(e, arg), from the loop or at once: e NULL when nothing says that cryptd's key store is another one than
 * that which the keys of accounts were sealed with. */
void credential_check_store(struct syncd *d, void (*done)(const struct error *e, void *arg), void *arg);

/* Has cryptd seal the keys for this account, unless its key store is not the one that other accounts were sealed with
 * (-ENOKEY): what is sealed now would be lost when the right one comes back. `account_id` and `c` are borrowed until
 * `done`, which runs from the loop or at once with the sealed bytes, borrowed, or an error. */
void credential_seal(struct syncd *d, const char *account_id, const struct credential *c,
                     void (*done)(const struct error *e, const void *sealed, size_t n, void *arg), void *arg);
