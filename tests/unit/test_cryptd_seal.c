/* cryptd/seal and cryptd/aead: what is sealed opens for its purpose only, and unchanged only. */
#include "cryptd/seal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "cryptd/aead.h"

static const char secret_text[] = "wJalrXUtnFEMI/K7MDENG";
enum { SECRET_LEN = sizeof(secret_text) - 1 };

static int make(void **state)
{
    struct error e;
    struct secret *s;

    if (aead_begin(&e) < 0 || secret_new(&s, &e) < 0)
        return -1;
    secret_random(s->data_key, KEY_SIZE);
    *state = s;
    return 0;
}

static int drop(void **state)
{
    secret_free(*state);
    aead_end();
    return 0;
}

static uint8_t *seal_secret(struct secret *s, size_t *ret_n)
{
    struct error e;
    uint8_t *sealed;

    assert_int_equal(seal_make(s, "account:1", secret_text, SECRET_LEN, &sealed, ret_n, &e), 0);
    assert_int_equal(*ret_n, SECRET_LEN + SEAL_OVERHEAD);
    return sealed;
}

static int try_open(struct secret *s, const char *purpose, const uint8_t *sealed, size_t n)
{
    struct error e = { 0 };
    uint8_t *plain = NULL;
    size_t plain_n = 0;
    int r = seal_open(s, purpose, sealed, n, &plain, &plain_n, &e);

    if (r == 0) {
        assert_int_equal(plain_n, SECRET_LEN);
        assert_memory_equal(plain, secret_text, SECRET_LEN);
    } else {
        assert_int_equal(e.code, r);
        assert_null(plain);
    }
    free(plain);
    return r;
}

static void sealed_secrets_open(void **state)
{
    struct secret *s = *state;
    size_t n, again_n;
    CLEANUP_FREE uint8_t *sealed = seal_secret(s, &n), *again = seal_secret(s, &again_n);
    static const uint8_t zero[KEY_SIZE];

    assert_int_equal(try_open(s, "account:1", sealed, n), 0);
    assert_int_equal(try_open(s, "account:1", again, again_n), 0);
    assert_memory_not_equal(sealed + 1, again + 1, AEAD_NONCE_SIZE);
    assert_null(memmem(sealed, n, secret_text, 4));
    assert_memory_equal(s->work_key, zero, KEY_SIZE);
}

static void every_size_can_be_sealed(void **state)
{
    static const size_t sizes[] = { 0, 1, 15, 16, 17, 4096, SEAL_PLAIN_MAX };
    CLEANUP_FREE uint8_t *plain = calloc(1, SEAL_PLAIN_MAX + 1);
    uint8_t *sealed, *opened;
    size_t n, opened_n;
    struct error e;

    memset(plain, 0x5a, SEAL_PLAIN_MAX + 1);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_int_equal(seal_make(*state, "x:y", plain, sizes[i], &sealed, &n, &e), 0);
        assert_int_equal(seal_open(*state, "x:y", sealed, n, &opened, &opened_n, &e), 0);
        assert_int_equal(opened_n, sizes[i]);
        assert_memory_equal(opened, plain, sizes[i]);
        free(sealed);
        free(opened);
    }
    assert_int_equal(seal_make(*state, "x:y", plain, SEAL_PLAIN_MAX + 1, &sealed, &n, &e), -EMSGSIZE);
    assert_int_equal(seal_open(*state, "x:y", plain, SEAL_PLAIN_MAX + SEAL_OVERHEAD + 1, &opened, &n, &e), -EMSGSIZE);
}

static void another_purpose_does_not_open(void **state)
{
    static const char *const others[] = {
        "account:2", "account:11", "account:1 ", "accounts:1", "account::1", "a:1", "drive:1", "account:",
    };
    size_t n;
    CLEANUP_FREE uint8_t *sealed = seal_secret(*state, &n);

    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_int_equal(try_open(*state, others[i], sealed, n), i + 1 == ARRAY_SIZE(others) ? -EINVAL : -EUCLEAN);
}

static void every_bit_counts(void **state)
{
    size_t n;
    CLEANUP_FREE uint8_t *sealed = seal_secret(*state, &n);

    for (size_t bit = 0; bit < 8 * n; bit++) {
        bool in_id = bit / 8 >= 1 && bit / 8 < 1 + SEAL_ID_SIZE;

        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(try_open(*state, "account:1", sealed, n), in_id ? -ENOKEY : -EUCLEAN);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < n; len++)
        assert_int_equal(try_open(*state, "account:1", sealed, len), -EUCLEAN);
    assert_int_equal(try_open(*state, "account:1", sealed, n), 0);
}

