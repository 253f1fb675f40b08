/* cryptd over its messages: handles, lent channels, shared memory and bulk work, and everything a caller may do
 * wrong. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/ipc_packet.h"
#include "cryptd/age_object.h"
#include "tests/unit/cryptd_fixture.h"

enum { KIB = 1024, MIB = 1024 * KIB, SIZE = 8 * MIB, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };
enum { OUT = 4 * MIB, BACK = 6 * MIB };   /* places in the memory: chunks lie at 0 */

struct rig {
    struct cryptd_fixture *f;
    struct ipc_client *syncd;
    uint64_t handle;
    uint8_t key[WRAPPED_KEY_SIZE];
    uint8_t *memory;
    int fd;
};

static struct rig rig;
static struct bulk_chunk chunks[BULK_CHUNKS_MAX + 1];

static int make(void **state)
{
    (void)state;
    rig.f = cryptd_fixture_new(2);
    rig.syncd = cryptd_client(rig.f, ROLE_SYNCD);
    rig.handle = ask_drive(rig.f, rig.syncd, FIXTURE_DRIVE, NULL, NULL);
    rig.memory = shared_memory(SIZE, SEALS, &rig.fd);
    for (size_t i = 0; i < SIZE; i++)
        rig.memory[i] = (uint8_t)(i * 13 / 7);
    if (ask_cache_key(rig.f, rig.syncd, rig.handle, rig.key) < 0)
        return -1;
    return ask_region(rig.f, rig.syncd, rig.fd);
}

static int drop(void **state)
{
    (void)state;
    ipc_client_free(rig.syncd);
    cryptd_fixture_free(rig.f);
    (void)munmap(rig.memory, SIZE);
    return close(rig.fd);
}

/* n chunks in a row, the last one of `last` bytes, from `in` to `out`, so many bytes apart. */
static void lay_out(size_t n, uint32_t last, uint64_t in, uint64_t in_step, uint64_t out, uint64_t out_step)
{
    for (size_t i = 0; i < n; i++) {
        chunks[i].number = i;
        chunks[i].length = i + 1 < n ? BULK_CHUNK : last;
        chunks[i].in_at = in + i * in_step;
        chunks[i].out_at = out + i * out_step;
        chunks[i].generation = 1;
        chunks[i].last = i + 1 == n;
        chunks[i].code = 1;
    }
}

static int seal_chunks(struct ipc_client *c, uint64_t handle, size_t n, uint32_t last)
{
    const struct crypt_ask call = { handle, FORM_PLAIN, FORM_CACHE, NULL, rig.key, chunks, n };

    memset(chunks, 0, sizeof(chunks));
    lay_out(n, last, 0, BULK_CHUNK, OUT, BULK_CHUNK);
    return ask_crypt(rig.f, c, &call);
}

static int open_chunks(struct ipc_client *c, uint64_t handle, size_t n, uint32_t last)
{
    const struct crypt_ask call = { handle, FORM_CACHE, FORM_PLAIN, rig.key, NULL, chunks, n };

    lay_out(n, last, OUT, BULK_CHUNK, BACK, BULK_CHUNK);
    return ask_crypt(rig.f, c, &call);
}

/* --- what works ------------------------------------------------------------------------------------ */

static void chunks_go_into_the_cache_and_back(void **state)
{
    static const size_t counts[] = { 1, 2, 15, 16, 17, 32 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        size_t n = counts[i], bytes = (n - 1) * BULK_CHUNK + 1000;

        assert_int_equal(seal_chunks(rig.syncd, rig.handle, n, 1000), 0);
        assert_memory_not_equal(rig.memory, rig.memory + OUT, bytes);
        memset(rig.memory + BACK, 0, bytes);
        assert_int_equal(open_chunks(rig.syncd, rig.handle, n, 1000), 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(chunks[k].code, 0);
        assert_memory_equal(rig.memory, rig.memory + BACK, bytes);
    }
}

/* The file was made shorter, or longer, since the chunk was written; or never had it. */
static void a_chunk_of_the_cache_is_cut_and_filled_up(void **state)
{
    static const struct { uint32_t sealed, wanted; } cases[] = {
        { 1000, 1 }, { 1000, 999 }, { 1000, 1001 }, { 1, BULK_CHUNK }, { BULK_CHUNK, 1 },
    };
    static uint8_t zeros[BULK_CHUNK];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t kept = cases[i].sealed < cases[i].wanted ? cases[i].sealed : cases[i].wanted;

        assert_int_equal(seal_chunks(rig.syncd, rig.handle, 1, cases[i].sealed), 0);
        memset(rig.memory + BACK, 0xaa, BULK_CHUNK + 1);
        assert_int_equal(open_chunks(rig.syncd, rig.handle, 1, cases[i].wanted), 0);
        assert_int_equal(chunks[0].code, 0);
        assert_memory_equal(rig.memory, rig.memory + BACK, kept);
        assert_memory_equal(rig.memory + BACK + kept, zeros, cases[i].wanted - kept);
        assert_int_equal(rig.memory[BACK + cases[i].wanted], 0xaa);
    }
    memset(&chunks[0].record, 0, sizeof(chunks[0].record));
    assert_int_equal(open_chunks(rig.syncd, rig.handle, 1, 100), 0);
    assert_int_equal(chunks[0].code, -EOPNOTSUPP);   /* no chunk, and nobody said so */
    chunks[0].zeros = true;
    assert_int_equal(open_chunks(rig.syncd, rig.handle, 1, 100), 0);
    assert_int_equal(chunks[0].code, 0);
    assert_memory_equal(rig.memory + BACK, zeros, 100);
    chunks[0].zeros = false;
}

