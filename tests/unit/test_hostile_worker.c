/* A worker that was taken over: what it may write into the memory it shares with syncd and what it may ask are its own;
 * syncd neither dies of it, nor does anything to what is not the drive's. */
#include "volume_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/cache_use.h"

enum { BYTES = 300000, LARGE = 6 << 20, FILES = 4, ROUNDS = 500, SEEDS = 4, PATIENCE_S = 300 };

static int hostile_set_up(void **state)
{
    (void)alarm(PATIENCE_S);   /* who does not answer any more is dead too */
    return rig_set_up(state);
}

static int hostile_tear_down(void **state)
{
    int r = rig_tear_down(state);

    (void)alarm(0);
    return r;
}

static void assert_still_serves(struct rig *rig, const char *name)
{
    char bytes[8];
    struct handle h;

    (void)worker_file(rig, name, "as ever", 7);
    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, name), false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, bytes, 7), 7);
    assert_memory_equal(bytes, "as ever", 7);
    worker_close(rig, &h);
}

/* --- lengths ------------------------------------------------------------------------------------------- */

static void a_length_without_end_is_no_walk_without_end(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(BYTES, 1);
    uint64_t ino = worker_file(rig, "a", bytes, BYTES);

    assert_int_equal(worker_fetch(rig, ino, 0, UINT64_MAX), 0);
    assert_int_equal(worker_fetch(rig, ino, 1, UINT64_MAX), 0);
    assert_int_equal(worker_fetch(rig, ino, CHUNK_FILE_MAX, UINT64_MAX), 0);
    assert_int_equal(worker_fetch(rig, ino, UINT64_MAX, UINT64_MAX), -EFBIG);
    assert_still_serves(rig, "b");
}

/* The map has bits for 8 TiB. */
static void a_file_beyond_its_map_is_not_looked_for_there(void **state)
{
    struct rig *rig = *state;
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "x", 1);
    if (pwrite(h.data_fd, "x", 1, (off_t)CHUNK_FILE_MAX * 3 / 2) != 1) {
        worker_close(rig, &h);
        skip();   /* a file system of smaller files */
    }
    memset(h.map->bits, 0xff, 8 * CHUNK_MAP_WORDS);
    atomic_store(&h.map->fetchable, UINT64_MAX);
    atomic_store(&h.map->alike, UINT64_MAX);
    assert_int_equal(worker_fetch(rig, h.ino, 0, CHUNK_FILE_MAX), 0);
    assert_int_equal(worker_fetch(rig, h.ino, CHUNK_FILE_MAX, CHUNK_FILE_MAX), 0);
    (void)worker_flush(rig, &h, false);
    (void)worker_truncate(rig, h.ino, 10);
    worker_forget_handle(&h);
    rig_lose_worker(rig);
    assert_still_serves(rig, "b");
}

/* --- space --------------------------------------------------------------------------------------------- */

static int ask_dirty(struct rig *rig, uint64_t ino, uint64_t bytes)
{
    Lf__FsDirty m = LF__FS_DIRTY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_DIRTY, fs_dirty, &m);

    m.ino = ino;
    m.bytes = bytes;
    return rig_ask(rig, &env, NULL, NULL);
}

static void a_grant_of_everything_is_none(void **state)
{
    struct rig *rig = *state;
    struct handle h;
    uint64_t before = rig->volume->cache->space.reserved;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    for (uint64_t bytes = UINT64_MAX; bytes > CHUNK_FILE_MAX; bytes = bytes / 2 + bytes / 4)
        assert_true(ask_dirty(rig, h.ino, bytes) < 0);
    worker_close(rig, &h);
    assert_int_equal(rig->volume->cache->space.reserved, before);
    assert_still_serves(rig, "b");
}

static void marks_of_use_are_worth_what_the_disk_has(void **state)
{
    struct rig *rig = *state;
    struct evict_order *o = use_order(rig->volume->cache);
    struct handle h;

    assert_int_equal(worker_create(rig, INDEX_ROOT, "a", &h), 0);
    worker_write(rig, &h, 0, "x", 1);
    assert_int_equal(worker_truncate(rig, h.ino, CHUNK_FILE_MAX / 8), 0);
    memset((void *)h.map->touched, 0xff, sizeof(h.map->touched));
    atomic_store(&h.map->any_touched, 1);
    assert_int_equal(use_flush(rig->volume->cache), 0);
    assert_in_range(o->n[EVICT_NEW] + o->n[EVICT_KEPT], 0, 1);
    worker_forget_handle(&h);
}

