/* Owns the head of a sealed cache file. Must not know its chunks. */
#include "syncd/sealed_head.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "syncd/hash.h"

enum { VERSION = 1 };

struct head {
    uint8_t magic[8];
    uint32_t version, zero;
    uint8_t key[CRYPT_KEY];
    uint8_t digest[HASH_SHA256];
    uint8_t rest[SEALED_HEAD - 16 - CRYPT_KEY - HASH_SHA256];
};
_Static_assert(sizeof(struct head) == SEALED_HEAD, "as in sealed.h");

static const char MAGIC[8] = { 'L', 'N', 'D', 'F', 'S', 'E', 'A', 'L' };

int sealed_head_write(int fd, const uint8_t key[CRYPT_KEY])
{
    struct head h = { .version = htole32(VERSION) };
    ssize_t n;

    memcpy(h.magic, MAGIC, sizeof(MAGIC));
    memcpy(h.key, key, CRYPT_KEY);
    hash_sha256(&h, offsetof(struct head, digest), h.digest);
    n = pwrite(fd, &h, sizeof(h), 0);
    return n < 0 ? -errno : n < (ssize_t)sizeof(h) ? -ENOSPC : 0;
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

int sealed_head_read(int fd, uint8_t key[CRYPT_KEY])
{
    static const struct head none;
    struct head h = { .version = 0 };
    ssize_t n = pread(fd, &h, sizeof(h), 0);
    int r;

    if (n < 0)
        return -errno;
    if (memcmp(&h, &none, sizeof(h)) == 0)
        return -ENODATA;
    r = n < (ssize_t)sizeof(h) ? -EUCLEAN : check(&h);
    if (r == 0)
        memcpy(key, h.key, CRYPT_KEY);
    return r;
}
