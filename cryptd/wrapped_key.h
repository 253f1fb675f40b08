/* A key of one cache file or of one object, wrapped under an epoch of its drive, so that others can store it. 104
 * bytes, numbers little endian:
 *
 *   offset  size
 *        0     8  "LNDFWKEY"
 *        8     1  version, 1
 *        9     1  kind: 1 the key of a cache file, 2 the payload key of an object
 *       10     1  what it seals with: 1 AES-256-GCM, 2 ChaCha20-Poly1305
 *       11     1  zero
 *       12     4  epoch
 *       16    16  id: of a cache file, random; of an object, its payload nonce
 *       32    24  nonce
 *       56    32  the key
 *       88    16  tag
 *
 * Sealed as cryptd/hedge.h has it with AES-256-GCM: parent the epoch's cache key, label "landfall wrapped key 1",
 * additional data bytes 0 to 31 and the 16 bytes of the drive's id. */
#pragma once

#include "cryptd/drive_keys.h"

enum wrapped_kind { WRAPPED_CACHE = 1, WRAPPED_OBJECT = 2 };
enum { WRAPPED_KEY_SIZE = 104, WRAPPED_ID_SIZE = 16 };

/* To be kept in locked memory. */
struct wrapped_key {
    enum wrapped_kind kind;
    enum aead algorithm;
    uint32_t epoch;
    uint8_t id[WRAPPED_ID_SIZE];
    uint8_t key[KEY_SIZE];
};

/* Wraps it under the newest epoch, whatever `epoch` says. 0, or -EIO with a sentence. */
int wrapped_key_seal(const struct drive_keys *k, const struct wrapped_key *key, uint8_t out[WRAPPED_KEY_SIZE],
                     struct error *e);

/* As its bytes say, for which nobody vouches. */
enum wrapped_kind wrapped_key_kind(const uint8_t wrapped[WRAPPED_KEY_SIZE]);

/* Opens one of that kind. 0; -EUCLEAN (damaged, or another drive's); -EOPNOTSUPP (a newer version made it); -ENOKEY
 * (its epoch was given up, or is newer than the drive's keys here: an old copy of them was put back); -EINVAL (another
 * kind); -EIO, with a sentence. */
int wrapped_key_open(const struct drive_keys *k, enum wrapped_kind kind, const void *bytes, size_t n,
                     struct wrapped_key *key, struct error *e);