static int make_object(uint64_t handle, uint8_t *head, size_t *ret_n, uint8_t *key)
{
    Lf__ObjectMake object = LF__OBJECT_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_MAKE, object_make, &object);

    object.handle = handle;
    object.name = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t)"a/b" };
    object.version = 3;
    if (ask(rig.f, rig.syncd, &env, -1) < 0)
        return rig.f->code;
    *ret_n = rig.f->reply->object_made->head.len;
    memcpy(head, rig.f->reply->object_made->head.data, *ret_n);
    memcpy(key, rig.f->reply->object_made->key.data, WRAPPED_KEY_SIZE);
    return 0;
}

static int open_object(uint64_t handle, const uint8_t *head, size_t n, uint8_t *key)
{
    Lf__ObjectOpen object = LF__OBJECT_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_OPEN, object_open, &object);

    object.handle = handle;
    object.name = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t)"a/b" };
    object.head = (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)head };
    if (ask(rig.f, rig.syncd, &env, -1) == 0)
        memcpy(key, rig.f->reply->object_opened->key.data, WRAPPED_KEY_SIZE);
    return rig.f->code;
}

/* Upload and download of an encrypted object through an encrypted cache: the plaintext is seen by nobody. */
static void objects_go_through_the_cache(void **state)
{
    enum { N = 20, LAST = 77, BYTES = (N - 1) * BULK_CHUNK + LAST };
    const struct crypt_ask seal = { rig.handle, FORM_PLAIN, FORM_CACHE, NULL, rig.key, chunks, N };
    uint8_t head[OBJECT_HEAD_MAX], key[WRAPPED_KEY_SIZE], again[WRAPPED_KEY_SIZE];
    const struct crypt_ask up = { rig.handle, FORM_CACHE, FORM_OBJECT, rig.key, key, chunks, N };
    const struct crypt_ask down = { rig.handle, FORM_OBJECT, FORM_CACHE, again, rig.key, chunks, N };
    const struct crypt_ask open = { rig.handle, FORM_CACHE, FORM_PLAIN, rig.key, NULL, chunks, N };
    size_t n;

    (void)state;
    assert_int_equal(make_object(rig.handle, head, &n, key), 0);
    assert_int_equal(n, 251);
    assert_int_equal(open_object(rig.handle, head, n, again), 0);
    assert_int_equal(rig.f->reply->object_opened->bound, OBJECT_BOUND);
    assert_int_equal(rig.f->reply->object_opened->version, 3);
    lay_out(N, LAST, 0, BULK_CHUNK, 2 * MIB, BULK_CHUNK);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &seal), 0);
    lay_out(N, LAST, 2 * MIB, BULK_CHUNK, 4 * MIB, AGE_SEALED_CHUNK);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &up), 0);
    memset(rig.memory + 2 * MIB, 0, 2 * MIB);
    lay_out(N, LAST, 4 * MIB, AGE_SEALED_CHUNK, 2 * MIB, BULK_CHUNK);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &down), 0);
    lay_out(N, LAST, 2 * MIB, BULK_CHUNK, BACK, BULK_CHUNK);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &open), 0);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(chunks[i].code, 0);
    assert_memory_equal(rig.memory, rig.memory + BACK, BYTES);
}

