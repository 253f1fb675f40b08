/* What cryptd is given sealed: the first byte says which form the rest is. Nothing that a fuzzer makes up opens. */
#include <stdlib.h>
#include <string.h>

#include "cryptd/cache_chunk.h"
#include "cryptd/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DRIVE "01234567-89ab-4def-8123-456789abcdef"

static struct secret *secret;
static struct drive_keys drive;

static void begin(void)
{
    struct error e;

    if (secret)
        return;
    if (aead_begin(&e) < 0 || secret_new(&secret, &e) < 0 || drive_keys_make(&drive, DRIVE, NULL, 0, &e) < 0)
        abort();
}

static int blob(const uint8_t *data, size_t n)
{
    static struct drive_keys opened;
    struct error e;

    return drive_keys_open(secret, DRIVE, data, n, 0, &opened, &e);
}

static int wrapped(const uint8_t *data, size_t n)
{
    struct wrapped_key key;
    struct error e;

    return wrapped_key_open(&drive, WRAPPED_CACHE, data, n, &key, &e);
}

static int record(const uint8_t *data, size_t n)
{
    static uint8_t out[CACHE_CHUNK];
    struct cache_keys keys = { .algorithm = AEAD_AES_256_GCM };
    struct cache_record r;

    if (n < sizeof(r))
        return -1;
    memcpy(&r, data, sizeof(r));
    return cache_chunk_open(&keys, 0, &r, data + sizeof(r), n - sizeof(r), out);
}

static int sealed(const uint8_t *data, size_t n)
{
    uint8_t *plain;
    size_t plain_n;
    struct error e;
    int r = seal_open(secret, "a:b", data, n, &plain, &plain_n, &e);

    if (r == 0)
        free(plain);
    return r;
}

static int identity(const uint8_t *data, size_t n)
{
    uint8_t key[KEY_SIZE];
    char text[128] = { 0 };

    memcpy(text, data, n < sizeof(text) ? n : sizeof(text) - 1);
    (void)bech32_decode(AGE_IDENTITY_PREFIX, text, key);
    (void)bech32_decode(AGE_RECIPIENT_PREFIX, text, key);
    return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const openers[])(const uint8_t *data, size_t n) = { blob, wrapped, record, sealed, identity };

    begin();
    if (size > 0 && openers[data[0] % (sizeof(openers) / sizeof(openers[0]))](data + 1, size - 1) == 0)
        abort();
    return 0;
}
