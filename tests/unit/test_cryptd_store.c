/* cryptd/root_key and cryptd/key_store: where keys come from, and every way they can be wrong. */
#include "cryptd/key_store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "cryptd/aead.h"
#include "cryptd/passphrase.h"
#include "cryptd/root_key.h"

struct place {
    struct secret *secret;
    char dir[40], key[64], store[64], fresh[64];
    struct error e;
};

static int make(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    if (!p || aead_begin(&p->e) < 0 || secret_new(&p->secret, &p->e) < 0)
        return -1;
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/landfall-cryptd-XXXXXX");
    if (!mkdtemp(p->dir))
        return -1;
    (void)snprintf(p->key, sizeof(p->key), "%s/landfall.key", p->dir);
    (void)snprintf(p->store, sizeof(p->store), "%s/keys", p->dir);
    (void)snprintf(p->fresh, sizeof(p->fresh), "%s/keys.new", p->dir);
    *state = p;
    return 0;
}

static int drop(void **state)
{
    struct place *p = *state;
    int r;

    (void)unlink(p->key);
    (void)unlink(p->store);
    (void)unlink(p->fresh);
    r = rmdir(p->dir);
    secret_free(p->secret);
    aead_end();
    free(p);
    return r;
}

static void write_file(const char *path, const void *data, size_t n, mode_t mode)
{
    CLEANUP_CLOSE int fd = -1;

    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
}

static size_t read_file(const char *path, uint8_t *out, size_t size)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_true(fd >= 0);
    n = read(fd, out, size);
    assert_true(n >= 0);
    return (size_t)n;
}

static const char hex[] = "000102030405060708090A0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
static const uint8_t raw[KEY_SIZE] = "0123456789abcdef\n\0\r\xff" "fedcba987654";

/* --- the root key ---------------------------------------------------------------------------------- */

static void root_keys_come_in_three_forms(void **state)
{
    struct place *p = *state;
    static const uint8_t zero[sizeof(p->secret->text)];

    write_file(p->key, raw, sizeof(raw), 0400);
    assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), 0);
    assert_memory_equal(p->secret->now.key, raw, KEY_SIZE);
    for (size_t n = 64; n <= 65; n++) {
        write_file(p->key, hex, n, 0600);
        assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), 0);
        for (size_t i = 0; i < KEY_SIZE; i++)
            assert_int_equal(p->secret->now.key[i], i);
        assert_memory_equal(p->secret->text, zero, sizeof(zero));
    }
}

static void root_keys_of_another_length_are_refused(void **state)
{
    static const struct {
        const char *data;
        size_t n;
    } rows[] = {
        { "", 0 }, { hex, 31 }, { hex, 33 }, { hex, 63 }, { "\n" "00", 3 },
        { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\n", 66 },
        { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f ", 65 },
        { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eXX", 64 },
    };
    struct place *p = *state;
    char big[4096] = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        write_file(p->key, rows[i].data, rows[i].n, 0400);
        assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), -EINVAL);
        assert_non_null(strstr(p->e.text, p->key));
    }
    write_file(p->key, big, sizeof(big), 0400);
    assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), -EINVAL);
}

static void root_keys_others_can_use_are_refused(void **state)
{
    static const mode_t modes[] = { 0440, 0404, 0420, 0402, 0410, 0401, 0644, 0666 };
    struct place *p = *state;

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        write_file(p->key, raw, sizeof(raw), modes[i]);
        assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), -EPERM);
    }
    if (geteuid() == 0) {
        write_file(p->key, raw, sizeof(raw), 0400);
        assert_int_equal(chown(p->key, 1, (gid_t)-1), 0);
        assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), -EPERM);
    }
}

static void root_keys_must_be_regular_files(void **state)
{
    struct place *p = *state;

    assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), -ENOKEY);
    assert_int_equal(root_key_read(p->dir, NULL, p->secret, &p->e), -EINVAL);
    assert_int_equal(mkfifo(p->key, 0400), 0);
    assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), -EINVAL);
    assert_int_equal(unlink(p->key), 0);
    assert_int_equal(symlink("/dev/urandom", p->key), 0);
    assert_int_equal(root_key_read(p->key, NULL, p->secret, &p->e), -ELOOP);
}

