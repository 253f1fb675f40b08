/* common/sealed: what is on its way into a sealed file may stop anywhere, and the power may be cut; each chunk is then
 * as it was, or as it was to be, and after a power cut as it was at some moment since it was synced. After a failure
 * SEED= in the environment repeats it. */
#include "common/sealed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/messages.h"
#include "common/number.h"
#include "common/sealed_internal.h"
#include "tests/unit/cryptd_fixture.h"

enum { CHUNKS = 5, REGION = 4 << 20, LENGTH = 3000, VERSIONS = 4096, LOG_MAX = 4096, STEPS = 2000 };

struct rig {
    struct cryptd_fixture *cryptd;
    struct ipc_client *client;
    struct crypt *crypt;
    struct sealed_io io;
    struct sealed file;
    bool done;
    int code;
    unsigned seed;
    /* of each chunk the versions that it had, by what they begin with; from `synced` on they may come back */
    uint32_t versions[CHUNKS][VERSIONS];
    size_t n[CHUNKS], synced[CHUNKS];
    bool torn[CHUNKS];           /* the power was cut since it was written */
};

/* --- the disk ------------------------------------------------------------------------------------------- */

/* What was written since it was synced: for a power cut. */
static struct {
    uint64_t at;
    size_t n;
    uint8_t *before;
} writes[LOG_MAX];
static size_t n_writes;
static unsigned writes_left;     /* then the process is killed */
static int logged = -1;          /* the file */

ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset);

static void note(int fd, size_t n, off_t offset)
{
    uint8_t *before = calloc(1, n);

    assert_true(n_writes < LOG_MAX && before);
    assert_true(pread(fd, before, n, offset) >= 0);
    writes[n_writes].at = (uint64_t)offset;
    writes[n_writes].n = n;
    writes[n_writes++].before = before;
}

/* The last one comes to its first half. */
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    if (fd != logged)
        return __real_pwrite(fd, bytes, n, offset);
    if (writes_left == 0) {
        errno = EIO;
        return -1;
    }
    if (--writes_left == 0)
        n = n < SEALED_ENTRY * 2 ? n : n / 2 / SEALED_ENTRY * SEALED_ENTRY;
    note(fd, n, offset);
    return __real_pwrite(fd, bytes, n, offset);
}

static void forget_writes(void)
{
    while (n_writes > 0)
        free(writes[--n_writes].before);
}

/* Any block of what was not synced is as it was before. */
static void cut_power(struct rig *r)
{
    enum { BLOCK = 512 };

    for (size_t i = n_writes; i-- > 0;)
        for (size_t at = 0; at < writes[i].n; at += BLOCK)
            if (rand_r(&r->seed) % 3 == 0)
                assert_true(__real_pwrite(r->file.fd, writes[i].before + at, least(BLOCK, writes[i].n - at),
                                          (off_t)(writes[i].at + at)) > 0);
}

/* --- chunks ---------------------------------------------------------------------------------------------- */

static void turn(struct rig *r)
{
    r->done = false;
    while (!r->done)
        (void)event_base_loop(loop_base(r->cryptd->serve.loop), EVLOOP_ONCE);
}

static void finished(struct sealed_job *j, const struct error *e)
{
    struct rig *r = j->arg;

    r->done = true;
    r->code = e->code;
}

static struct sealed_job *job(struct rig *r, uint64_t first, size_t n)
{
    struct sealed_job *j = sealed_job_new(&r->io, &r->file, first, n);

    j->arg = r;
    sealed_job_begin(j, finished);
    return j;
}

/* What the chunk begins with; all of it must be that. */
static uint32_t read_chunk(struct rig *r, uint64_t c)
{
    struct sealed_job *j = job(r, c, 1);
    uint32_t first;

    sealed_open(j, (c << CHUNK_SHIFT) + LENGTH, finished);
    turn(r);
    if (r->code)
        fail_msg("chunk %u: %d", (unsigned)c, r->code);
    memcpy(&first, j->outer, sizeof(first));
    for (size_t i = 0; i < LENGTH; i += sizeof(first))
        assert_memory_equal(j->outer + i, &first, sizeof(first));
    sealed_job_end(j);
    return first;
}

static bool had_since(const struct rig *r, uint64_t c, size_t from, uint32_t version)
{
    for (size_t i = from; i < r->n[c]; i++)
        if (r->versions[c][i] == version)
            return true;
    return false;
}

/* Killed or not: the last version or, if one was on its way, that. After a power cut any since the sync before it,
 * until the chunk is written again: which of its slots is torn nobody knows who does not open it. */
static void check(struct rig *r, uint64_t c, bool was_killed)
{
    uint32_t version = read_chunk(r, c);
    size_t last = r->n[c] - (was_killed ? 2 : 1);

    assert_true(had_since(r, c, r->torn[c] ? r->synced[c] : last, version));
    r->versions[c][r->n[c]++] = version;   /* that is what it is from here on */
}

static void check_all(struct rig *r)
{
    for (uint64_t c = 0; c < CHUNKS; c++)
        check(r, c, false);
}

/* --- what happens ------------------------------------------------------------------------------------------- */

