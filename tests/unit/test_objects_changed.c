/* Objects of an encrypted drive that somebody changed in the cloud: each change is refused with EIO and has a name of its
 * own; nothing of it is shown, nothing is written over, and everything else reads on. */
#include "tests/unit/sealed_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/fetch_internal.h"

enum { CHUNK = 65536, SEALED = CHUNK + 16, SIZE = 3 * CHUNK + 1000 };

/* The object of a file with these bytes, and its parts. */
struct victim {
    char *plain, *object;
    size_t n, head;
    struct cloud_meta meta;
};

static struct victim make(struct rig *rig, const char *name, size_t size, unsigned seed)
{
    struct victim v = { .plain = pattern(size, seed) };
    struct cloud_request *r;

    (void)worker_file(rig, name, v.plain, size);
    sealed_settle(rig);
    v.object = rig_object(rig, name, &v.n);
    v.head = object_head_end(v.object, v.n);
    assert_int_equal(v.n, object_sealed_size(v.head, size));
    r = rig_stat(rig, name);
    assert_int_equal(cloud_meta_copy(&v.meta, &r->object.meta), 0);
    cloud_request_free(r);
    return v;
}

static void victim_done(struct victim *v)
{
    free(v->plain);
    free(v->object);
    cloud_meta_free(&v->meta);
}

/* What a program gets of the byte at the offset: 0, which must be the right one, or a negative errno. */
static int read_at(struct rig *rig, const char *name, const struct victim *v, uint64_t offset)
{
    char byte = 0;
    ssize_t n = sealed_read_byte(rig, name, offset, &byte);

    if (n == 1)
        assert_int_equal(byte, v->plain[offset]);
    return n < 0 ? (int)n : n == 1 ? 0 : -ENODATA;
}

static int fault_of(struct rig *rig, const char *name)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    CLEANUP(index_object_done) struct index_object o = { 0 };

    assert_int_equal(index_find(rig->volume->index, INDEX_ROOT, name, strlen(name), &i), 0);
    (void)object_get(rig->volume, &i, &o);
    return o.fault;
}

static void put(struct rig *rig, const char *name, const struct victim *v, const char *bytes, size_t n, bool with_meta)
{
    static const struct cloud_meta none;

    rig_put_with(rig, name, bytes, n, with_meta ? &v->meta : &none);
    rig_relist(rig, INDEX_ROOT);
}

/* --- what is said ---------------------------------------------------------------------------------------- */

static void on_stream(const struct error *e, const struct volume_stream *s, void *arg)
{
    struct error *told = arg;

    assert_null(s);
    *told = *e;
}

/* A request to the API hears what is to be done, with a code that is not taken for anything else. */
static void assert_streamed_refusal(struct rig *rig, const char *name)
{
    struct error told = { 0 }, refusal;

    volume_stream_open(rig->volume, name, false, 0, 0, on_stream, &told);
    rig_wait(rig, told.code);
    assert_true(object_refusal(fault_of(rig, name), &refusal));
    assert_int_equal(told.code, refusal.code);
    assert_string_equal(told.text, refusal.text);
}

static void every_refusal_has_a_sentence(void **state)
{
    static const int refusals[] = {
        -EBADE, -EBADMSG, -ENOKEY, -EUCLEAN, -EOPNOTSUPP, -EMSGSIZE, -ENODATA, -EXDEV, -EREMCHG,
    };
    static const int others[] = { 0, -EIO, -ENOENT, -ETIMEDOUT, -ECANCELED, -EAGAIN, -ENOTCONN, -ESTALE, -EHOSTUNREACH };
    struct error told;

    (void)state;
    for (size_t n = 0; n < ARRAY_SIZE(refusals); n++) {
        const struct error_meaning *m;

        assert_true(object_is_refusal(refusals[n]) && object_refusal(refusals[n], &told));
        m = error_meaning(told.code);
        assert_int_equal(m->fuse_errno, EIO);
        assert_int_equal(m->http_status, 499);
        assert_true(strcmp(m->type, "CHECKSUM_MISMATCH") == 0 || strcmp(m->type, "ACCESS") == 0);
        assert_true(strncmp(told.text, "The ", 4) == 0 || strncmp(told.text, "Bytes ", 6) == 0);
        assert_true(strstr(told.text, "estore") || strstr(told.text, "landfall "));
    }
    for (size_t n = 0; n < ARRAY_SIZE(others); n++)
        assert_false(object_is_refusal(others[n]) || object_refusal(others[n], &told));
}

/* --- single bytes ---------------------------------------------------------------------------------------- */