/* Plaintext in the place of what was sealed, also where it begins in the midst of that. */
static void chunks_are_opened_where_they_lie(void **state)
{
    static const struct { uint64_t out; uint32_t sealed, wanted; } cases[] = {
        { OUT, BULK_CHUNK, BULK_CHUNK }, { OUT, 1000, 1000 }, { OUT, 1000, 10 }, { OUT, 1000, 2000 },
        { OUT + 100, 1000, 1000 }, { OUT - 100, 1000, 1000 }, { OUT + 1000, 1000, 1000 }, { OUT - 1000, 1000, 1000 },
    };
    const struct crypt_ask call = { rig.handle, FORM_CACHE, FORM_PLAIN, rig.key, NULL, chunks, 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t kept = cases[i].sealed < cases[i].wanted ? cases[i].sealed : cases[i].wanted;

        assert_int_equal(seal_chunks(rig.syncd, rig.handle, 1, cases[i].sealed), 0);
        lay_out(1, cases[i].wanted, OUT, BULK_CHUNK, cases[i].out, BULK_CHUNK);
        assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
        assert_int_equal(chunks[0].code, 0);
        assert_memory_equal(rig.memory, rig.memory + cases[i].out, kept);
    }
}

/* As each of the results, so the memory: of what failed there is nothing. */
static void one_bad_chunk_spoils_no_other(void **state)
{
    static uint8_t zero[BULK_CHUNK];

    (void)state;
    assert_int_equal(seal_chunks(rig.syncd, rig.handle, 20, BULK_CHUNK), 0);
    rig.memory[OUT + 5 * BULK_CHUNK + 3] ^= 1;
    chunks[7].has_expected = true;
    chunks[7].expected = 2;
    chunks[9].record.version = 9;
    memset(rig.memory + BACK, 0xaa, 20 * BULK_CHUNK);
    assert_int_equal(open_chunks(rig.syncd, rig.handle, 20, BULK_CHUNK), 0);
    for (size_t i = 0; i < 20; i++) {
        int expected = i == 5 ? -EBADE : i == 7 ? -ESTALE : i == 9 ? -EOPNOTSUPP : 0;

        assert_int_equal(chunks[i].code, expected);
        assert_memory_equal(rig.memory + BACK + i * BULK_CHUNK, expected ? zero : rig.memory + i * BULK_CHUNK, BULK_CHUNK);
    }
}

/* Keys are kept ready; each is still found by all of its bytes, and as what it is. */
static void keys_that_were_used_are_not_mistaken(void **state)
{
    uint8_t head[OBJECT_HEAD_MAX], object[WRAPPED_KEY_SIZE], keys[2 * FILE_KEYS_KEPT][WRAPPED_KEY_SIZE];
    struct bulk_chunk sealed[2 * FILE_KEYS_KEPT];
    struct crypt_ask call = { rig.handle, FORM_PLAIN, FORM_CACHE, NULL, NULL, chunks, 1 };
    struct crypt_ask open = { rig.handle, FORM_CACHE, FORM_PLAIN, NULL, NULL, chunks, 1 };
    size_t n;

    (void)state;
    assert_int_equal(make_object(rig.handle, head, &n, object), 0);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        assert_int_equal(ask_cache_key(rig.f, rig.syncd, rig.handle, keys[i]), 0);
        call.to_key = keys[i];
        lay_out(1, 100, i * 100, 0, OUT + i * 100, 0);
        assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
        sealed[i] = chunks[0];
    }
    for (size_t turn = 0, i; turn < 4 * ARRAY_SIZE(keys); turn++) {
        i = turn * 5 % ARRAY_SIZE(keys);
        open.from_key = keys[turn % 3 ? i : (i + 1) % ARRAY_SIZE(keys)];
        lay_out(1, 100, OUT + i * 100, 0, BACK, 0);
        chunks[0].record = sealed[i].record;
        assert_int_equal(ask_crypt(rig.f, rig.syncd, &open), 0);
        assert_int_equal(chunks[0].code, turn % 3 ? 0 : -EBADE);
        assert_true(turn % 3 == 0 || memcmp(rig.memory + BACK, rig.memory + i * 100, 100) == 0);
    }
    keys[0][60] ^= 1;
    open.from_key = keys[0];
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &open), -EUCLEAN);
    open.from_key = object;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &open), -EINVAL);
}

static void many_calls_at_once_are_all_answered(void **state)
{
    enum { CALLS = 40 };
    struct crypt_ask call = { rig.handle, FORM_PLAIN, FORM_CACHE, NULL, rig.key, chunks, 32 };

    (void)state;
    memset(chunks, 0, sizeof(chunks));
    lay_out(32, BULK_CHUNK, 0, BULK_CHUNK, OUT, BULK_CHUNK);
    for (size_t i = 0; i < CALLS; i++) {
        call.n = i % 2 ? 32 : BULK_SLICE_MIN;     /* which is done at once where a thread is free */
        begin_crypt(rig.f, rig.syncd, &call);
    }
    while (rig.f->under_way > 0)
        (void)event_base_loop(loop_base(rig.f->serve.loop), EVLOOP_ONCE);
    assert_int_equal(rig.f->code, 0);
}