static void without_a_key_file_the_credential_counts(void **state)
{
    struct place *p = *state;

    assert_int_equal(root_key_read("", NULL, p->secret, &p->e), -ENOKEY);
    assert_non_null(strstr(p->e.text, "KeyFile"));
    assert_int_equal(root_key_read("", p->dir, p->secret, &p->e), -ENOKEY);
    write_file(p->key, raw, sizeof(raw), 0440);
    assert_int_equal(root_key_read("", p->dir, p->secret, &p->e), 0);
    assert_memory_equal(p->secret->now.key, raw, KEY_SIZE);
    write_file(p->key, raw, sizeof(raw), 0444);
    assert_int_equal(root_key_read("", p->dir, p->secret, &p->e), -EPERM);
}

/* --- the store --------------------------------------------------------------------------------------- */

static int open_with(struct place *p, uint8_t first)
{
    p->secret->now.kind = ROOT_KEY;
    memset(p->secret->now.key, 7, KEY_SIZE);
    p->secret->now.key[0] = first;
    return key_store_open(p->dir, p->secret, &p->e);
}

static void a_store_is_made_once_and_found_again(void **state)
{
    struct place *p = *state;
    uint8_t data_key[KEY_SIZE], bytes[KEY_STORE_SIZE + 1], again[KEY_STORE_SIZE + 1];
    static const uint8_t zero[KEY_SIZE];
    struct stat st;

    write_file(p->fresh, "cut short", 9, 0600);
    assert_int_equal(open_with(p, 1), 0);
    memcpy(data_key, p->secret->data_key, KEY_SIZE);
    assert_memory_not_equal(data_key, zero, KEY_SIZE);
    assert_memory_equal(p->secret->now.key, zero, KEY_SIZE);
    assert_int_equal(stat(p->store, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(read_file(p->store, bytes, sizeof(bytes)), KEY_STORE_SIZE);
    assert_null(memmem(bytes, KEY_STORE_SIZE, data_key, 8));
    assert_int_equal(access(p->fresh, F_OK), -1);

    memset(p->secret->data_key, 0, KEY_SIZE);
    assert_int_equal(open_with(p, 1), 0);
    assert_memory_equal(p->secret->data_key, data_key, KEY_SIZE);
    assert_int_equal(read_file(p->store, again, sizeof(again)), KEY_STORE_SIZE);
    assert_memory_equal(again, bytes, KEY_STORE_SIZE);
}

static void another_root_key_is_told_apart_and_changes_nothing(void **state)
{
    struct place *p = *state;
    uint8_t bytes[KEY_STORE_SIZE], again[KEY_STORE_SIZE];
    static const uint8_t zero[KEY_SIZE];

    assert_int_equal(open_with(p, 1), 0);
    (void)read_file(p->store, bytes, sizeof(bytes));
    assert_int_equal(open_with(p, 2), -ENOKEY);
    assert_non_null(strstr(p->e.text, p->store));
    assert_memory_equal(p->secret->data_key, zero, KEY_SIZE);
    (void)read_file(p->store, again, sizeof(again));
    assert_memory_equal(again, bytes, KEY_STORE_SIZE);
    assert_int_equal(open_with(p, 1), 0);
}

static void damage_is_named_and_left_alone(void **state)
{
    struct place *p = *state;
    uint8_t good[KEY_STORE_SIZE], bad[KEY_STORE_SIZE + 1] = { 0 }, after[KEY_STORE_SIZE + 2];

    assert_int_equal(open_with(p, 1), 0);
    (void)read_file(p->store, good, sizeof(good));
    for (size_t i = 0; i < KEY_STORE_SIZE; i++) {
        memcpy(bad, good, sizeof(good));
        bad[i] ^= 0x10;
        write_file(p->store, bad, sizeof(good), 0600);
        assert_int_equal(open_with(p, 1), -EUCLEAN);
        assert_non_null(strstr(p->e.text, p->store));
        assert_int_equal(read_file(p->store, after, sizeof(after)), KEY_STORE_SIZE);
        assert_memory_equal(after, bad, KEY_STORE_SIZE);
    }
    memcpy(bad, good, sizeof(good));
    for (size_t n = 0; n <= KEY_STORE_SIZE + 1; n++) {
        write_file(p->store, bad, n, 0600);
        assert_int_equal(open_with(p, 1), n == KEY_STORE_SIZE ? 0 : -EUCLEAN);
        assert_int_equal(read_file(p->store, after, sizeof(after)), n);
    }
}

/* Someone who can write the file can make the checksum right, but not the rest. */
static void forged_stores_do_not_open(void **state)
{
    static const struct {
        size_t offset;
        int result;
    } rows[] = {
        { 8, -EOPNOTSUPP }, { 9, -EOPNOTSUPP }, { 15, -EOPNOTSUPP }, { 16, -ENOKEY }, { 47, -ENOKEY },
        { 48, -ENOKEY }, { 63, -ENOKEY }, { 64, -EUCLEAN }, { 76, -EUCLEAN }, { 107, -EUCLEAN }, { 123, -EUCLEAN },
    };
    struct place *p = *state;
    uint8_t bytes[KEY_STORE_SIZE];

    assert_int_equal(open_with(p, 1), 0);
    (void)read_file(p->store, bytes, sizeof(bytes));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bytes[rows[i].offset] ^= 4;
        assert_int_equal(aead_digest(bytes, KEY_STORE_SIZE - DIGEST_SIZE, bytes + KEY_STORE_SIZE - DIGEST_SIZE), 0);
        write_file(p->store, bytes, sizeof(bytes), 0600);
        assert_int_equal(open_with(p, 1), rows[i].result);
        bytes[rows[i].offset] ^= 4;
    }
}

static void unsafe_places_are_refused(void **state)
{
    struct place *p = *state;
    CLEANUP_CLOSE int fd = -1;

    assert_int_equal(key_store_open("", p->secret, &p->e), -EINVAL);
    assert_int_equal(key_store_open("/nonexistent/landfall", p->secret, &p->e), -ENOENT);
    assert_int_equal(chmod(p->dir, 0770), 0);
    assert_int_equal(open_with(p, 1), -EPERM);
    assert_int_equal(chmod(p->dir, 0700), 0);
    assert_int_equal(access(p->store, F_OK), -1);
    assert_int_equal(open_with(p, 1), 0);
    assert_int_equal(chmod(p->store, 0640), 0);
    assert_int_equal(open_with(p, 1), -EPERM);
    assert_int_equal(chmod(p->store, 0600), 0);
    fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(open_with(p, 1), -EBUSY);
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_int_equal(rename(p->store, p->key), 0);
    assert_int_equal(symlink(p->key, p->store), 0);
    assert_int_equal(open_with(p, 1), -ELOOP);
}

/* --- version 1 ------------------------------------------------------------------------------------------ */

/* As the first version wrote it. */
static void write_version_1(struct place *p, const uint8_t root_key[KEY_SIZE], const uint8_t data_key[KEY_SIZE])
{
    uint8_t f[KEY_STORE_SIZE] = "LNDFKEYS\1", wrap[KEY_SIZE];

    secret_random(f + 16, 32);
    secret_random(f + 64, AEAD_NONCE_SIZE);
    assert_int_equal(aead_derive(root_key, f + 16, 32, "landfall key store 1 check", f + 48, 16), 0);
    assert_int_equal(aead_derive(root_key, f + 16, 32, "landfall key store 1 wrap", wrap, KEY_SIZE), 0);
    assert_int_equal(aead_seal(AEAD_AES_256_GCM, wrap, f + 64, f, 64, data_key, KEY_SIZE, f + 76, f + 108), 0);
    assert_int_equal(aead_digest(f, 124, f + 124), 0);
    write_file(p->store, f, sizeof(f), 0600);
}

static void a_store_of_version_1_becomes_one_of_version_2(void **state)
{
    struct place *p = *state;
    uint8_t root[KEY_SIZE], data[KEY_SIZE], bytes[KEY_STORE_SIZE], again[KEY_STORE_SIZE];

    memset(root, 7, KEY_SIZE);
    root[0] = 1;
    secret_random(data, KEY_SIZE);
    write_version_1(p, root, data);
    (void)read_file(p->store, bytes, sizeof(bytes));
    assert_int_equal(open_with(p, 2), -ENOKEY);   /* not with another key */
    (void)read_file(p->store, again, sizeof(again));
    assert_memory_equal(again, bytes, KEY_STORE_SIZE);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(open_with(p, 1), 0);
        assert_memory_equal(p->secret->data_key, data, KEY_SIZE);
        (void)read_file(p->store, bytes, sizeof(bytes));
        assert_int_equal(bytes[8], 2);
        assert_int_equal(bytes[9], ROOT_KEY);
    }
    assert_int_equal(open_with(p, 2), -ENOKEY);
}