static size_t find(const struct victim *v, const char *text)
{
    const char *at = memmem(v->object, v->head, text, strlen(text));

    assert_non_null(at);
    return (size_t)(at - v->object);
}

struct change {
    const char *what;
    const char *behind;      /* the byte is `plus` bytes behind the end of this text of the head; NULL: of the head */
    size_t plus;
    char to;                 /* 0: one bit is turned */
    int fault, or_fault;     /* what it is called, with its metadata; and without */
};

static const struct change HEAD[] = {
    { "the first letter", "", 0, 0, -EUCLEAN, -EUCLEAN },
    { "the version of age", "age-encryption.org/v", 0, '2', -EOPNOTSUPP, -EOPNOTSUPP },
    { "the kind of the stanza", "-> ", 0, 'Y', -ENOKEY, -ENOKEY },
    { "the share", "-> X25519 ", 3, 0, -ENOKEY, -ENOKEY },
    { "the wrapped key", "-> X25519 ", 43 + 1 + 3, 0, -ENOKEY, -ENOKEY },
    { "the kind of our stanza", "-> landfall/object-", 0, '2', -EBADE, -EBADE },
    { "the version of the object", "-> landfall/object-1 ", 15, 0, -EBADE, -EBADE },
    { "the binding", "-> landfall/object-1 ", 17 + 5, 0, -EBADE, -EBADE },
    { "the MAC", "\n--- ", 5, 0, -EBADE, -EBADE },
};

/* Another letter of base64, or another digit. */
static char other(char c)
{
    return c == 'A' ? 'B' : c >= '0' && c <= '8' ? (char)(c + 1) : c == 'a' ? 'b' : 'A' <= c && c <= 'z' ? 'a' : '0';
}

static void a_byte_of_the_head(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1), good = make(rig, "good", SIZE, 2);

    for (size_t n = 0; n < 2 * ARRAY_SIZE(HEAD); n++) {
        const struct change *c = &HEAD[n / 2];
        size_t at = find(&v, c->behind) + strlen(c->behind) + c->plus;
        CLEANUP_FREE char *bytes = xcalloc(1, v.n);
        int code, fault;

        memcpy(bytes, v.object, v.n);
        bytes[at] = c->to ? c->to : other(bytes[at]);
        put(rig, "a", &v, bytes, v.n, n % 2 == 0);
        code = read_at(rig, "a", &v, 0);
        fault = fault_of(rig, "a");
        if (code != -EIO || fault != (n % 2 ? c->or_fault : c->fault))
            fail_msg("%s: read %d, fault %d", c->what, code, fault);
        assert_streamed_refusal(rig, "a");
        assert_object(rig, "a", bytes, v.n);
    }
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "good"), good.plain, SIZE);
    assert_int_equal(volume_pending(rig->volume), 0);
}

static void a_byte_of_the_payload(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    const struct { size_t at; int bad; } changes[] = {
        { v.head, 0 }, { v.head + SEALED - 1, 0 }, { v.head + SEALED, 1 }, { v.head + 2 * SEALED - 16, 1 },
        { v.head + 3 * SEALED + 999, 3 }, { v.n - 1, 3 },
    };

    for (size_t n = 0; n < ARRAY_SIZE(changes); n++) {
        CLEANUP_FREE char *bytes = xcalloc(1, v.n);

        memcpy(bytes, v.object, v.n);
        bytes[changes[n].at] ^= 1;
        put(rig, "a", &v, bytes, v.n, true);
        for (int c = 0; c < 4; c++)
            if (read_at(rig, "a", &v, (uint64_t)c * CHUNK + 7) != (c == changes[n].bad ? -EIO : 0))
                fail_msg("change %zu, chunk %d", n, c);
        assert_int_equal(fault_of(rig, "a"), -EBADMSG);
    }
}

/* The nonce of the payload, of which all chunks are. */
static void the_nonce(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    CLEANUP_FREE char *bytes = xcalloc(1, v.n);

    memcpy(bytes, v.object, v.n);
    bytes[v.head - 3] ^= 1;
    put(rig, "a", &v, bytes, v.n, true);
    for (int c = 0; c < 4; c++)
        assert_int_equal(read_at(rig, "a", &v, (uint64_t)c * CHUNK), -EIO);
    assert_int_equal(fault_of(rig, "a"), -EBADMSG);
}

/* --- lengths --------------------------------------------------------------------------------------------- */

