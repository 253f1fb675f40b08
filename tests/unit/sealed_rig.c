/* A drive with keys for the tests of its objects. Objects are opened here with what cryptd is made of, not through what
 * is tested. */
#include "tests/unit/sealed_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "cryptd/age_key.h"
#include "cryptd/age_object.h"
#include "cryptd/age_stream.h"
#include "cryptd/x25519.h"
#include "syncd/store.h"
#include "syncd/store_index_internal.h"
#include "tests/unit/cryptd_process.h"

#define DRIVE "01234567-89ab-4def-8123-456789abcdef"
#define ACCOUNT "11234567-89ab-4def-8123-456789abcdef"

/* One test at a time has it. */
static struct {
    pid_t cryptd;
    char socket[96];
    struct store *store;
    struct ipc_client *client;
    struct crypt *crypt;
    struct rig *rig;
    uint8_t identity[KEY_SIZE];
} s;

/* --- keys -------------------------------------------------------------------------------------------- */

static void on_connected(void *arg)
{
    (void)arg;
    crypt_share(s.crypt, s.client);
    if (s.rig->keys)
        keys_connected(s.rig->keys);
}

static void on_lost(void *arg)
{
    (void)arg;
    if (s.rig->keys)
        keys_disconnected(s.rig->keys);
}

static void on_made(const struct error *e, const void *blob, size_t n, uint32_t serial, void *arg)
{
    if (e)
        fail_msg("%s", error_text(e));
    assert_int_equal(store_keys_put(s.store, DRIVE, blob, n, serial), 0);
    *(bool *)arg = true;
}

static void on_exported(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)fds;
    if (!reply)
        fail_msg("%s", error_text(e));
    assert_int_equal(bech32_decode(AGE_IDENTITY_PREFIX, reply->drive_keys_exported->identities[0], s.identity), 0);
    *(bool *)arg = true;
}

static void on_rotated(const struct error *e, void *arg)
{
    if (e)
        fail_msg("%s", error_text(e));
    *(bool *)arg = true;
}

void sealed_rotate(struct rig *rig)
{
    bool rotated = false;

    keys_change(rig->keys, &(struct keys_change){ .rotate = true }, on_rotated, &rotated);
    rig_wait(rig, rotated);
}

static void store_drive(void)
{
    Lf__CloudAccount account = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudDrive drive = LF__CLOUD_DRIVE__INIT;

    account.id = (char *)(uintptr_t)ACCOUNT;
    account.name = (char *)(uintptr_t)"account";
    drive.id = (char *)(uintptr_t)DRIVE;
    drive.name = (char *)(uintptr_t)"drive";
    drive.account = &account;
    assert_int_equal(store_account_insert(s.store, &account, "", 0), 0);
    assert_int_equal(store_drive_insert(s.store, &drive), 0);
}

static void begin(struct rig *rig)
{
    struct ipc_client_spec spec = { .role = ROLE_SYNCD, .peer = ROLE_CRYPTD, .path = s.socket, .max_queue = 256,
                                    .connected = on_connected, .lost = on_lost };
    struct error e = { 0 };
    bool made;

    s.rig = rig;
    (void)snprintf(s.socket, sizeof(s.socket), "%s/cryptd.sock", rig->dir);
    s.cryptd = cryptd_process_start(s.socket, CRYPTD_OURS);
    if (store_open(rig->dir, &s.store, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(crypt_new(rig->loop, 16 << 20, 16 << 20, &s.crypt, &e), 0);
    s.client = ipc_client_new(rig->loop, &spec);
    assert_non_null(s.client);
    made = store_keys_kept(s.store, DRIVE);
    if (made)
        return;
    store_drive();
    keys_make(s.client, DRIVE, NULL, 0, on_made, &made);
    rig_wait(rig, made);
}

static struct keys *make_keys(struct rig *rig)
{
    struct keys_spec spec = { .loop = rig->loop, .store = s.store, .cryptd = s.client, .crypt = s.crypt,
                              .drive_id = DRIVE };
    Lf__DriveKeysExport msg = LF__DRIVE_KEYS_EXPORT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_EXPORT, drive_keys_export, &msg);
    bool exported = false;
    struct keys *k = keys_new(&spec);

    rig->keys = k;
    keys_ask(k, &env, on_exported, &exported);
    rig_wait(rig, exported);
    return k;
}

void sealed_prepare(struct rig *rig)
{
    begin(rig);
    rig->config->anchor_seconds = 3600;
    rig->drive.id = (char *)(uintptr_t)DRIVE;
    rig->make_keys = make_keys;
}

static void prepare(struct rig *rig)
{
    sealed_prepare(rig);
    rig->drive.has_cloud_objects_encrypted = rig->drive.cloud_objects_encrypted = true;
}

int sealed_set_up(void **state)
{
    assert_int_equal(aead_begin(NULL), 0);
    return rig_set_up_with(prepare, state);
}

int sealed_set_up_folder(void **state)
{
    char dir[] = "/var/tmp/sealed_rig.XXXXXX";

    assert_int_equal(aead_begin(NULL), 0);
    assert_non_null(mkdtemp(dir));
    return rig_set_up_in(dir, prepare, state);
}

int sealed_tear_down(void **state)
{
    struct rig *rig = *state;

    rig->fault = NULL;
    rig_close(rig);
    rig->make_keys = NULL;
    rig->drive.cloud_objects_encrypted = false;
    ipc_client_free(take_ptr(s.client));
    crypt_free(take_ptr(s.crypt));
    store_close(take_ptr(s.store));
    cryptd_process_kill(s.cryptd);
    aead_end();
    rig_open(rig);   /* what the rig tears down */
    return rig_tear_down(state);
}

void sealed_restart_cryptd(struct rig *rig)
{
    (void)rig;
    cryptd_process_kill(s.cryptd);
    s.cryptd = cryptd_process_start(s.socket, CRYPTD_OURS);
}

void sealed_settle(struct rig *rig)
{
    rig_settle(rig);
    assert_int_equal(sql_run(rig->volume->index->sql, "UPDATE inode SET turned = 0"), 0);
}

void sealed_lose_index(struct rig *rig)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char path[128];

    rig_settle(rig);
    rig_close(rig);
    for (size_t n = 0; n < ARRAY_SIZE(ends); n++) {
        (void)snprintf(path, sizeof(path), "%s/index.db%s", rig->dir, ends[n]);
        (void)remove(path);
    }
    rig_open(rig);
}

