/* cryptd/cache_chunk and cryptd/hedge: a chunk opens where and as it was sealed, and no key is used for two plaintexts,
 * not even by a random generator that always gives the same. */
#include "cryptd/cache_chunk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

/* A machine whose snapshot is resumed again and again: in its place of libc's. */
static bool stuck;
ssize_t getrandom(void *p, size_t n, unsigned flags)
{
    if (!stuck)
        return syscall(SYS_getrandom, p, n, flags);
    memset(p, 0x5a, n);
    return (ssize_t)n;
}

static struct cache_keys keys;
static struct error e;
static uint8_t plain[CACHE_CHUNK], sealed[CACHE_CHUNK], opened[CACHE_CHUNK];

static void new_file(enum aead algorithm, struct cache_keys *out)
{
    struct wrapped_key file;

    cache_key_make(&file);
    file.algorithm = algorithm;
    assert_int_equal(cache_keys_derive(&file, out), 0);
}

static int make(void **state)
{
    (void)state;
    stuck = false;
    if (aead_begin(&e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 7);
    new_file(AEAD_AES_256_GCM, &keys);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    aead_end();
    return 0;
}

static struct cache_record seal(uint64_t number, uint64_t generation, size_t n)
{
    struct cache_record record;

    assert_int_equal(cache_chunk_seal(&keys, number, generation, plain, n, sealed, &record), 0);
    return record;
}

static void chunks_come_back(void **state)
{
    static const size_t sizes[] = { 1, 2, 15, 16, 17, 4095, 4096, 65535, 65536 };
    static const enum aead algorithms[] = { AEAD_AES_256_GCM, AEAD_CHACHA20_POLY1305 };

    (void)state;
    for (size_t a = 0; a < ARRAY_SIZE(algorithms); a++) {
        new_file(algorithms[a], &keys);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            struct cache_record record = seal(i, 1, sizes[i]);

            assert_int_equal(record.algorithm, algorithms[a]);
            assert_int_equal(cache_chunk_open(&keys, i, &record, sealed, sizes[i], opened), 0);
            assert_memory_equal(opened, plain, sizes[i]);
        }
    }
}

static void lengths_have_bounds(void **state)
{
    struct cache_record record = seal(0, 0, 10);

    (void)state;
    assert_int_equal(cache_chunk_open(&keys, 0, &record, sealed, 9, opened), -EINVAL);
    assert_int_equal(cache_chunk_open(&keys, 0, &record, sealed, 0, opened), -EINVAL);
    assert_int_equal(cache_chunk_seal(&keys, 0, 0, plain, 0, sealed, &record), -EINVAL);
    assert_int_equal(cache_chunk_seal(&keys, 0, 0, plain, CACHE_CHUNK + 1, sealed, &record), -EINVAL);
}

static void every_byte_counts(void **state)
{
    enum { N = 100 };
    struct cache_record record = seal(3, 9, N);
    uint8_t *bytes = (uint8_t *)&record;

    (void)state;
    for (size_t i = 0; i < sizeof(record); i++) {
        int expected = i == 0 ? -EOPNOTSUPP : i == 1 ? -EOPNOTSUPP : i >= 4 && i < 8 ? -EINVAL : -EBADE;

        bytes[i] ^= 0x40;
        if (cache_chunk_open(&keys, 3, &record, sealed, N, opened) != expected)
            fail_msg("byte %zu of the record", i);
        bytes[i] ^= 0x40;
    }
    record.algorithm = AEAD_CHACHA20_POLY1305;
    assert_int_equal(cache_chunk_open(&keys, 3, &record, sealed, N, opened), -EBADE);
    record.algorithm = AEAD_AES_256_GCM;
    for (size_t i = 0; i < N; i++) {
        sealed[i] ^= 1;
        assert_int_equal(cache_chunk_open(&keys, 3, &record, sealed, N, opened), -EBADE);
        assert_int_equal(opened[i], 0);
        sealed[i] ^= 1;
    }
    assert_int_equal(cache_chunk_open(&keys, 3, &record, sealed, N, opened), 0);
}

static void a_hole_is_no_chunk(void **state)
{
    static const struct cache_record zeros;

    (void)state;
    memset(sealed, 0, sizeof(sealed));
    assert_int_equal(cache_chunk_open(&keys, 0, &zeros, sealed, CACHE_CHUNK, opened), -EOPNOTSUPP);
}

