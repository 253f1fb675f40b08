/* The key store: one file, KeyDir/keys, with the data key sealed under the root key.
 *
 *   offset  size
 *        0     8  "LNDFKEYS"
 *        8     1  version, 1
 *        9     7  zero
 *       16    32  salt, random
 *       48    16  check: HKDF(root key, salt, "landfall key store 1 check"), tells a wrong root key
 *       64    12  nonce, random
 *       76    32  the data key, AES-256-GCM under HKDF(root key, salt, "landfall key store 1 wrap"),
 *      108    16    and its tag; bytes 0 to 63 are the additional data
 *      124    32  SHA-256 of bytes 0 to 123, tells damage
 *      156
 *
 * It is written once, when there is none: as keys.new, synced, and renamed without replacing anything.
 * A file that is damaged or of another root key is never touched: the error names it. */
#pragma once

#include "common/error.h"
#include "cryptd/secret.h"

enum { KEY_STORE_SIZE = 156 };
#define KEY_STORE_NAME "keys"

/* Reads KeyDir's data key into s->data_key, making a store with a random one when there is none, and wipes
 * s->root_key. `dir` must be a directory of our user that nobody else can write to. 0, -ENOKEY (another root
 * key), -EUCLEAN (damaged), -EBUSY (another cryptd is starting there), -EPERM, or another negative errno, with
 * a sentence. */
int key_store_open(const char *dir, struct secret *s, struct error *e);
