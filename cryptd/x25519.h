/* X25519 (RFC 7748) from libcrypto. Every function may run in any thread. */
#pragma once

#include <stdint.h>

#include "cryptd/secret.h"

/* The public key of a secret. 0 or -EIO. */
int x25519_public(const uint8_t secret[KEY_SIZE], uint8_t out[KEY_SIZE]);

/* What a secret and the other side's public key have in common. 0; -EBADMSG when the public key is one of the few
 * that make it zero whatever the secret; or -EIO. */
int x25519_shared(const uint8_t secret[KEY_SIZE], const uint8_t public[KEY_SIZE], uint8_t out[KEY_SIZE]);