/* That the key store is another one is not taken for damage. */
static void another_key_does_not_open(void **state)
{
    struct secret *s = *state;
    struct error e = { 0 };
    uint8_t *plain = NULL;
    size_t n, plain_n;
    CLEANUP_FREE uint8_t *sealed = seal_secret(s, &n);

    s->data_key[31] ^= 1;
    assert_int_equal(seal_open(s, "account:1", sealed, n, &plain, &plain_n, &e), -ENOKEY);
    assert_non_null(strstr(e.text, "lost or replaced"));
    assert_null(plain);
    s->data_key[31] ^= 1;
    assert_int_equal(try_open(s, "account:1", sealed, n), 0);
}

/* As the first version sealed: nothing says with which key. */
static void what_the_first_version_sealed_opens(void **state)
{
    static const uint8_t aad[] = "\1account:1";
    struct secret *s = *state;
    uint8_t key[KEY_SIZE], sealed[1 + AEAD_NONCE_SIZE + SECRET_LEN + AEAD_TAG_SIZE] = { 1 };

    assert_int_equal(aead_derive(s->data_key, "", 0, "landfall seal 1 account", key, KEY_SIZE), 0);
    assert_int_equal(aead_seal(AEAD_AES_256_GCM, key, sealed + 1, aad, sizeof(aad) - 1, secret_text, SECRET_LEN,
                               sealed + 1 + AEAD_NONCE_SIZE, sealed + 1 + AEAD_NONCE_SIZE + SECRET_LEN), 0);
    assert_int_equal(try_open(s, "account:1", sealed, sizeof(sealed)), 0);
    assert_int_equal(try_open(s, "account:2", sealed, sizeof(sealed)), -EUCLEAN);
    for (size_t n = 0; n < sizeof(sealed); n++)
        assert_int_equal(try_open(s, "account:1", sealed, n), -EUCLEAN);
    s->data_key[0] ^= 1;
    assert_int_equal(try_open(s, "account:1", sealed, sizeof(sealed)), -EUCLEAN);
}

static void purposes_have_a_form(void **state)
{
    char name_255[2 + 255 + 1] = "x:", class_33[40] = "abcdefghijklmnopqrstuvwxyzabcdefg:1";
    const char *const wrong[] = {
        "", "account", ":1", "account:", "Account:1", "a-b:1", "a1:1", " a:1", class_33, NULL,
    };
    CLEANUP_FREE char *name_256 = NULL;
    struct error e;
    uint8_t *out;
    size_t n;

    for (size_t i = 0; wrong[i]; i++)
        assert_int_equal(seal_make(*state, wrong[i], "x", 1, &out, &n, &e), -EINVAL);
    memset(name_255 + 2, 'n', 255);
    assert_true(asprintf(&name_256, "%sn", name_255) > 0);
    assert_int_equal(seal_make(*state, name_256, "x", 1, &out, &n, &e), -EINVAL);
    assert_int_equal(seal_make(*state, name_255, "x", 1, &out, &n, &e), 0);
    free(out);
    assert_int_equal(seal_make(*state, class_33 + 1, "x", 1, &out, &n, &e), 0);
    free(out);
}

/* RFC 5869's vectors have keys of other lengths than ours; this one was worked out with Python's hmac module. */
static void derivation_is_hkdf_sha256(void **state)
{
    uint8_t key[KEY_SIZE], out[42], expected[42];

    (void)state;
    for (size_t i = 0; i < KEY_SIZE; i++)
        key[i] = (uint8_t)i;
    assert_int_equal(text_unhex("2a538a0a84b95b509cf2080b8b571bd5d322f9e39724"
                                "effd5071f569d77e07726b60b500a777bede279e", expected, sizeof(expected)), 0);
    assert_int_equal(aead_derive(key, "salt", 4, "landfall test", out, sizeof(out)), 0);
    assert_memory_equal(out, expected, sizeof(out));
}