/* A caller that leaves, and a cryptd that stops, in the middle of work. */
static void work_outlives_its_caller(void **state)
{
    const struct crypt_ask call = { rig.handle, FORM_PLAIN, FORM_CACHE, NULL, rig.key, chunks, 32 };

    (void)state;
    memset(chunks, 0, sizeof(chunks));
    lay_out(32, BULK_CHUNK, 0, BULK_CHUNK, OUT, BULK_CHUNK);
    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < 10; i++)
            begin_crypt(rig.f, rig.syncd, &call);
        for (size_t i = 0; i < round; i++)
            (void)event_base_loop(loop_base(rig.f->serve.loop), EVLOOP_NONBLOCK);
        ipc_client_free(rig.syncd);
        assert_int_equal(rig.f->under_way, 0);
        rig.syncd = cryptd_client(rig.f, ROLE_SYNCD);
        assert_int_equal(seal_chunks(rig.syncd, rig.handle, 1, 100), -ENOENT);
    }
    rig.handle = ask_drive(rig.f, rig.syncd, FIXTURE_DRIVE, NULL, NULL);
    begin_crypt(rig.f, rig.syncd, &call);
}

/* --- handles ----------------------------------------------------------------------------------------- */

static void a_handle_is_its_callers_alone(void **state)
{
    struct ipc_client *other = cryptd_client(rig.f, ROLE_SYNCD);
    Lf__DriveKeysExport export = LF__DRIVE_KEYS_EXPORT__INIT;
    Lf__DriveKeysClose close_ = LF__DRIVE_KEYS_CLOSE__INIT;
    Lf__DriveKeysChange change = LF__DRIVE_KEYS_CHANGE__INIT;
    Lf__ObjectMake object = LF__OBJECT_MAKE__INIT;
    Lf__CacheKeyRenew renew = LF__CACHE_KEY_RENEW__INIT;
    Lf__Envelope envs[] = {
        IPC_ENVELOPE(DRIVE_KEYS_EXPORT, drive_keys_export, &export), IPC_ENVELOPE(DRIVE_KEYS_CLOSE, drive_keys_close, &close_),
        IPC_ENVELOPE(DRIVE_KEYS_CHANGE, drive_keys_change, &change), IPC_ENVELOPE(OBJECT_MAKE, object_make, &object),
        IPC_ENVELOPE(CACHE_KEY_RENEW, cache_key_renew, &renew),
    };
    uint8_t key[WRAPPED_KEY_SIZE];

    (void)state;
    export.handle = close_.handle = change.handle = object.handle = renew.handle = rig.handle;
    for (size_t i = 0; i < ARRAY_SIZE(envs); i++)
        assert_int_equal(ask(rig.f, other, &envs[i], -1), -ENOENT);
    assert_int_equal(ask_cache_key(rig.f, other, rig.handle, key), -ENOENT);
    assert_null(ask_lend(rig.f, other, rig.handle));
    assert_int_equal(rig.f->code, -ENOENT);
    assert_int_equal(ask_region(rig.f, other, rig.fd), 0);
    assert_int_equal(seal_chunks(other, rig.handle, 1, 100), -ENOENT);
    assert_int_equal(seal_chunks(rig.syncd, rig.handle, 1, 100), 0);
    ipc_client_free(other);
}

static void handles_are_bounded_and_end_with_their_connection(void **state)
{
    uint8_t blob[DRIVE_BLOB_MAX];
    uint64_t handle;
    size_t n;

    (void)state;
    (void)ask_drive(rig.f, rig.syncd, FIXTURE_DRIVE, blob, &n);
    for (size_t i = 2; i < KEYRING_HANDLES_MAX; i++)
        assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, 0, &handle), 0);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, 0, &handle), -EMFILE);
    for (size_t round = 0; round < 4; round++) {   /* more than there are slots for */
        ipc_client_free(rig.syncd);
        rig.syncd = cryptd_client(rig.f, ROLE_SYNCD);
        for (size_t i = 0; i < KEYRING_HANDLES_MAX; i++)
            assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, 0, &handle), 0);
    }
}