/* Whatever a listing and metadata say of it. Nothing behind the cut reads, and what is before it need not. */
static void cut_anywhere(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    const size_t lengths[] = {
        1, 21, 22, 100, OBJECT_LEAST, v.head - 17, v.head - 16, v.head - 1, v.head, v.head + 15, v.head + 16, v.head + 17,
        v.head + SEALED - 1, v.head + SEALED, v.head + SEALED + 1, v.head + SEALED + 16, v.head + SEALED + 17,
        v.head + 3 * SEALED, v.n - 1,
    };

    for (size_t n = 0; n < 2 * ARRAY_SIZE(lengths); n++) {
        size_t length = lengths[n / 2];
        int code;

        put(rig, "a", &v, v.object, length, n % 2 == 0);
        code = read_at(rig, "a", &v, 0);
        if (length <= v.head + SEALED ? code != -EIO : code != 0 && code != -EIO)
            fail_msg("%zu bytes, %s metadata: %d", length, n % 2 ? "no" : "its", code);
        if (code == 0)
            assert_int_equal(read_at(rig, "a", &v, (length - v.head - 17) / SEALED * CHUNK), -EIO);
    }
}

static void longer(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    CLEANUP_FREE char *bytes = xcalloc(1, v.n + SEALED);

    memcpy(bytes, v.object, v.n);
    put(rig, "a", &v, bytes, v.n + 1, true);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    assert_int_equal(fault_of(rig, "a"), -ENODATA);
    memcpy(bytes + v.n, v.object + v.head, SEALED);
    put(rig, "a", &v, bytes, v.n + SEALED, false);
    assert_int_equal(read_at(rig, "a", &v, 3 * CHUNK), -EIO);
    assert_int_equal(fault_of(rig, "a"), -EBADMSG);
}

static void metadata_that_lie(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);

    sealed_lose_index(rig);
    v.meta.size--;
    put(rig, "a", &v, v.object, v.n, true);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    assert_int_equal(fault_of(rig, "a"), -ENODATA);
}

/* Nothing that is read would tell. */
static void an_empty_one(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    char bytes[1024];
    struct handle h;

    memcpy(bytes, v.object, v.head);
    memset(bytes + v.head, 0, 16);
    v.meta.size = 0;
    for (int with = 0; with < 2; with++) {
        put(rig, "a", &v, bytes, v.head + 16, with);
        assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, "a"), false, false, &h), -EIO);
        assert_int_equal(fault_of(rig, "a"), -EBADMSG);
    }
}

/* --- exchanges ------------------------------------------------------------------------------------------- */

static void two_chunks(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    CLEANUP_FREE char *bytes = xcalloc(1, v.n);

    memcpy(bytes, v.object, v.n);
    memcpy(bytes + v.head, v.object + v.head + SEALED, SEALED);
    memcpy(bytes + v.head + SEALED, v.object + v.head, SEALED);
    put(rig, "a", &v, bytes, v.n, true);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    assert_int_equal(read_at(rig, "a", &v, CHUNK), -EIO);
    assert_int_equal(read_at(rig, "a", &v, 2 * CHUNK), 0);
    assert_int_equal(read_at(rig, "a", &v, 3 * CHUNK), 0);
}

static void two_objects(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim a = make(rig, "a", SIZE, 1), b = make(rig, "b", SIZE, 2);

    put(rig, "a", &b, b.object, b.n, true);
    put(rig, "b", &a, a.object, a.n, true);
    assert_int_equal(read_at(rig, "a", &b, 0), -EIO);
    assert_int_equal(read_at(rig, "b", &a, 0), -EIO);
    assert_int_equal(fault_of(rig, "a"), -EXDEV);
    assert_int_equal(fault_of(rig, "b"), -EXDEV);
}

/* A binding that does not fit is none. */
static void another_binding(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim a = make(rig, "a", SIZE, 1), b = make(rig, "b", SIZE, 2);

    assert_true(a.n > 0);
    b.meta.has_binding = true;
    memset(b.meta.binding, 7, sizeof(b.meta.binding));
    put(rig, "a", &b, b.object, b.n, true);
    assert_int_equal(read_at(rig, "a", &b, 0), -EIO);
    assert_int_equal(fault_of(rig, "a"), -EXDEV);
}

static void an_older_version(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim old = make(rig, "a", SIZE, 1);
    CLEANUP_FREE char *now = pattern(SIZE, 9);

    worker_overwrite(rig, "a", now, SIZE);
    sealed_settle(rig);
    assert_sealed(rig, "a", now, SIZE);
    put(rig, "a", &old, old.object, old.n, true);
    assert_int_equal(read_at(rig, "a", &old, 0), -EIO);
    assert_int_equal(fault_of(rig, "a"), -EREMCHG);
}