/* GCM specification (McGrew, Viega), test case 16. */
static void encryption_is_aes_256_gcm(void **state)
{
    uint8_t key[32], nonce[12], plain[60], aad[20], expected[76], out[76], opened[60];

    (void)state;
    (void)text_unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", key, 32);
    (void)text_unhex("cafebabefacedbaddecaf888", nonce, 12);
    (void)text_unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad, 20);
    (void)text_unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39", plain, 60);
    (void)text_unhex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                     "76fc6ece0f4e1768cddf8853bb2d551b", expected, 76);
    assert_int_equal(aead_seal(AEAD_AES_256_GCM, key, nonce, aad, 20, plain, 60, out, out + 60), 0);
    assert_memory_equal(out, expected, 76);
    assert_int_equal(aead_open(AEAD_AES_256_GCM, key, nonce, aad, 20, out, 60, out + 60, opened), 0);
    assert_memory_equal(opened, plain, 60);
    aad[19] ^= 0x80;
    assert_int_equal(aead_open(AEAD_AES_256_GCM, key, nonce, aad, 20, out, 60, out + 60, opened), -EBADMSG);
    for (size_t i = 0; i < sizeof(opened); i++)
        assert_int_equal(opened[i], 0);
}

/* What libcrypto makes of the same. */
static void seal_by_libcrypto(const uint8_t *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_n,
                              const uint8_t *plain, size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len;

    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &len, aad, (int)aad_n), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &len, plain, (int)n), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, out + n, &len), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, out + n), 1);
    EVP_CIPHER_CTX_free(ctx);
}

/* Whichever library does it, the other one opens it; also where plaintext and ciphertext take each other's place. */
static void both_libraries_make_the_same(void **state)
{
    enum { MOST = 65536 };
    static const size_t sizes[] = { 1, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 257, 4095, 4096, 65535, MOST };
    static const size_t aad_sizes[] = { 1, 16, 20, 40, 64, 100 };
    static uint8_t plain[MOST], expected[MOST + AEAD_TAG_SIZE], out[MOST + AEAD_TAG_SIZE];
    uint8_t key[KEY_SIZE], nonce[AEAD_NONCE_SIZE], aad[100];

    (void)state;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 31 / 7);
    for (size_t i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(aad_sizes); i++) {
        size_t n = sizes[i % ARRAY_SIZE(sizes)], aad_n = aad_sizes[i / ARRAY_SIZE(sizes)];

        secret_random(key, sizeof(key));
        secret_random(nonce, sizeof(nonce));
        secret_random(aad, sizeof(aad));
        seal_by_libcrypto(key, nonce, aad, aad_n, plain, n, expected);
        memcpy(out, plain, n);
        assert_int_equal(aead_seal(AEAD_AES_256_GCM, key, nonce, aad, aad_n, out, n, out, out + n), 0);
        assert_memory_equal(out, expected, n + AEAD_TAG_SIZE);
        assert_int_equal(aead_open(AEAD_AES_256_GCM, key, nonce, aad, aad_n, out, n, out + n, out), 0);
        assert_memory_equal(out, plain, n);
        expected[i % n] ^= 1;
        assert_int_equal(aead_open(AEAD_AES_256_GCM, key, nonce, aad, aad_n, expected, n, expected + n, out), -EBADMSG);
        assert_int_equal(out[0] | out[n - 1], 0);
    }
}

/* A child must not inherit keys, whoever forked it. */
static void keys_are_wiped_in_a_child(void **state)
{
    struct secret *s = *state;
    static const uint8_t zero[KEY_SIZE];
    int status;
    pid_t pid;

    s->data_key[0] = 1;
    pid = fork();
    if (pid == 0)
        _exit(memcmp(s->data_key, zero, KEY_SIZE) == 0 ? 42 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sealed_secrets_open, make, drop),
        cmocka_unit_test_setup_teardown(every_size_can_be_sealed, make, drop),
        cmocka_unit_test_setup_teardown(another_purpose_does_not_open, make, drop),
        cmocka_unit_test_setup_teardown(every_bit_counts, make, drop),
        cmocka_unit_test_setup_teardown(another_key_does_not_open, make, drop),
        cmocka_unit_test_setup_teardown(what_the_first_version_sealed_opens, make, drop),
        cmocka_unit_test_setup_teardown(purposes_have_a_form, make, drop),
        cmocka_unit_test_setup_teardown(derivation_is_hkdf_sha256, make, drop),
        cmocka_unit_test_setup_teardown(encryption_is_aes_256_gcm, make, drop),
        cmocka_unit_test_setup_teardown(both_libraries_make_the_same, make, drop),
        cmocka_unit_test_setup_teardown(keys_are_wiped_in_a_child, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