static void all_callers_share_a_bound(void **state)
{
    struct ipc_client *others[3];
    uint8_t blob[DRIVE_BLOB_MAX];
    uint64_t handle;
    size_t n, opened = 2;

    (void)state;
    (void)ask_drive(rig.f, rig.syncd, FIXTURE_DRIVE, blob, &n);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        others[i] = cryptd_client(rig.f, ROLE_SYNCD);
        while (ask_open(rig.f, others[i], FIXTURE_DRIVE, blob, n, 0, &handle) == 0)
            opened++;
        assert_int_equal(rig.f->code, -EMFILE);
    }
    assert_int_equal(opened, KEYRING_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        ipc_client_free(others[i]);
    cryptd_idle(rig.f);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, 0, &handle), 0);
}

static int ask_change(uint64_t handle, uint8_t *blob, size_t *ret_n)
{
    Lf__DriveKeysChange change = LF__DRIVE_KEYS_CHANGE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_CHANGE, drive_keys_change, &change);

    change.handle = handle;
    change.has_rotate = change.rotate = true;
    if (ask(rig.f, rig.syncd, &env, -1) == 0) {
        *ret_n = rig.f->reply->drive_keys_sealed->blob.len;
        memcpy(blob, rig.f->reply->drive_keys_sealed->blob.data, *ret_n);
    }
    return rig.f->code;
}

static void rotated_keys_take_the_place_of_the_old_ones(void **state)
{
    uint8_t old[DRIVE_BLOB_MAX], blob[DRIVE_BLOB_MAX], key[WRAPPED_KEY_SIZE];
    size_t old_n, n;
    uint64_t handle = ask_drive(rig.f, rig.syncd, FIXTURE_DRIVE, old, &old_n), other, same;

    (void)state;
    assert_int_equal(ask_change(handle, blob, &n), 0);
    assert_int_equal(ask_cache_key(rig.f, rig.syncd, handle, key), 0);   /* not in use before it is stored and opened */
    assert_int_equal(rig.f->reply->cache_key->epoch, 1);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, handle, &same), 0);
    assert_int_equal(same, handle);
    assert_int_equal(rig.f->reply->drive_keys_opened->n_epochs, 2);
    assert_int_equal(ask_cache_key(rig.f, rig.syncd, handle, key), 0);
    assert_int_equal(rig.f->reply->cache_key->epoch, 2);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, old, old_n, handle, &same), -ESTALE);
    other = ask_drive(rig.f, rig.syncd, FIXTURE_OTHER, old, &old_n);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, other, &same), -EINVAL);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_OTHER, blob, n, 0, &same), -EPERM);
}

/* --- workers ----------------------------------------------------------------------------------------- */

static void a_worker_uses_its_drive_and_nothing_else(void **state)
{
    struct ipc_client *worker = ask_lend(rig.f, rig.syncd, rig.handle);
    uint64_t other = ask_drive(rig.f, rig.syncd, FIXTURE_OTHER, NULL, NULL);
    uint8_t foreign[WRAPPED_KEY_SIZE];
    struct crypt_ask call = { 0, FORM_PLAIN, FORM_CACHE, NULL, foreign, chunks, 1 };

    (void)state;
    assert_non_null(worker);
    assert_int_equal(seal_chunks(worker, 0, 1, 100), -EINVAL);   /* no memory yet: syncd's is not the worker's */
    assert_int_equal(ask_region(rig.f, worker, rig.fd), 0);
    assert_int_equal(seal_chunks(worker, 0, 2, 100), 0);
    assert_int_equal(open_chunks(worker, 0, 2, 100), 0);
    assert_int_equal(chunks[1].code, 0);
    assert_int_equal(seal_chunks(worker, rig.handle, 1, 100), -EPERM);
    assert_int_equal(ask_cache_key(rig.f, rig.syncd, other, foreign), 0);
    assert_int_equal(ask_crypt(rig.f, worker, &call), -EUCLEAN);   /* a file of another drive */
    call.to = FORM_OBJECT;
    assert_int_equal(ask_crypt(rig.f, worker, &call), -EPERM);
    ipc_client_free(worker);
}

static void say(int fd, const Lf__Envelope *env)
{
    struct ipc_packet *p;

    assert_int_equal(ipc_packet_new(env, NULL, 0, &p), 0);
    assert_int_equal(ipc_packet_send(fd, p), 0);
    ipc_packet_unref(p);
}