/* The map of a file that it may only read says what it likes; so nothing of a drive that is read only is sent for it. */
static void nothing_is_sent_of_a_drive_that_is_read_only(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(BYTES, 1);
    struct handle h;
    uint64_t ino;

    rig_close(rig);
    rig->drive.has_permission_type = true;
    rig->drive.permission_type = 1;
    rig_put(rig, "a", bytes, BYTES);
    rig_open(rig);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
        for (uint64_t c = 0; c << CHUNK_SHIFT < BYTES; c++)
            chunk_set(h.map, c);
        atomic_store(&h.map->state, CHUNK_MAP_DIRTY);
        worker_close(rig, &h);
        rig_reopen(rig);
        rig_linger(rig);
    }
    assert_int_equal(rig->counts[CLOUD_PUT], 0);
    assert_object(rig, "a", bytes, BYTES);
}

/* What is open stays with its version, and by its map it is of none that there ever was. */
static void a_version_that_never_was_is_not_looked_up_for_ever(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(LARGE, 1);
    struct handle h;
    uint64_t ino;

    rig_put(rig, "a", bytes, LARGE);
    ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(worker_open(rig, ino, false, false, &h), 0);
    rig_idle(rig);
    h.map->mount_tag = rig->volume->mount_tag;
    atomic_store(&h.map->passed, 1);
    (void)strcpy(h.map->base, "never");
    assert_int_equal(worker_fetch(rig, ino, LARGE - BYTES, BYTES), -EIO);
    assert_in_range(rig->counts[CLOUD_STAT] + rig->counts[CLOUD_GET], 0, 8);
    worker_close(rig, &h);
}

/* --- anything ------------------------------------------------------------------------------------------- */

struct dice {
    uint64_t state;
    const uint64_t *inos;
    size_t n_inos;
};

/* xorshift64 */
static uint64_t roll(struct dice *d)
{
    d->state ^= d->state << 13;
    d->state ^= d->state >> 7;
    d->state ^= d->state << 17;
    return d->state;
}

static uint64_t a_number(struct dice *d)
{
    static const uint64_t odd[] = { 0, 1, 2, 7, 4095, 65535, 65536, BYTES, UINT32_MAX, CHUNK_FILE_MAX - 1, CHUNK_FILE_MAX,
                                    INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX };

    return roll(d) % 4 ? odd[roll(d) % ARRAY_SIZE(odd)] : roll(d) >> roll(d) % 64;
}

static uint64_t an_ino(struct dice *d)
{
    return roll(d) % 8 ? d->inos[roll(d) % d->n_inos] : a_number(d);
}

static char *a_name(struct dice *d, size_t *ret_len)
{
    static const char *const names[] = {
        "a", "b", "c", "d", "dir", "new", "", ".", "..", "a/b", "../other/secret", "\001\177\377", "user.x", "user.",
        "user.landfall.pin", "user.landfall.state", "name (conflict host 2026-01-01).txt", "1",
    };
    const char *name = names[roll(d) % ARRAY_SIZE(names)];
    size_t len = roll(d) % 16 ? strlen(name) : roll(d) % 3000;
    char *bytes = xcalloc(1, len + 1);

    for (size_t n = 0; n < len; n++)
        bytes[n] = *name ? name[n % strlen(name)] : (char)('a' + n % 26);
    *ret_len = len;
    return bytes;
}

static bool is_ino(const ProtobufCFieldDescriptor *f)
{
    return strcmp(f->name, "ino") == 0 || strcmp(f->name, "parent") == 0 || strcmp(f->name, "new_parent") == 0 ||
        strcmp(f->name, "source") == 0;
}

