/* The keys of one drive, and their sealed form, which syncd stores and cannot read.
 *
 * An epoch is a number, a cache key and an identity. The newest one is what new things are made with; older ones stay
 * to read with, until they are given up. Rotating adds an epoch, with a new cache key and, if asked, a new identity
 * (else that of the epoch before). Nothing is derived from one epoch for another.
 *
 *   random      cache key, 32 bytes: wraps the keys of cache files and objects under way (cryptd/wrapped_key.h)
 *   random      identity, 32 bytes: an age X25519 secret. Its recipient is what objects are encrypted to, its text
 *               (AGE-SECRET-KEY-1...) what `age -i` takes. Also derived from it: what binds objects to their
 *               names (cryptd/age_object.h), so that whoever has the identity can check it.
 *
 * The sealed form ("blob"), numbers little endian:
 *
 *   offset  size
 *        0     8  "LNDFDRVK"
 *        8     1  version, 1
 *        9     3  zero
 *       12     4  serial: 1, and one more with each change
 *       16     8  id of the data key, as in cryptd/seal.h
 *       24    16  drive id (the UUID's bytes)
 *       40    24  nonce
 *       64     4  number of epochs e, 1 to 16          from here to the tag: sealed as cryptd/hedge.h has it, with
 *       68     4  number of escrow recipients x, 0 to 8      AES-256-GCM, parent the data key, label
 *       72  68*e  epochs, rising: number (4), cache key (32),   "landfall drive keys 1", additional data bytes 0 to 39
 *                 identity (32)
 *        +  32*x  escrow recipients
 *        +    16  tag
 *
 * A new drive's blob has 156 bytes; the largest one 1432.
 *
 * What a blob cannot say is whether it is the newest one: cryptd keeps no file. An older blob put in the place of a
 * newer one opens, and is noticed
 *  - by whoever kept the serial elsewhere and asks for it at least (`at_least`);
 *  - as soon as something comes up that was made with an epoch it does not have (-ENOKEY, "newer").
 * When all of a machine's files are put back together, nothing on that machine can notice. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cryptd/bech32.h"
#include "cryptd/hedge.h"
#include "cryptd/secret.h"

enum {
    DRIVE_EPOCHS_MAX = 16,
    DRIVE_ESCROW_MAX = 8,
    DRIVE_ID_SIZE = 16,
    DRIVE_BLOB_MIN = 64 + 8 + 68 + AEAD_TAG_SIZE,
    DRIVE_BLOB_MAX = 64 + 8 + 68 * DRIVE_EPOCHS_MAX + 32 * DRIVE_ESCROW_MAX + AEAD_TAG_SIZE,
};

struct drive_epoch {
    uint32_t number;
    uint8_t cache_key[KEY_SIZE];
    uint8_t identity[KEY_SIZE];
    struct hedge_keys wrap;       /* of cache_key: how it wraps */
};

/* To be kept in locked memory. */
struct drive_keys {
    uint8_t id[DRIVE_ID_SIZE];
    uint32_t serial;
    uint32_t n_epochs;
    struct drive_epoch epochs[DRIVE_EPOCHS_MAX];   /* the newest one last */
    uint32_t n_escrow;
    uint8_t escrow[DRIVE_ESCROW_MAX][KEY_SIZE];
};

/* New keys; `identity` NULL: a random one, else one that was exported. `after`: the serial of the drive's keys that are
 * lost (0: there were none), behind which serial and epoch go on, so that what those wrapped is told from damage. 0,
 * -EINVAL, -ENOSPC, -EIO, with a sentence. */
int drive_keys_make(struct drive_keys *k, const char *drive_id, const char *identity, uint32_t after, struct error *e);

/* For keys just made, before they are sealed: gives them the identities of a drive that is gone, each with a cache key
 * of its own and older than those that they have; and, when `first`, the former drive's newest identity in the place of
 * their own, and its escrow recipients. 0, or with a sentence -ENOSPC (nothing was changed) or -EIO. */
int drive_keys_inherit(struct drive_keys *k, const struct drive_keys *former, bool first, struct error *e);

/* Seals them into out (DRIVE_BLOB_MAX bytes). 0 and *ret_n, or -EIO with a sentence. */
int drive_keys_seal(const struct secret *s, const struct drive_keys *k, uint8_t *out, size_t *ret_n, struct error *e);

/* Opens a blob. 0; -EUCLEAN (damaged), -EOPNOTSUPP (a newer version of Landfall made it), -ENOKEY (another data key),
 * -EPERM (another drive's), -ESTALE (serial below at_least), -EINVAL (no drive id), -EIO, with a sentence. */
int drive_keys_open(const struct secret *s, const char *drive_id, const void *blob, size_t n, uint32_t at_least,
                    struct drive_keys *k, struct error *e);

/* Changes, each of which raises the serial. 0, or a negative errno with a sentence and nothing changed:
 * -ENOSPC (no room for an epoch), -ENOENT (no such epoch), -EBUSY (the newest one), -EINVAL (a recipient, an
 * identity), -EEXIST (it is the newest identity already). */
int drive_keys_rotate(struct drive_keys *k, bool new_identity, struct error *e);
int drive_keys_import(struct drive_keys *k, const char *identity, struct error *e);   /* rotates to that one */
int drive_keys_forget(struct drive_keys *k, uint32_t epoch, struct error *e);
int drive_keys_forget_old(struct drive_keys *k, struct error *e);   /* all epochs whose identity a newer one has, too */
int drive_keys_set_escrow(struct drive_keys *k, const char *const *recipients, size_t n, struct error *e);

const struct drive_epoch *drive_keys_newest(const struct drive_keys *k);
const struct drive_epoch *drive_keys_epoch(const struct drive_keys *k, uint32_t number);   /* NULL: not there */

/* The different identities, the newest one first; at most DRIVE_EPOCHS_MAX. How many. */
size_t drive_keys_identities(const struct drive_keys *k, uint8_t out[][KEY_SIZE]);

/* A drive's id as bytes. 0 or -EINVAL with a sentence. */
int drive_id_read(const char *text, uint8_t out[DRIVE_ID_SIZE], struct error *e);