/* What is not a worker's to say ends its connection, also when it claims to be somebody else. */
static void a_worker_that_says_more_is_cut_off(void **state)
{
    static const enum role roles[] = { ROLE_WORKER, ROLE_SYNCD };
    Lf__DriveKeysLend lend = LF__DRIVE_KEYS_LEND__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_LEND, drive_keys_lend, &lend);

    (void)state;
    lend.handle = rig.handle;
    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        Lf__Hello hello = LF__HELLO__INIT;
        Lf__Envelope hello_env = IPC_ENVELOPE(HELLO, hello, &hello);
        Lf__CacheKeyMake key = LF__CACHE_KEY_MAKE__INIT;
        Lf__Envelope key_env = IPC_ENVELOPE(CACHE_KEY_MAKE, cache_key_make, &key);
        int fds[2];
        char byte;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(ask(rig.f, rig.syncd, &env, fds[0]), 0);
        (void)close(fds[0]);
        hello.protocol = IPC_PROTOCOL;
        hello.role = roles[i];
        hello.instance = 1;
        say(fds[1], &hello_env);
        key_env.id = 1;
        key.handle = rig.handle;
        say(fds[1], &key_env);
        cryptd_idle(rig.f);
        assert_int_equal(recv(fds[1], &byte, 1, 0) > 0, 0);   /* no answer */
        assert_int_equal(send(fds[1], "x", 1, MSG_NOSIGNAL), -1);
        (void)close(fds[1]);
    }
    assert_int_equal(seal_chunks(rig.syncd, rig.handle, 1, 100), 0);
}

/* Somebody with the worker's uid who finds the socket has no drive. */
static void a_worker_without_a_channel_has_nothing(void **state)
{
    struct ipc_client *worker = cryptd_client(rig.f, ROLE_WORKER);

    (void)state;
    assert_int_equal(ask_region(rig.f, worker, rig.fd), 0);
    assert_int_equal(seal_chunks(worker, 0, 1, 100), -EPERM);
    assert_int_equal(seal_chunks(worker, rig.handle, 1, 100), -EPERM);
    ipc_client_free(worker);
}

static void a_channel_outlives_the_lender_but_not_the_close(void **state)
{
    Lf__DriveKeysClose close_ = LF__DRIVE_KEYS_CLOSE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_CLOSE, drive_keys_close, &close_);
    uint8_t blob[DRIVE_BLOB_MAX], key[WRAPPED_KEY_SIZE];
    size_t n;
    struct ipc_client *lender = cryptd_client(rig.f, ROLE_SYNCD);
    uint64_t handle = ask_drive(rig.f, lender, FIXTURE_DRIVE, blob, &n);
    struct ipc_client *worker = ask_lend(rig.f, lender, handle), *second;

    (void)state;
    assert_int_equal(ask_cache_key(rig.f, lender, handle, key), 0);
    memcpy(rig.key, key, sizeof(key));
    assert_int_equal(ask_region(rig.f, worker, rig.fd), 0);
    ipc_client_free(lender);
    cryptd_idle(rig.f);
    assert_int_equal(seal_chunks(worker, 0, 1, 100), 0);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, 0, &handle), 0);
    second = ask_lend(rig.f, rig.syncd, handle);
    assert_int_equal(ask_region(rig.f, second, rig.fd), 0);
    close_.handle = handle;
    assert_int_equal(ask(rig.f, rig.syncd, &env, -1), 0);
    cryptd_idle(rig.f);
    assert_false(ipc_client_connected(second));
    assert_true(ipc_client_connected(worker));
    ipc_client_free(second);
    ipc_client_free(worker);
}

static void a_lent_channel_follows_a_rotation(void **state)
{
    uint8_t blob[DRIVE_BLOB_MAX];
    struct ipc_client *worker = ask_lend(rig.f, rig.syncd, rig.handle);
    uint64_t same;
    size_t n;

    (void)state;
    assert_int_equal(ask_region(rig.f, worker, rig.fd), 0);
    assert_int_equal(ask_change(rig.handle, blob, &n), 0);
    assert_int_equal(ask_open(rig.f, rig.syncd, FIXTURE_DRIVE, blob, n, rig.handle, &same), 0);
    assert_int_equal(ask_cache_key(rig.f, rig.syncd, rig.handle, rig.key), 0);
    assert_int_equal(seal_chunks(worker, 0, 1, 100), 0);
    ipc_client_free(worker);
}

static void only_a_socket_pair_is_a_channel(void **state)
{
    Lf__DriveKeysLend lend = LF__DRIVE_KEYS_LEND__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_LEND, drive_keys_lend, &lend);
    int fds[] = { open("/dev/null", O_RDWR), socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0), rig.fd };

    (void)state;
    lend.handle = rig.handle;
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_int_equal(ask(rig.f, rig.syncd, &env, fds[i]), -EINVAL);
        if (fds[i] != rig.fd)
            (void)close(fds[i]);
    }
}

/* --- memory ------------------------------------------------------------------------------------------ */