/* --- passphrases ---------------------------------------------------------------------------------------- */

static void set_passphrase(struct root *root, const char *text)
{
    *root = (struct root){ .kind = ROOT_PASSPHRASE, .passphrase_len = strlen(text) };
    memcpy(root->passphrase, text, root->passphrase_len);
}

static void set_key(struct root *root, uint8_t first)
{
    *root = (struct root){ .kind = ROOT_KEY, .key = { first } };
}

static int open_store(struct place *p)
{
    return key_store_open(p->dir, p->secret, &p->e);
}

static int open_by_passphrase(struct place *p, const char *text)
{
    set_passphrase(&p->secret->now, text);
    return open_store(p);
}

static void a_passphrase_unlocks_what_it_made(void **state)
{
    struct place *p = *state;
    uint8_t data_key[KEY_SIZE], bytes[KEY_STORE_SIZE];
    static const struct root nothing;

    assert_int_equal(open_by_passphrase(p, "correct horse"), 0);
    assert_memory_equal(&p->secret->now, &nothing, sizeof(nothing));
    memcpy(data_key, p->secret->data_key, KEY_SIZE);
    (void)read_file(p->store, bytes, sizeof(bytes));
    assert_memory_equal(bytes + 8, "\2\2\x11\x8\1\0\0\0", 8);
    assert_int_equal(open_by_passphrase(p, "correct horsf"), -ENOKEY);
    assert_non_null(strstr(p->e.text, "passphrase"));
    assert_int_equal(open_with(p, 1), -ENOKEY);
    assert_non_null(strstr(p->e.text, "none was given"));
    assert_int_equal(open_by_passphrase(p, "correct horse"), 0);
    assert_memory_equal(p->secret->data_key, data_key, KEY_SIZE);
}

