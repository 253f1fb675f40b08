/* Owns scrypt. Must not know where passphrases come from. */
#include "cryptd/passphrase.h"

#include <errno.h>
#include <openssl/evp.h>

enum { LOG_N_MIN = 10, LOG_N_MAX = 22, FACTOR_MAX = 16 };

static const uint64_t memory_max = UINT64_C(1) << 30;

const struct scrypt_cost scrypt_cost_new = { .log_n = 17, .r = 8, .p = 1 };

int scrypt_cost_bearable(const struct scrypt_cost *c)
{
    return c->log_n >= LOG_N_MIN && c->log_n <= LOG_N_MAX && c->r >= 1 && c->r <= FACTOR_MAX && c->p >= 1 &&
           c->p <= FACTOR_MAX && (UINT64_C(128) * c->r << c->log_n) <= memory_max;
}

int passphrase_derive(const uint8_t *passphrase, size_t n, const uint8_t *salt, size_t salt_len,
                      const struct scrypt_cost *cost, uint8_t out[KEY_SIZE], struct error *e)
{
    const uint64_t spare = 1 << 20;   /* beside the large array, as libcrypto counts */

    if (EVP_PBE_scrypt((const char *)passphrase, n, salt, salt_len, UINT64_C(1) << cost->log_n, cost->r, cost->p,
                       memory_max + spare, out, KEY_SIZE) != 1)
        return error_set(e, -EIO, "The passphrase could not be turned into a key: scrypt needs %llu MiB of memory.",
                         (unsigned long long)((UINT64_C(128) * cost->r << cost->log_n) >> 20));
    return 0;
}