static void chunks_stay_at_their_place(void **state)
{
    struct cache_record record = seal(1, 1, 4096), other = record;
    struct cache_keys same_key = keys;

    (void)state;
    assert_int_equal(cache_chunk_open(&keys, 2, &record, sealed, 4096, opened), -EBADE);
    other.number = 2;
    assert_int_equal(cache_chunk_open(&keys, 2, &other, sealed, 4096, opened), -EBADE);
    other = record;
    other.generation = 2;
    assert_int_equal(cache_chunk_open(&keys, 1, &other, sealed, 4096, opened), -EBADE);
    same_key.file_id[0] ^= 1;
    assert_int_equal(cache_chunk_open(&same_key, 1, &record, sealed, 4096, opened), -EBADE);
    new_file(AEAD_AES_256_GCM, &same_key);
    assert_int_equal(cache_chunk_open(&same_key, 1, &record, sealed, 4096, opened), -EBADE);
}

/* --- nonces --------------------------------------------------------------------------------------- */

struct use {
    uint8_t nonce[HEDGE_NONCE_SIZE];
    uint8_t tag[AEAD_TAG_SIZE];
};

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, HEDGE_NONCE_SIZE);
}

/* The key of a sealing is a function of its file's keys and its nonce: so nonces of one file must differ, unless
 * everything is the same. */
static void no_nonce_twice(struct use *uses, size_t n)
{
    qsort(uses, n, sizeof(*uses), compare);
    for (size_t i = 1; i < n; i++)
        if (memcmp(uses[i].nonce, uses[i - 1].nonce, HEDGE_NONCE_SIZE) == 0)
            assert_memory_equal(uses[i].tag, uses[i - 1].tag, AEAD_TAG_SIZE);
}

static void use(struct use *u, uint64_t number, uint64_t generation, size_t n)
{
    struct cache_record record = seal(number, generation, n);

    memcpy(u->nonce, record.nonce, sizeof(u->nonce));
    memcpy(u->tag, record.tag, sizeof(u->tag));
}

enum { ROUNDS = 2000 };

/* The counter is lost (always 1) and random bytes repeat: every rewrite has another byte in the plaintext. */
static void rewrites_of_a_resumed_snapshot_share_no_key(void **state)
{
    static struct use uses[ROUNDS];

    (void)state;
    stuck = true;
    for (size_t i = 0; i < ROUNDS; i++) {
        plain[i * 31 % 4096] ^= (uint8_t)(1 + i % 255);
        use(&uses[i], 0, 1, 4096);
    }
    no_nonce_twice(uses, ROUNDS);
    for (size_t i = 1; i < ROUNDS; i++)
        assert_memory_not_equal(uses[i].nonce, uses[i - 1].nonce, HEDGE_NONCE_SIZE);
}

/* The plaintext is the same too: place, length or counter differ. */
static void what_is_bound_makes_another_key(void **state)
{
    static struct use uses[3 * ROUNDS];

    (void)state;
    stuck = true;
    for (size_t i = 0; i < ROUNDS; i++) {
        use(&uses[3 * i], i, 1, 64);
        use(&uses[3 * i + 1], 0, 2 + i, 64);
        use(&uses[3 * i + 2], 0, 1, 65 + i);
    }
    no_nonce_twice(uses, 3 * ROUNDS);
    for (size_t i = 1; i < 3 * ROUNDS; i++)
        assert_memory_not_equal(uses[i].nonce, uses[i - 1].nonce, HEDGE_NONCE_SIZE);
}

static void the_same_again_is_wholly_the_same(void **state)
{
    static uint8_t first[4096];
    struct cache_record a, b;

    (void)state;
    stuck = true;
    a = seal(0, 1, 4096);
    memcpy(first, sealed, sizeof(first));
    b = seal(0, 1, 4096);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_memory_equal(first, sealed, sizeof(first));
    stuck = false;
    b = seal(0, 1, 4096);
    assert_memory_not_equal(a.nonce, b.nonce, HEDGE_NONCE_SIZE);
}

/* Two files that a resumed machine made twice have one key and id, and still no two plaintexts under one nonce. */
static void two_lives_of_one_file_share_no_key(void **state)
{
    static struct use uses[2 * ROUNDS];
    struct cache_keys lives[2];

    (void)state;
    stuck = true;
    for (size_t life = 0; life < 2; life++)
        new_file(AEAD_AES_256_GCM, &lives[life]);
    assert_memory_equal(&lives[0].keys, &lives[1].keys, sizeof(lives[0].keys));
    for (size_t life = 0; life < 2; life++) {
        keys = lives[life];
        for (size_t i = 0; i < ROUNDS; i++) {
            memset(plain, (int)(i % 2 ? 0 : life + 1), 128);   /* every other write is the same in both */
            use(&uses[life * ROUNDS + i], i % 10, i, 128);
        }
    }
    no_nonce_twice(uses, ARRAY_SIZE(uses));
}