/* RFC 7914, section 12: the third vector. */
static void passphrases_become_keys_by_scrypt(void **state)
{
    static const struct scrypt_cost cost = { 14, 8, 1 };
    uint8_t out[KEY_SIZE], expected[KEY_SIZE];
    struct error e;

    (void)state;
    assert_int_equal(text_unhex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2", expected, KEY_SIZE), 0);
    assert_int_equal(passphrase_derive((const uint8_t *)"pleaseletmein", 13, (const uint8_t *)"SodiumChloride", 14, &cost,
                                       out, &e), 0);
    assert_memory_equal(out, expected, KEY_SIZE);
}

/* A file that was written by others must not make cryptd take all memory. */
static void unbearable_costs_are_refused(void **state)
{
    static const uint8_t costs[][3] = {
        { 9, 8, 1 }, { 23, 8, 1 }, { 255, 8, 1 }, { 17, 0, 1 }, { 17, 17, 1 }, { 17, 8, 0 }, { 17, 8, 17 }, { 22, 8, 1 },
        { 21, 8, 1 }, { 0, 0, 0 },
    };
    struct place *p = *state;
    uint8_t bytes[KEY_STORE_SIZE];

    assert_int_equal(open_by_passphrase(p, "x"), 0);
    (void)read_file(p->store, bytes, sizeof(bytes));
    for (size_t i = 0; i < ARRAY_SIZE(costs); i++) {
        memcpy(bytes + 10, costs[i], 3);
        assert_int_equal(aead_digest(bytes, KEY_STORE_SIZE - DIGEST_SIZE, bytes + KEY_STORE_SIZE - DIGEST_SIZE), 0);
        write_file(p->store, bytes, sizeof(bytes), 0600);
        assert_int_equal(open_by_passphrase(p, "x"), -EUCLEAN);
    }
}

/* --- changing what unlocks ------------------------------------------------------------------------------- */

static void what_unlocks_can_be_changed(void **state)
{
    struct place *p = *state;
    uint8_t data_key[KEY_SIZE];

    assert_int_equal(open_with(p, 1), 0);
    memcpy(data_key, p->secret->data_key, KEY_SIZE);
    set_key(&p->secret->now, 9);
    set_passphrase(&p->secret->next, "one");
    assert_int_equal(open_store(p), -ENOKEY);    /* who does not know the old one changes nothing */
    memset(p->secret->now.key, 7, KEY_SIZE);
    p->secret->now.key[0] = 1;
    p->secret->now.kind = ROOT_KEY;
    set_passphrase(&p->secret->next, "one");
    assert_int_equal(open_store(p), 0);
    assert_memory_equal(p->secret->data_key, data_key, KEY_SIZE);
    assert_int_equal(open_with(p, 1), -ENOKEY);
    set_passphrase(&p->secret->now, "one");
    set_passphrase(&p->secret->next, "two");
    assert_int_equal(open_store(p), 0);
    assert_int_equal(open_by_passphrase(p, "one"), -ENOKEY);
    set_passphrase(&p->secret->now, "two");
    set_key(&p->secret->next, 5);
    assert_int_equal(open_store(p), 0);
    set_key(&p->secret->now, 5);
    assert_int_equal(open_store(p), 0);
    assert_memory_equal(p->secret->data_key, data_key, KEY_SIZE);
}

/* A start that was cut short after the change is given both again; and one that was cut short before it left a file. */
static void a_change_that_was_cut_short_is_made_or_found(void **state)
{
    struct place *p = *state;
    uint8_t before[KEY_STORE_SIZE], after[KEY_STORE_SIZE], again[KEY_STORE_SIZE];

    set_key(&p->secret->now, 1);
    assert_int_equal(open_store(p), 0);
    (void)read_file(p->store, before, sizeof(before));
    set_key(&p->secret->now, 1);
    set_key(&p->secret->next, 2);
    assert_int_equal(open_store(p), 0);
    (void)read_file(p->store, after, sizeof(after));
    assert_memory_not_equal(after, before, sizeof(after));

    write_file(p->store, before, sizeof(before), 0600);         /* before the rename */
    write_file(p->fresh, after, sizeof(after) / 2, 0600);
    set_key(&p->secret->now, 1);
    assert_int_equal(open_store(p), 0);
    set_key(&p->secret->now, 1);
    set_key(&p->secret->next, 2);
    assert_int_equal(open_store(p), 0);
    assert_int_equal(access(p->fresh, F_OK), -1);

    (void)read_file(p->store, after, sizeof(after));            /* after it */
    set_key(&p->secret->now, 1);
    set_key(&p->secret->next, 2);
    assert_int_equal(open_store(p), 0);
    (void)read_file(p->store, again, sizeof(again));
    assert_memory_equal(after, again, sizeof(after));
}

/* --- where secrets come from ------------------------------------------------------------------------------ */

static int pipe_with(const char *text)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], text, strlen(text)), strlen(text));
    (void)close(fds[1]);
    return fds[0];
}