static void fill_field(struct dice *d, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    void *at = (char *)m + f->offset;
    ProtobufCBinaryData *bytes = at;
    size_t len;

    if (f->type == PROTOBUF_C_TYPE_BYTES)
        bytes->data = (uint8_t *)a_name(d, &bytes->len);
    else if (f->type == PROTOBUF_C_TYPE_STRING)
        *(char **)at = a_name(d, &len);
    else if (f->type == PROTOBUF_C_TYPE_BOOL)
        *(protobuf_c_boolean *)at = roll(d) & 1;
    else if (f->type == PROTOBUF_C_TYPE_UINT32)
        *(uint32_t *)at = roll(d) % 2 ? (uint32_t)(roll(d) % 4) : (uint32_t)a_number(d);
    else
        *(uint64_t *)at = is_ino(f) ? an_ino(d) : a_number(d);
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->quantifier_offset)
        *(protobuf_c_boolean *)((char *)m + f->quantifier_offset) = roll(d) & 1;
}

/* A request of the file system with anything in its fields. NULL: another kind of message. */
static Lf__Envelope *a_request(struct dice *d)
{
    const ProtobufCMessageDescriptor *all = &lf__envelope__descriptor, *one;
    const ProtobufCFieldDescriptor *f = &all->fields[roll(d) % all->n_fields];
    Lf__Envelope *env;
    ProtobufCMessage *m;

    if (f->id < LF__ENVELOPE__BODY_FS_LOOKUP || f->id > LF__ENVELOPE__BODY_FS_COPY_STOP || !message_row(f->id))
        return NULL;
    env = xcalloc(1, sizeof(*env));
    lf__envelope__init(env);
    one = f->descriptor;
    m = xcalloc(1, one->sizeof_message);
    protobuf_c_message_init(one, m);
    for (unsigned n = 0; n < one->n_fields; n++)
        fill_field(d, m, &one->fields[n]);
    env->body_case = (Lf__Envelope__BodyCase)f->id;
    *(ProtobufCMessage **)((char *)env + f->offset) = m;
    return env;
}

/* One that may be made: of an object into another one, or into the empty file. */
static Lf__Envelope *a_copy(struct dice *d)
{
    const uint64_t *last = &d->inos[d->n_inos - 3];
    Lf__Envelope *env = xcalloc(1, sizeof(*env));
    bool stop = roll(d) % 4 == 0;

    lf__envelope__init(env);
    if (stop) {
        env->body_case = LF__ENVELOPE__BODY_FS_COPY_STOP;
        env->fs_copy_stop = xcalloc(1, sizeof(*env->fs_copy_stop));
        lf__fs_copy_stop__init(env->fs_copy_stop);
        env->fs_copy_stop->ino = last[roll(d) % 3];
        return env;
    }
    env->body_case = LF__ENVELOPE__BODY_FS_COPY;
    env->fs_copy = xcalloc(1, sizeof(*env->fs_copy));
    lf__fs_copy__init(env->fs_copy);
    env->fs_copy->ino = last[roll(d) % 3];
    env->fs_copy->offset = env->fs_copy->ino == last[0] ? 0 : LARGE;
    env->fs_copy->source = last[roll(d) % 3];
    env->fs_copy->source_offset = roll(d) % 2 ? 0 : a_number(d);
    env->fs_copy->length = a_number(d);
    return env;
}

static void scribble(struct dice *d, struct handle *h)
{
    _Atomic uint64_t *words = (_Atomic uint64_t *)h->map;
    size_t n = roll(d) % 3 ? CHUNK_MAP_HEADER / 8 : CHUNK_MAP_SIZE / 8;

    for (unsigned times = roll(d) % 8; times > 0; times--)
        atomic_store(&words[roll(d) % (roll(d) % 2 ? 64 : n)], a_number(d));
    if (roll(d) % 64 == 0 && pwrite(h->data_fd, "x", 1, (off_t)(a_number(d) % (CHUNK_FILE_MAX * 3 / 2))) < 0)
        assert_int_equal(errno, EFBIG);   /* where files cannot be so large */
}

static void answered(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)e;
    (void)reply;
    (void)fds;
    ++*(unsigned *)arg;
}

