/* Owns the head of a sealed cache file. Must not know its chunks. */
#include "syncd/sealed_head.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "syncd/hash.h"

enum { VERSION = 1, KEY_EPOCH_AT = 12, KEY_ID_AT = 16 };   /* cryptd/wrapped_key.h */

struct head {
    uint8_t magic[8];
    uint32_t version;
    uint32_t made;                /* the epoch that the key was made in; 0: the one that it is wrapped under */
    uint8_t key[CRYPT_KEY];
    uint8_t digest[HASH_SHA256];
    uint8_t rest[SEALED_HEAD - 16 - CRYPT_KEY - HASH_SHA256];
};
_Static_assert(sizeof(struct head) == SEALED_HEAD, "as in sealed.h");

static const char MAGIC[8] = { 'L', 'N', 'D', 'F', 'S', 'E', 'A', 'L' };

uint32_t sealed_key_epoch(const uint8_t key[CRYPT_KEY])
{
    uint32_t epoch;

    memcpy(&epoch, key + KEY_EPOCH_AT, sizeof(epoch));
    return le32toh(epoch);
}

const uint8_t *sealed_key_id(const uint8_t key[CRYPT_KEY])
{
    return key + KEY_ID_AT;
}

/* What differs between two heads lies in one sector of the disk. */
static int write_head(int fd, const uint8_t key[CRYPT_KEY], uint32_t made)
{
    struct head h = { .version = htole32(VERSION), .made = htole32(made) };
    ssize_t n;

    memcpy(h.magic, MAGIC, sizeof(MAGIC));
    memcpy(h.key, key, CRYPT_KEY);
    hash_sha256(&h, offsetof(struct head, digest), h.digest);
    n = pwrite(fd, &h, sizeof(h), 0);
    return n < 0 ? -errno : n < (ssize_t)sizeof(h) ? -ENOSPC : 0;
}

int sealed_head_write(int fd, const uint8_t key[CRYPT_KEY])
{
    return write_head(fd, key, 0);
}

int sealed_head_rewrap(int fd, const uint8_t key[CRYPT_KEY])
{
    uint8_t before[CRYPT_KEY];
    uint32_t made;
    int r = sealed_head_made(fd, before, &made);

    return r < 0 ? r : write_head(fd, key, made);
}

static int check(const struct head *h)
{
    uint8_t wanted[HASH_SHA256];

    if (memcmp(h->magic, MAGIC, sizeof(MAGIC)) != 0)
        return -EUCLEAN;
    if (le32toh(h->version) != VERSION)
        return -EOPNOTSUPP;
    hash_sha256(h, offsetof(struct head, digest), wanted);
    return memcmp(wanted, h->digest, sizeof(wanted)) == 0 ? 0 : -EUCLEAN;
}

static int read_head(int fd, struct head *h)
{
    static const struct head none;
    ssize_t n;

    memset(h, 0, sizeof(*h));
    n = pread(fd, h, sizeof(*h), 0);
    if (n < 0)
        return -errno;
    if (memcmp(h, &none, sizeof(*h)) == 0)
        return -ENODATA;
    return n < (ssize_t)sizeof(*h) ? -EUCLEAN : check(h);
}

int sealed_head_made(int fd, uint8_t key[CRYPT_KEY], uint32_t *ret_made)
{
    struct head h;
    int r = read_head(fd, &h);

    if (r < 0)
        return r;
    memcpy(key, h.key, CRYPT_KEY);
    *ret_made = h.made ? le32toh(h.made) : sealed_key_epoch(key);
    return 0;
}

int sealed_head_read(int fd, uint8_t key[CRYPT_KEY])
{
    uint32_t made;

    return sealed_head_made(fd, key, &made);
}