static int read_passphrase(struct place *p, const char *text)
{
    CLEANUP_CLOSE int fd = pipe_with(text);
    const struct root_sources from = { .key_file = "", .passphrase = fd, .new_passphrase = -1, .new_key = -1 };

    p->secret->now = p->secret->next = (struct root){ 0 };
    return root_read(&from, p->secret, &p->e);
}

static void passphrases_are_one_line(void **state)
{
    static const char *const wrong[] = { "", "\n", "a\nb", "a\n\n", "\na" };
    struct place *p = *state;
    char longest[PASSPHRASE_MAX + 2] = { 0 };

    assert_int_equal(read_passphrase(p, "a b\n"), 0);
    assert_int_equal(p->secret->now.kind, ROOT_PASSPHRASE);
    assert_int_equal(p->secret->now.passphrase_len, 3);
    assert_int_equal(p->secret->next.kind, ROOT_NONE);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(read_passphrase(p, wrong[i]), -EINVAL);
    memset(longest, 'x', PASSPHRASE_MAX);
    assert_int_equal(read_passphrase(p, longest), 0);
    longest[PASSPHRASE_MAX] = '\n';
    assert_int_equal(read_passphrase(p, longest), 0);
    longest[PASSPHRASE_MAX] = 'x';
    assert_int_equal(read_passphrase(p, longest), -EINVAL);
}