/* By somebody who knows the recipient only, or nothing. */
static void something_else_in_its_place(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    size_t n;
    CLEANUP_FREE char *foreign = sealed_foreign(rig, v.plain, SIZE, &n);

    put(rig, "a", &v, foreign, n, false);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    assert_int_equal(fault_of(rig, "a"), -EREMCHG);
    put(rig, "a", &v, v.plain, SIZE, false);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    assert_int_equal(fault_of(rig, "a"), -EUCLEAN);
}

static int accept_it(struct rig *rig, uint64_t ino, const char *value)
{
    Lf__FsXattrSet m = LF__FS_XATTR_SET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_SET, fs_xattr_set, &m);

    m.ino = ino;
    m.name = (char *)(uintptr_t)"user.landfall.accept";
    m.value = (ProtobufCBinaryData){ strlen(value), (uint8_t *)(uintptr_t)value };
    return rig_ask(rig, &env, NULL, NULL);
}

/* --- and then -------------------------------------------------------------------------------------------- */

/* What is refused is not fetched again and again. */
static void nobody_is_hammered(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);
    CLEANUP_FREE char *bytes = xcalloc(1, v.n);

    memcpy(bytes, v.object, v.n);
    bytes[v.head + 5] ^= 1;
    put(rig, "a", &v, bytes, v.n, true);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    rig_linger(rig);
    rig_reset_counts(rig);
    for (int n = 0; n < 50; n++)
        assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    rig_linger(rig);
    assert_true(rig->counts[CLOUD_GET] < 5);
}

/* The right one comes back: it reads. */
static void it_is_restored(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);

    put(rig, "a", &v, v.plain, SIZE, false);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    put(rig, "a", &v, v.object, v.n, true);
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "a"), v.plain, SIZE);
}

/* The owner says that it is right; then it is the newest version that was seen, and an older one still is not. */
static void it_is_accepted(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim oldest = make(rig, "a", SIZE, 1);
    CLEANUP_FREE char *now = pattern(SIZE, 9);
    struct victim old;
    uint64_t ino;

    worker_overwrite(rig, "a", now, SIZE - 1);
    sealed_settle(rig);
    old = (struct victim){ .plain = now, .object = rig_object(rig, "a", &old.n) };
    old.meta.has_size = true;
    old.meta.size = SIZE - 1;
    worker_overwrite(rig, "a", "newest", 6);
    sealed_settle(rig);
    put(rig, "a", &old, old.object, object_sealed_size(object_usual_head(rig->volume), SIZE - 1), true);
    assert_int_equal(read_at(rig, "a", &old, 0), -EIO);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(accept_it(rig, ino, "0"), -EINVAL);
    assert_int_equal(accept_it(rig, ino, "1"), 0);
    assert_int_equal(accept_it(rig, ino, "1"), -EINVAL);
    worker_assert_reads(rig, ino, now, SIZE - 1);
    put(rig, "a", &oldest, oldest.object, oldest.n, true);
    assert_int_equal(read_at(rig, "a", &oldest, 0), -EIO);
    put(rig, "a", &oldest, oldest.plain, SIZE, false);
    assert_int_equal(read_at(rig, "a", &oldest, 0), -EIO);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(accept_it(rig, ino, "1"), 0);
    worker_assert_reads(rig, ino, oldest.plain, SIZE);
    free(old.object);
}

/* Overwriting all of it needs nothing of what is there. */
static void it_is_replaced(void **state)
{
    struct rig *rig = *state;
    CLEANUP(victim_done) struct victim v = make(rig, "a", SIZE, 1);

    put(rig, "a", &v, v.plain, SIZE, false);
    assert_int_equal(read_at(rig, "a", &v, 0), -EIO);
    worker_overwrite(rig, "a", "new", 3);
    sealed_settle(rig);
    assert_sealed(rig, "a", "new", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_has_a_sentence),
        cmocka_unit_test_setup_teardown(a_byte_of_the_head, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(a_byte_of_the_payload, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(the_nonce, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(cut_anywhere, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(longer, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(metadata_that_lie, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_empty_one, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(two_chunks, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(two_objects, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(another_binding, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(an_older_version, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(something_else_in_its_place, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(nobody_is_hammered, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(it_is_restored, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(it_is_accepted, sealed_set_up, sealed_tear_down),
        cmocka_unit_test_setup_teardown(it_is_replaced, sealed_set_up, sealed_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