/* The formula of cryptd/hedge.h, step by step. */
static void sealing_is_as_written_down(void **state)
{
    static const uint8_t random[32] = { [0 ... 31] = 0x5a }, zero_nonce[AEAD_NONCE_SIZE], one = AEAD_AES_256_GCM;
    uint8_t hash[HASH_SIZE], nonce[DIGEST_SIZE], key[DIGEST_SIZE], aad[40], out[50], tag[AEAD_TAG_SIZE];
    struct cache_record record;

    (void)state;
    stuck = true;
    record = seal(5, 6, 50);
    memcpy(aad, &record, 24);
    memcpy(aad + 24, keys.file_id, 16);
    assert_int_equal(aead_hash(keys.keys.hash, plain, 50, hash), 0);
    assert_int_equal(aead_hmac(keys.keys.draw, 32, (struct bytes[]){ { random, 32 }, { hash, 16 }, { aad, 40 } }, 3, nonce), 0);
    assert_memory_equal(record.nonce, nonce, HEDGE_NONCE_SIZE);
    assert_int_equal(aead_hmac(keys.keys.seal, 32, (struct bytes[]){ { &one, 1 }, { nonce, 24 } }, 2, key), 0);
    assert_int_equal(aead_seal(AEAD_AES_256_GCM, key, zero_nonce, aad, 40, plain, 50, out, tag), 0);
    assert_memory_equal(sealed, out, 50);
    assert_memory_equal(record.tag, tag, AEAD_TAG_SIZE);
}

/* RFC 8439, section 2.8.2; RFC 4231, test case 2; and Poly1305 of RFC 8439, 2.5.2, less its s. */
static void algorithms_are_those_of_the_rfcs(void **state)
{
    static const uint8_t text[] = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
                                  "future, sunscreen would be it.";
    static const uint8_t nonce[] = { 7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47 };
    static const uint8_t aad[] = { 0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7 };
    static const uint8_t tag[] = { 0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a, 0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60,
                                   0x06, 0x91 };
    static const uint8_t jefe[] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95,
                                    0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9,
                                    0x64, 0xec, 0x38, 0x43 };
    static const uint8_t r[KEY_SIZE] = { 0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33, 0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5,
                                         0x06, 0xa8, 0xff };   /* byte 16 is not used */
    static const uint8_t hash_and_s[] = { 0xa8, 0x06, 0x1d, 0xc1, 0x30, 0x51, 0x36, 0xc6, 0xc2, 0x2b, 0x8b, 0xaf, 0x0c,
                                          0x01, 0x27, 0xa9 };
    static const uint8_t s[] = { 0x01, 0x03, 0x80, 0x8a, 0xfb, 0x0d, 0xb2, 0xfd, 0x4a, 0xbf, 0xf6, 0xaf, 0x41, 0x49, 0xf5,
                                 0x1b };
    uint8_t key[KEY_SIZE], out[sizeof(text)], got[DIGEST_SIZE];
    unsigned carry = 0;

    (void)state;
    for (size_t i = 0; i < KEY_SIZE; i++)
        key[i] = (uint8_t)(0x80 + i);
    assert_int_equal(aead_seal(AEAD_CHACHA20_POLY1305, key, nonce, aad, sizeof(aad), text, sizeof(text) - 1, out, got), 0);
    assert_memory_equal(got, tag, sizeof(tag));
    assert_int_equal(aead_hmac("Jefe", 4, (struct bytes[]){ { "what do ya want ", 16 }, { "for nothing?", 12 } }, 2, got), 0);
    assert_memory_equal(got, jefe, sizeof(jefe));
    assert_int_equal(aead_hash(r, "Cryptographic Forum Research Group", 34, got), 0);
    for (size_t i = 0; i < 16; i++) {
        carry += got[i] + s[i];
        assert_int_equal(carry & 0xff, hash_and_s[i]);
        carry >>= 8;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chunks_come_back, make, drop),
        cmocka_unit_test_setup_teardown(lengths_have_bounds, make, drop),
        cmocka_unit_test_setup_teardown(every_byte_counts, make, drop),
        cmocka_unit_test_setup_teardown(a_hole_is_no_chunk, make, drop),
        cmocka_unit_test_setup_teardown(chunks_stay_at_their_place, make, drop),
        cmocka_unit_test_setup_teardown(rewrites_of_a_resumed_snapshot_share_no_key, make, drop),
        cmocka_unit_test_setup_teardown(what_is_bound_makes_another_key, make, drop),
        cmocka_unit_test_setup_teardown(the_same_again_is_wholly_the_same, make, drop),
        cmocka_unit_test_setup_teardown(two_lives_of_one_file_share_no_key, make, drop),
        cmocka_unit_test_setup_teardown(sealing_is_as_written_down, make, drop),
        cmocka_unit_test_setup_teardown(algorithms_are_those_of_the_rfcs, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