static void memory_must_be_what_cannot_go_away(void **state)
{
    static const struct {
        size_t size;
        int seals;
    } rows[] = {
        { MIB, 0 }, { MIB, F_SEAL_SHRINK }, { MIB, F_SEAL_SHRINK | F_SEAL_GROW }, { MIB, F_SEAL_GROW | F_SEAL_SEAL },
        { 0, SEALS }, { 4096, SEALS }, { MIB + 1, SEALS }, { REGION_MAX + 4096, SEALS },
    };
    int fd = open("/dev/zero", O_RDWR), file = open("/tmp", O_RDWR | O_TMPFILE, 0600), read_only;
    char path[64];

    (void)state;
    assert_int_equal(ask_region(rig.f, rig.syncd, fd), -EINVAL);
    (void)close(fd);
    assert_int_equal(ftruncate(file, MIB), 0);
    assert_int_equal(ask_region(rig.f, rig.syncd, file), -EINVAL);
    (void)close(file);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        fd = memfd_create("x", MFD_ALLOW_SEALING);
        assert_int_equal(ftruncate(fd, (off_t)rows[i].size), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, rows[i].seals), 0);
        assert_int_equal(ask_region(rig.f, rig.syncd, fd), -EINVAL);
        (void)close(fd);
    }
    fd = memfd_create("x", MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, MIB), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, SEALS), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    read_only = open(path, O_RDONLY);
    assert_int_equal(ask_region(rig.f, rig.syncd, read_only), -EACCES);
    (void)close(read_only);
    (void)close(fd);
    assert_int_equal(seal_chunks(rig.syncd, rig.handle, 1, 100), 0);   /* the old memory is still there */
}

static void places_must_lie_in_the_memory(void **state)
{
    static const uint64_t wrong[] = { SIZE, SIZE - BULK_CHUNK + 1, SIZE + BULK_CHUNK, UINT64_MAX, UINT64_MAX - BULK_CHUNK + 1,
                                      UINT64_MAX - BULK_CHUNK, UINT64_C(1) << 63 };
    struct crypt_ask call = { rig.handle, FORM_PLAIN, FORM_CACHE, NULL, rig.key, chunks, 1 };
    uint8_t head[OBJECT_HEAD_MAX], key[WRAPPED_KEY_SIZE];
    size_t n;

    (void)state;
    memset(chunks, 0, sizeof(chunks));
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        lay_out(1, BULK_CHUNK, wrong[i], 0, 0, 0);
        assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -ERANGE);
        lay_out(1, BULK_CHUNK, 0, 0, wrong[i], 0);
        assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -ERANGE);
    }
    assert_int_equal(make_object(rig.handle, head, &n, key), 0);   /* there is no room for its tag */
    call = (struct crypt_ask){ rig.handle, FORM_PLAIN, FORM_OBJECT, NULL, key, chunks, 1 };
    lay_out(1, BULK_CHUNK, 0, 0, SIZE - BULK_CHUNK - 15, 0);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -ERANGE);
    lay_out(1, BULK_CHUNK, 0, 0, SIZE - BULK_CHUNK - 16, 0);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
}

static void chunks_must_not_overlap(void **state)
{
    const struct crypt_ask call = { rig.handle, FORM_PLAIN, FORM_CACHE, NULL, rig.key, chunks, 2 };

    (void)state;
    memset(chunks, 0, sizeof(chunks));
    lay_out(2, BULK_CHUNK, 0, BULK_CHUNK, OUT, BULK_CHUNK - 1);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    assert_non_null(strstr(rig.f->error.text, "overlap"));
    lay_out(2, BULK_CHUNK, 0, BULK_CHUNK, 2 * BULK_CHUNK - 1, BULK_CHUNK);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    lay_out(2, BULK_CHUNK, 0, 0, OUT, BULK_CHUNK);   /* two readers of one place */
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
    lay_out(2, BULK_CHUNK, OUT, BULK_CHUNK, OUT, BULK_CHUNK);   /* in place */
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
}

static void calls_must_make_sense(void **state)
{
    struct crypt_ask call = { rig.handle, FORM_PLAIN, FORM_CACHE, NULL, rig.key, chunks, 1 };

    (void)state;
    memset(chunks, 0, sizeof(chunks));
    lay_out(3, 100, 0, BULK_CHUNK, OUT, BULK_CHUNK);
    call.n = 0;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    call.n = BULK_CHUNKS_MAX + 1;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    call.n = 3;
    chunks[1].length = 100;   /* short, and not the last: so are chunks of a cache file that has grown since */
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
    call.n = 1;
    chunks[0].length = 0;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    chunks[0].length = BULK_CHUNK + 1;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    chunks[0].length = BULK_CHUNK;
    call.to = FORM_PLAIN;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    call.to = FORMS;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    call.to = (enum form)UINT32_MAX;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    call.to = FORM_CACHE;
    call.to_key = NULL;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EUCLEAN);
    call.to_key = rig.key;
    call.handle = 0;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -ENOENT);
    call.handle = rig.handle;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
}

