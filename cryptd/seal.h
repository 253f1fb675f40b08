/* Sealing small secrets, so that they can be stored by others:
 *
 *   offset  size
 *        0     1  version, 2
 *        1     8  id of the data key: HKDF(data key, no salt, "landfall key id 1"); tells another key store from damage
 *        9    12  nonce, random
 *       21     n  the secret, AES-256-GCM under HKDF(data key, no salt, "landfall seal 1 " class)
 *     21+n    16  and its tag; the version byte and the purpose are the additional data
 *
 * Version 1 had no id; it is still opened.
 *
 * A purpose is "<class>:<name>", for instance "account:<id>": the class is 1 to 32 lower-case letters
 * and has a key of its own, the name is 1 to 255 bytes. What was sealed for one purpose opens for no other. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "cryptd/secret.h"

enum { SEAL_PLAIN_MAX = 64 * 1024, SEAL_ID_SIZE = 8, SEAL_OVERHEAD = 1 + SEAL_ID_SIZE + 12 + 16 };

/* Seals n bytes. 0, *ret (the caller's to free) and *ret_n = n + SEAL_OVERHEAD; -EINVAL (purpose),
 * -EMSGSIZE, or -EIO, with a sentence. */
int seal_make(struct secret *s, const char *purpose, const void *plain, size_t n,
              uint8_t **ret, size_t *ret_n, struct error *e);

/* Opens what seal_make() made. 0, *ret (never NULL; the caller's to wipe and free) and *ret_n; -ENOKEY when
 * it was sealed with another data key; -EUCLEAN when it was changed or sealed for something else; -EINVAL, -EMSGSIZE,
 * -EIO. */
int seal_open(struct secret *s, const char *purpose, const void *sealed, size_t n,
              uint8_t **ret, size_t *ret_n, struct error *e);

/* The id of the data key, as it stands in what is sealed with it. 0 or -EIO. */
int seal_key_id(const struct secret *s, uint8_t out[SEAL_ID_SIZE]);
