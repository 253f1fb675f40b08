/* A root key out of a passphrase: scrypt (RFC 7914) from libcrypto. Runs at the start, before the sandbox closes: it
 * takes a few tenths of a second and 128 * r * N bytes of memory, 128 MiB with the costs of a new store. */
#pragma once

#include <stdint.h>

#include "common/error.h"
#include "cryptd/secret.h"

/* N is 2 to the power of log_n. */
struct scrypt_cost {
    uint8_t log_n, r, p;
};

/* What a new store gets. */
extern const struct scrypt_cost scrypt_cost_new;

/* Whether cryptd would take on such costs: 2^10 <= N <= 2^22, r and p from 1 to 16, at most 1 GiB. */
int scrypt_cost_bearable(const struct scrypt_cost *c);

/* 0, or -ENOMEM or -EIO with a sentence. */
int passphrase_derive(const uint8_t *passphrase, size_t n, const uint8_t *salt, size_t salt_len,
                      const struct scrypt_cost *cost, uint8_t out[KEY_SIZE], struct error *e);