static void only_the_end_of_an_object_is_short_or_empty(void **state)
{
    uint8_t head[OBJECT_HEAD_MAX], key[WRAPPED_KEY_SIZE];
    const struct crypt_ask call = { rig.handle, FORM_PLAIN, FORM_OBJECT, NULL, key, chunks, 1 };
    size_t n;

    (void)state;
    memset(chunks, 0, sizeof(chunks));
    assert_int_equal(make_object(rig.handle, head, &n, key), 0);
    lay_out(1, 0, 0, 0, OUT, 0);
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);   /* an empty object */
    chunks[0].last = false;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    chunks[0].last = true;
    chunks[0].number = 1;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
    chunks[0].length = 1;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), 0);
    chunks[0].last = false;
    assert_int_equal(ask_crypt(rig.f, rig.syncd, &call), -EINVAL);
}

/* --- a caller that changes its memory while cryptd works ------------------------------------------------ */

static atomic_bool spoiling;

static void *spoil(void *arg)
{
    volatile uint8_t *p = arg;

    while (atomic_load(&spoiling))
        for (size_t i = 0; i < 4 * BULK_CHUNK; i += 61)
            p[i]++;
    return NULL;
}

/* Whatever was sealed of it, it is one state: what the record's tag is of opens. */
static void memory_that_changes_harms_nobody_else(void **state)
{
    struct ipc_client *worker = ask_lend(rig.f, rig.syncd, rig.handle);
    pthread_t thread;

    (void)state;
    assert_int_equal(ask_region(rig.f, worker, rig.fd), 0);
    atomic_store(&spoiling, true);
    assert_int_equal(pthread_create(&thread, NULL, spoil, rig.memory), 0);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(seal_chunks(worker, 0, 4, BULK_CHUNK), 0);
        assert_int_equal(open_chunks(worker, 0, 4, BULK_CHUNK), 0);
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(chunks[k].code, 0);
    }
    atomic_store(&spoiling, false);
    (void)pthread_join(thread, NULL);
    ipc_client_free(worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chunks_go_into_the_cache_and_back, make, drop),
        cmocka_unit_test_setup_teardown(a_chunk_of_the_cache_is_cut_and_filled_up, make, drop),
        cmocka_unit_test_setup_teardown(objects_go_through_the_cache, make, drop),
        cmocka_unit_test_setup_teardown(chunks_are_opened_where_they_lie, make, drop),
        cmocka_unit_test_setup_teardown(one_bad_chunk_spoils_no_other, make, drop),
        cmocka_unit_test_setup_teardown(keys_that_were_used_are_not_mistaken, make, drop),
        cmocka_unit_test_setup_teardown(many_calls_at_once_are_all_answered, make, drop),
        cmocka_unit_test_setup_teardown(work_outlives_its_caller, make, drop),
        cmocka_unit_test_setup_teardown(a_handle_is_its_callers_alone, make, drop),
        cmocka_unit_test_setup_teardown(handles_are_bounded_and_end_with_their_connection, make, drop),
        cmocka_unit_test_setup_teardown(all_callers_share_a_bound, make, drop),
        cmocka_unit_test_setup_teardown(rotated_keys_take_the_place_of_the_old_ones, make, drop),
        cmocka_unit_test_setup_teardown(a_worker_uses_its_drive_and_nothing_else, make, drop),
        cmocka_unit_test_setup_teardown(a_worker_that_says_more_is_cut_off, make, drop),
        cmocka_unit_test_setup_teardown(a_worker_without_a_channel_has_nothing, make, drop),
        cmocka_unit_test_setup_teardown(a_channel_outlives_the_lender_but_not_the_close, make, drop),
        cmocka_unit_test_setup_teardown(a_lent_channel_follows_a_rotation, make, drop),
        cmocka_unit_test_setup_teardown(only_a_socket_pair_is_a_channel, make, drop),
        cmocka_unit_test_setup_teardown(memory_must_be_what_cannot_go_away, make, drop),
        cmocka_unit_test_setup_teardown(places_must_lie_in_the_memory, make, drop),
        cmocka_unit_test_setup_teardown(chunks_must_not_overlap, make, drop),
        cmocka_unit_test_setup_teardown(calls_must_make_sense, make, drop),
        cmocka_unit_test_setup_teardown(only_the_end_of_an_object_is_short_or_empty, make, drop),
        cmocka_unit_test_setup_teardown(memory_that_changes_harms_nobody_else, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