static void write_run(struct rig *r, uint64_t first, size_t n)
{
    struct sealed_job *j = job(r, first, n);
    uint32_t lengths[CHUNKS];
    bool killed;

    for (size_t i = 0; i < n; i++) {
        uint32_t version = (uint32_t)rand_r(&r->seed);

        for (size_t at = 0; at < LENGTH; at += sizeof(version))
            memcpy(j->outer + i * CRYPT_CHUNK + at, &version, sizeof(version));
        lengths[i] = LENGTH;
        r->versions[first + i][r->n[first + i]++] = version;
    }
    sealed_seal(j, lengths, finished);
    turn(r);
    assert_int_equal(r->code, 0);
    if (rand_r(&r->seed) % 2)
        writes_left = 1 + (unsigned)rand_r(&r->seed) % (2 * CHUNKS);
    killed = sealed_store(j) < 0;
    writes_left = UINT32_MAX;
    sealed_job_end(j);
    for (size_t i = 0; i < n; i++) {
        r->torn[first + i] = r->torn[first + i] && killed;
        check(r, first + i, killed);
    }
}

static void write_some(struct rig *r)
{
    uint64_t first = (uint64_t)rand_r(&r->seed) % CHUNKS;

    write_run(r, first, 1 + (size_t)rand_r(&r->seed) % (CHUNKS - first));
}

static void sync_all(struct rig *r)
{
    check_all(r);
    forget_writes();
    atomic_store(&r->file.map->synced, atomic_load(&r->file.map->generation));
    for (size_t c = 0; c < CHUNKS; c++)
        if (!r->torn[c])
            r->synced[c] = r->n[c] - 1;
}

/* As syncd does it in its next session. The counter is as it was at some moment before. */
static void lose_power(struct rig *r)
{
    struct chunk_map *m = r->file.map;
    struct sealed_entry entries[CHUNKS];
    struct sealed_cut cut = { .map = m };

    if (m->torn[CHUNK_TORN - 1].to > 0)
        return;   /* so often between two writes of a chunk it is not cut */
    cut_power(r);
    forget_writes();
    assert_int_equal(sealed_entries(r->file.fd, 0, CHUNKS, entries), 0);
    for (size_t c = 0; c < CHUNKS; c++)
        sealed_cut_look(&cut, &entries[c]);
    atomic_store(&m->generation, most(cut.highest, atomic_load(&m->synced)));
    atomic_store(&m->synced, least(atomic_load(&m->synced), cut.highest));
    sealed_cut_note(&cut);
    memset(r->torn, true, sizeof(r->torn));
    check_all(r);
}

/* --- the rig ------------------------------------------------------------------------------------------------- */

static void ask_it(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg)
{
    (void)ipc_call(arg, request, NULL, 0, 0, done, done_arg);
}