/* Requests go out in bunches, so that they meet while they wait. */
static void ask_anything(struct rig *rig, struct dice *d, struct handle *handles, unsigned rounds)
{
    unsigned asked = 0, n_answered = 0;

    while (asked < rounds) {
        Lf__Envelope *env = roll(d) % 8 ? a_request(d) : a_copy(d);

        scribble(d, &handles[roll(d) % FILES]);
        if (!env)
            continue;
        (void)ipc_call(rig->client, env, NULL, 0, 0, answered, &n_answered);
        lf__envelope__free_unpacked(env, NULL);
        asked++;
        if (roll(d) % 8 == 0)
            rig_wait(rig, n_answered == asked);
    }
    rig_wait(rig, n_answered == asked);
}

static void let_loose(struct rig *rig, uint64_t seed)
{
    CLEANUP_FREE char *bytes = pattern(BYTES, 1);
    CLEANUP_FREE char *large = pattern(LARGE, 2);
    uint64_t inos[FILES + 5] = { INDEX_ROOT, worker_mkdir(rig, "dir") };
    struct dice d = { .state = seed * UINT64_C(0x9e3779b97f4a7c15), .inos = inos, .n_inos = ARRAY_SIZE(inos) };
    struct handle handles[FILES];

    for (unsigned n = 0; n < FILES; n++) {
        char name[2] = { (char)('a' + n), '\0' };

        inos[n + 2] = worker_file(rig, name, bytes, BYTES / (n + 1));
        assert_int_equal(worker_open(rig, inos[n + 2], true, false, &handles[n]), 0);
    }
    inos[FILES + 2] = worker_file(rig, "empty", "", 0);
    rig_put(rig, "drive/large", large, LARGE);
    rig_put(rig, "drive/larger", large, LARGE);
    rig_relist(rig, INDEX_ROOT);
    inos[FILES + 3] = worker_find(rig, "large");
    inos[FILES + 4] = worker_find(rig, "larger");
    ask_anything(rig, &d, handles, ROUNDS);
    for (unsigned n = 0; n < FILES; n++)
        worker_forget_handle(&handles[n]);
}

/* Files of terabytes are easily made, and the cloud of the rig is in memory. */
static int too_large(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return !after && r->body.length > 1 << 20 ? -EFBIG : 0;
}

static void nothing_that_it_says_or_writes_does_harm(struct rig *rig, uint64_t seed)
{
    rig_close(rig);
    rig->fault = too_large;
    rig->config->write_wait_seconds = 0;   /* what is asked for may never come */
    rig->config->read_deadline_seconds = 1;
    rig->drive.prefix = (char *)(uintptr_t)"drive";
    rig_put(rig, "other/secret", "theirs", 6);
    rig_put(rig, "secret", "theirs", 6);
    rig_open(rig);
    let_loose(rig, seed);
    rig_lose_worker(rig);
    assert_still_serves(rig, "as ever");
    rig_reopen(rig);
    assert_still_serves(rig, "and after a restart");
    assert_object(rig, "other/secret", "theirs", 6);
    assert_object(rig, "secret", "theirs", 6);
}

/* SEED=n repeats one. */
static void nothing_that_workers_say_or_write_does_harm(void **state)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1, last = given ? seed : SEEDS;
    void *rig;

    (void)state;
    for (; seed <= last; seed++) {
        (void)printf("seed %" PRIu64 "\n", seed);
        assert_int_equal(hostile_set_up(&rig), 0);
        nothing_that_it_says_or_writes_does_harm(rig, seed);
        assert_int_equal(hostile_tear_down(&rig), 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_length_without_end_is_no_walk_without_end, hostile_set_up, hostile_tear_down),
        cmocka_unit_test_setup_teardown(a_file_beyond_its_map_is_not_looked_for_there, hostile_set_up,
                                        hostile_tear_down),
        cmocka_unit_test_setup_teardown(a_grant_of_everything_is_none, hostile_set_up, hostile_tear_down),
        cmocka_unit_test_setup_teardown(marks_of_use_are_worth_what_the_disk_has, hostile_set_up, hostile_tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_sent_of_a_drive_that_is_read_only, hostile_set_up,
                                        hostile_tear_down),
        cmocka_unit_test_setup_teardown(a_version_that_never_was_is_not_looked_up_for_ever, hostile_set_up,
                                        hostile_tear_down),
        cmocka_unit_test(nothing_that_workers_say_or_write_does_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