static void write_credential(struct place *p, const char *name, const char *text)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    write_file(path, text, strlen(text), 0400);
}

static void credentials_come_in_an_order(void **state)
{
    static const char *const names[] = { "landfall.passphrase", "landfall.new-passphrase", "landfall.new-key" };
    struct place *p = *state;
    const struct root_sources from = {
        .key_file = "", .credentials = p->dir, .passphrase = -1, .new_passphrase = -1, .new_key = -1,
    };
    char path[96];

    write_file(p->key, raw, sizeof(raw), 0400);
    assert_int_equal(root_read(&from, p->secret, &p->e), 0);
    assert_int_equal(p->secret->now.kind, ROOT_KEY);
    write_credential(p, names[0], "a passphrase\n");
    write_credential(p, names[2], "0123456789abcdef0123456789abcdef");
    assert_int_equal(root_read(&from, p->secret, &p->e), 0);
    assert_int_equal(p->secret->now.kind, ROOT_PASSPHRASE);
    assert_int_equal(p->secret->next.kind, ROOT_KEY);
    write_credential(p, names[1], "another");
    assert_int_equal(root_read(&from, p->secret, &p->e), 0);
    assert_int_equal(p->secret->next.kind, ROOT_PASSPHRASE);
    assert_int_equal(p->secret->next.passphrase_len, 7);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
        assert_int_equal(unlink(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(root_keys_come_in_three_forms, make, drop),
        cmocka_unit_test_setup_teardown(root_keys_of_another_length_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(root_keys_others_can_use_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(root_keys_must_be_regular_files, make, drop),
        cmocka_unit_test_setup_teardown(without_a_key_file_the_credential_counts, make, drop),
        cmocka_unit_test_setup_teardown(a_store_is_made_once_and_found_again, make, drop),
        cmocka_unit_test_setup_teardown(another_root_key_is_told_apart_and_changes_nothing, make, drop),
        cmocka_unit_test_setup_teardown(damage_is_named_and_left_alone, make, drop),
        cmocka_unit_test_setup_teardown(forged_stores_do_not_open, make, drop),
        cmocka_unit_test_setup_teardown(unsafe_places_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(a_store_of_version_1_becomes_one_of_version_2, make, drop),
        cmocka_unit_test_setup_teardown(a_passphrase_unlocks_what_it_made, make, drop),
        cmocka_unit_test_setup_teardown(passphrases_become_keys_by_scrypt, make, drop),
        cmocka_unit_test_setup_teardown(unbearable_costs_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(what_unlocks_can_be_changed, make, drop),
        cmocka_unit_test_setup_teardown(a_change_that_was_cut_short_is_made_or_found, make, drop),
        cmocka_unit_test_setup_teardown(passphrases_are_one_line, make, drop),
        cmocka_unit_test_setup_teardown(credentials_come_in_an_order, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
