/* The key store: one file, KeyDir/keys, with the data key sealed under the root key.
 *
 *   offset  size
 *        0     8  "LNDFKEYS"
 *        8     1  version, 2
 *        9     1  what unlocks it: 1 a root key, 2 a passphrase
 *       10     1  of scrypt, for a passphrase: log2 N,
 *       11     1  r
 *       12     1  and p; all three zero for a root key
 *       13     3  zero
 *       16    32  salt, random
 *       48    16  check: HKDF(root key, salt, "landfall key store 2 check"), tells a wrong root key
 *       64    12  nonce, random
 *       76    32  the data key, AES-256-GCM under HKDF(root key, salt, "landfall key store 2 wrap"),
 *      108    16    and its tag; bytes 0 to 63 are the additional data
 *      124    32  SHA-256 of bytes 0 to 123, tells damage
 *      156
 *
 * The root key of a passphrase is scrypt(passphrase, salt, N, r, p), 32 bytes. A new store gets N = 2^17, r = 8, p = 1.
 *
 * Version 1 knew root keys only (bytes 9 to 15 zero, "1" for "2" in both labels). It is still read, and written anew as
 * version 2 with the same data key.
 *
 * The file is written as keys.new, synced, and renamed: the first time without replacing anything, later in the place
 * of the old one. So changing a passphrase or a root key is one new file; before the rename the old secret opens the
 * store, after it the new one does, and a start that is given both finds out. A file that is damaged or that the given
 * secret does not open is never touched: the error names it. */
#pragma once

#include "common/error.h"
#include "cryptd/secret.h"

enum { KEY_STORE_SIZE = 156 };
#define KEY_STORE_NAME "keys"

/* Reads KeyDir's data key into s->data_key with s->now, making a store with a random one when there is none. When there
 * is s->next, the store is unlocked with that from now on, and may be already. Both are wiped. `dir` must be a
 * directory of our user that nobody else can write to. 0, -ENOKEY (another root key or passphrase, or one where the
 * other is needed), -EUCLEAN (damaged), -EBUSY (another cryptd is starting there), -EPERM, or another negative errno,
 * with a sentence. */
int key_store_open(const char *dir, struct secret *s, struct error *e);