/* --- objects ------------------------------------------------------------------------------------------- */

static char *open_chunks(const uint8_t key[KEY_SIZE], const uint8_t *at, size_t n, size_t *ret_n)
{
    uint64_t plain;
    char *out;

    assert_int_equal(age_plain_size(n + AGE_NONCE_SIZE, &plain), 0);
    out = xcalloc(1, plain + 1);
    for (uint64_t c = 0, done = 0; c < age_chunks(plain); c++) {
        size_t length = plain - done < AGE_CHUNK ? plain - done : AGE_CHUNK;

        if (age_open_chunk(key, c, c + 1 == age_chunks(plain), at + c * AGE_SEALED_CHUNK, length,
                           (uint8_t *)out + done) < 0) {
            free(out);
            return NULL;
        }
        done += length;
    }
    *ret_n = plain;
    return out;
}

char *sealed_content(struct rig *rig, const char *key, size_t *ret_n)
{
    uint8_t file_key[AGE_FILE_KEY_SIZE], payload[KEY_SIZE];
    struct age_header h;
    size_t size, which;
    CLEANUP_FREE char *object = rig_object(rig, key, &size);

    if (!object || age_header_read(object, size, &h) < 0 ||
        age_key_find(&h, object, (const uint8_t (*)[KEY_SIZE])&s.identity, 1, file_key, &which) < 0 ||
        age_payload_key(file_key, (const uint8_t *)object + h.size, payload) < 0)
        return NULL;
    return open_chunks(payload, (const uint8_t *)object + h.size + AGE_NONCE_SIZE, size - h.size - AGE_NONCE_SIZE,
                       ret_n);
}

void assert_sealed(struct rig *rig, const char *key, const void *bytes, size_t n)
{
    size_t size = 0;
    CLEANUP_FREE char *there = sealed_content(rig, key, &size);

    if (!there)
        fail_msg("object %s does not open", key);
    assert_int_equal(size, n);
    if (n && memcmp(there, bytes, n) != 0)
        fail_msg("object %s has other bytes", key);
}

void assert_sealed_or_plain(struct rig *rig, const char *key, const void *bytes, size_t n)
{
    size_t size = 0;
    CLEANUP_FREE char *there = rig_object(rig, key, &size);

    if (there && object_is_age(there, size))
        assert_sealed(rig, key, bytes, n);
    else
        assert_object(rig, key, bytes, n);
}

char *sealed_foreign(struct rig *rig, const void *bytes, size_t n, size_t *ret_n)
{
    size_t room = AGE_HEADER_MAX + age_payload_size(n);
    uint8_t file_key[AGE_FILE_KEY_SIZE], recipient[KEY_SIZE], ephemeral[KEY_SIZE], payload[KEY_SIZE];
    struct age_writer w = { .data = xcalloc(1, room), .room = room };
    uint8_t *at;

    (void)rig;
    secret_random(file_key, sizeof(file_key));
    secret_random(ephemeral, sizeof(ephemeral));
    assert_int_equal(x25519_public(s.identity, recipient), 0);
    age_write_begin(&w);
    assert_int_equal(age_key_wrap(&w, recipient, ephemeral, file_key), 0);
    assert_int_equal(age_key_finish(&w, file_key), 0);
    secret_random(w.data + w.len, AGE_NONCE_SIZE);
    assert_int_equal(age_payload_key(file_key, (const uint8_t *)w.data + w.len, payload), 0);
    at = (uint8_t *)w.data + w.len + AGE_NONCE_SIZE;
    for (uint64_t c = 0, done = 0; c < age_chunks(n); c++) {
        size_t length = n - done < AGE_CHUNK ? n - done : AGE_CHUNK;

        assert_int_equal(age_seal_chunk(payload, c, c + 1 == age_chunks(n), (const uint8_t *)bytes + done, length, at),
                         0);
        done += length;
        at += length + AEAD_TAG_SIZE;
    }
    *ret_n = (size_t)(at - (uint8_t *)w.data);
    return w.data;
}

ssize_t sealed_read_byte(struct rig *rig, const char *name, uint64_t at, char *ret)
{
    struct handle h;
    ssize_t n;
    int r = worker_open(rig, worker_lookup(rig, INDEX_ROOT, name), false, false, &h);

    if (r == -ESTALE)   /* as the kernel does */
        r = worker_open(rig, worker_lookup(rig, INDEX_ROOT, name), false, false, &h);
    if (r < 0)
        return r;
    n = worker_read(rig, &h, at, ret, 1);
    worker_close(rig, &h);
    return n;
}

void sealed_streamed(const struct error *e, const struct volume_stream *stream, void *streamed)
{
    *(struct streamed *)streamed = (struct streamed){ true, e ? e->code : 0 };
    if (stream)
        assert_int_equal(close(stream->fd), 0);
}