static int set_up(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    const char *seed = getenv("SEED");
    struct ipc_client *owner;
    uint64_t handle;

    r->seed = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("SEED=%u\n", r->seed);
    r->cryptd = cryptd_fixture_new(1);
    owner = cryptd_client(r->cryptd, ROLE_SYNCD);
    handle = ask_drive(r->cryptd, owner, FIXTURE_DRIVE, NULL, NULL);
    r->client = ask_lend(r->cryptd, owner, handle);
    assert_int_equal(crypt_new(r->cryptd->serve.loop, REGION, REGION, &r->crypt, &r->cryptd->error), 0);
    crypt_share(r->crypt, r->client);
    r->io = (struct sealed_io){ r->crypt, { ask_it, r->client } };
    r->file.fd = memfd_create("seal", MFD_CLOEXEC);
    r->file.map = mmap(NULL, CHUNK_MAP_HEADER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(ask_cache_key(r->cryptd, owner, handle, r->file.map->sealed_key), 0);
    ipc_client_free(owner);
    atomic_store(&r->file.map->state, CHUNK_MAP_DIRTY);
    atomic_store(&r->file.map->fetchable, (uint64_t)CHUNKS << CHUNK_SHIFT);
    logged = r->file.fd;
    writes_left = UINT32_MAX;
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *r = *state;

    logged = -1;
    forget_writes();
    ipc_client_free(r->client);
    crypt_free(r->crypt);
    cryptd_fixture_free(r->cryptd);
    (void)close(r->file.fd);
    (void)munmap(r->file.map, CHUNK_MAP_HEADER);
    free(r);
    return 0;
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void begin(struct rig *r)
{
    for (size_t c = 0; c < CHUNKS; c++)
        write_run(r, c, 1);
    while (r->n[0] < 3)
        write_run(r, 0, CHUNKS);
    sync_all(r);
}

static void a_kill_leaves_the_old_or_the_new_one(void **state)
{
    struct rig *r = *state;

    for (size_t c = 0; c < CHUNKS; c++)
        r->versions[c][r->n[c]++] = 0;   /* zeros: it is not there yet */
    atomic_store(&r->file.map->fetchable, 0);
    begin(r);
    for (unsigned step = 0; step < STEPS / 4; step++) {
        write_some(r);
        if (n_writes > LOG_MAX / 2)
            sync_all(r);
    }
    check_all(r);
}

static void a_power_cut_leaves_what_was_synced_or_newer(void **state)
{
    struct rig *r = *state;

    for (size_t c = 0; c < CHUNKS; c++)
        r->versions[c][r->n[c]++] = 0;
    atomic_store(&r->file.map->fetchable, 0);
    begin(r);
    for (unsigned step = 0; step < STEPS && r->n[0] < VERSIONS - 50; step++) {
        unsigned what = (unsigned)rand_r(&r->seed) % 12;

        if (what == 0)
            lose_power(r);
        else if (what == 1 || n_writes > LOG_MAX / 2)
            sync_all(r);
        else
            write_some(r);
    }
    check_all(r);
}

/* A slot that is on the disk for sure, or current, is never written to: not a byte. */
static void neither_the_current_nor_the_synced_slot_is_chosen(void **state)
{
    struct rig *r = *state;
    struct chunk_map *m = r->file.map;

    for (unsigned round = 0; round < 5000; round++) {
        struct sealed_entry e = { 0 };
        uint64_t g[SEALED_SLOTS];
        int slot, current, kept;

        atomic_store(&m->synced, (uint64_t)rand_r(&r->seed) % 20);
        m->torn[0] = (struct chunk_torn){ (uint64_t)rand_r(&r->seed) % 20, (uint64_t)rand_r(&r->seed) % 20 };
        for (unsigned s = 0; s < SEALED_SLOTS; s++) {
            g[s] = (uint64_t)rand_r(&r->seed) % 20;
            e.records[s].version = g[s] > 0;
            e.records[s].generation = g[s];
        }
        slot = sealed_free_slot(&e, m);
        current = sealed_newest(&e, UINT64_MAX);
        assert_true(slot >= 0 && slot < SEALED_SLOTS && slot != current);
        kept = sealed_newest(&e, atomic_load(&m->synced) + 1);
        if (kept >= 0 && !sealed_may_be_torn(m, g[kept]))
            assert_int_not_equal(slot, kept);
    }
}

/* What was never written is zeros. */
static void begin_with_nothing(struct rig *r)
{
    for (size_t c = 0; c < CHUNKS; c++)
        r->versions[c][r->n[c]++] = 0;
    atomic_store(&r->file.map->fetchable, 0);
    begin(r);
}

static void what_is_skipped_is_left_alone(void **state)
{
    struct rig *r = *state;
    struct sealed_job *j;

    begin_with_nothing(r);
    j = job(r, 0, CHUNKS);
    memset(j->outer, 0xaa, CHUNKS * CRYPT_CHUNK);
    j->skipped = 1 << 1 | 1 << 2 | 1 << 4;
    sealed_open(j, CHUNKS << CHUNK_SHIFT, finished);
    turn(r);
    assert_int_equal(r->code, 0);
    for (size_t c = 0; c < CHUNKS; c++) {
        uint32_t version = j->skipped >> c & 1 ? 0xaaaaaaaa : r->versions[c][r->n[c] - 1];

        assert_memory_equal(j->outer + c * CRYPT_CHUNK, &version, sizeof(version));
    }
    sealed_job_end(j);
}

/* cryptd has done a part of it, and dies; the next one is asked the same. */
static struct {
    struct ipc_client *client;
    Lf__Envelope *request;
    ipc_answer_fn *done;
    void *arg;
} again;

static void ask_again(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    Lf__Envelope *request = again.request;

    (void)e;
    (void)fds;
    (void)arg;
    again.request = NULL;
    assert_non_null(reply);
    (void)ipc_call(again.client, request, NULL, 0, 0, again.done, again.arg);
    lf__envelope__free_unpacked(request, NULL);
}

static void ask_twice(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg)
{
    struct rig *r = arg;
    bool is_first = !again.client;

    again.client = r->client;
    again.done = done;
    again.arg = done_arg;
    if (is_first)
        again.request = message_copy(&request->base);
    (void)ipc_call(r->client, request, NULL, 0, 0, is_first ? ask_again : done, is_first ? r : done_arg);
}

static void a_cryptd_that_dies_in_the_midst_harms_nothing(void **state)
{
    struct rig *r = *state;
    struct sealed_job *j;

    begin_with_nothing(r);
    memset(&again, 0, sizeof(again));
    r->io.asker = (struct crypt_asker){ ask_twice, r };
    j = job(r, 0, CHUNKS);
    sealed_open(j, CHUNKS << CHUNK_SHIFT, finished);
    turn(r);
    assert_int_equal(r->code, 0);
    for (size_t c = 0; c < CHUNKS; c++)
        assert_memory_equal(j->outer + c * CRYPT_CHUNK, &r->versions[c][r->n[c] - 1], sizeof(uint32_t));
    sealed_job_end(j);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_kill_leaves_the_old_or_the_new_one),
        TEST(a_power_cut_leaves_what_was_synced_or_newer),
        TEST(neither_the_current_nor_the_synced_slot_is_chosen),
        TEST(what_is_skipped_is_left_alone),
        TEST(a_cryptd_that_dies_in_the_midst_harms_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
