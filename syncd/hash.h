/* Digests: the only file of syncd, beside the signer that calls it, that uses OpenSSL. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HASH_SHA256 = 32, HASH_SHA256_HEX = 65, HASH_MD5 = 16, HASH_MD5_HEX = 33 };

void hash_sha256(const void *data, size_t n, uint8_t out[HASH_SHA256]);
void hash_sha256_hex(const void *data, size_t n, char out[HASH_SHA256_HEX]);
void hash_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n, uint8_t out[HASH_SHA256]);
void hash_md5(const void *data, size_t n, uint8_t out[HASH_MD5]);

/* The MD5 of bytes as they come. */
struct hash_md5;
struct hash_md5 *hash_md5_new(void);
void hash_md5_free(struct hash_md5 *h);   /* NULL is fine */
void hash_md5_add(struct hash_md5 *h, const void *data, size_t n);
/* The digest of what was added; the next one begins. */
void hash_md5_take(struct hash_md5 *h, uint8_t out[HASH_MD5]);

/* A run of bytes of a file to be digested by a pool thread: loop_work(l, hash_extent, done, x). */
struct hash_extent {
    int fd;                         /* borrowed */
    uint64_t offset, length;
    bool md5_wanted;
    atomic_bool stop;               /* set from the loop to end early with -ECANCELED */
    /* out */
    int error;                      /* 0, -EBADE when the file is shorter, or another negative errno */
    char sha256[HASH_SHA256_HEX];
    uint8_t md5[HASH_MD5];
};
void hash_extent(void *arg);
