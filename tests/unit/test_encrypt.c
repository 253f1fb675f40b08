/* What the cloud has in plain of a drive that encrypts from now on, encrypted when asked: each object, once, whatever
 * happens meanwhile; and nothing else about the files changes. */
#include "tests/unit/sealed_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "cryptd/aead.h"
#include "syncd/encrypt.h"
#include "syncd/store_anchor.h"
#include "syncd/store_encrypt.h"
#include "syncd/transfer.h"
#include "syncd/store_index_internal.h"

enum { MIB = 1 << 20, LARGE = 40 * MIB + 12345, ENCRYPTING = 7, NORMAL = 0 };

static const size_t SIZES[] = { 0, 1, 65535, 65536, 65537, 3 * MIB + 17, LARGE };

static int set_up(void **state)
{
    assert_int_equal(aead_begin(NULL), 0);
    return rig_set_up_with(sealed_prepare, state);
}

static int set_up_folder(void **state)
{
    char dir[] = "/var/tmp/test_encrypt.XXXXXX";

    assert_int_equal(aead_begin(NULL), 0);
    assert_non_null(mkdtemp(dir));
    return rig_set_up_in(dir, sealed_prepare, state);
}

/* --- asking ------------------------------------------------------------------------------------------- */

struct answered {
    bool done;
    struct error e;
};

static void on_done(const struct error *e, void *arg)
{
    *(struct answered *)arg = (struct answered){ true, *e };
}

static struct error ask(struct rig *rig, uint64_t ino,
                        void (*what)(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg))
{
    struct answered a = { 0 };

    what(rig->volume, ino, on_done, &a);
    rig_wait(rig, a.done);
    return a.e;
}

static void turn_on(struct rig *rig)
{
    rig->drive.has_cloud_objects_encrypted = rig->drive.cloud_objects_encrypted = true;
    volume_configure(rig->volume, &rig->drive);
}

static struct index_encryption now(struct rig *rig)
{
    struct index_encryption n;

    assert_int_equal(index_encryption(rig->volume->index, &n), 0);
    return n;
}

static bool is_over(struct rig *rig)
{
    struct index_encryption n = now(rig);

    return n.files == 0 && n.directories == 0;
}

/* Asked for all of the drive, which begins to encrypt. */
static void encrypt_all(struct rig *rig)
{
    turn_on(rig);
    assert_int_equal(ask(rig, INDEX_ROOT, volume_encrypt).code, 0);
}

static void wait_for_all(struct rig *rig)
{
    rig_wait(rig, is_over(rig));
    rig_settle(rig);
}

static void on_stat(const struct error *e, const struct volume_node *n, void *arg)
{
    assert_int_equal(e ? e->code : 0, 0);
    *(int *)arg = n->state_a;
}

static int state_of(struct rig *rig, const char *path)
{
    int state = -1;

    volume_stat(rig->volume, path, on_stat, &state);
    rig_wait(rig, state >= 0);
    return state;
}

/* --- the list ------------------------------------------------------------------------------------------- */

static void assert_counts(struct rig *rig, uint64_t files, uint64_t bytes, uint64_t directories, uint64_t done,
                          uint64_t failed)
{
    struct index_encryption n = now(rig);

    assert_int_equal(n.files, files);
    assert_int_equal(n.bytes, bytes);
    assert_int_equal(n.directories, directories);
    assert_int_equal(n.done, done);
    assert_int_equal(n.failed, failed);
}

static unsigned pending(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    return i.pending;
}

/* On a drive that does not encrypt, where nothing is done with it. */
static void the_list_counts(void **state)
{
    struct rig *rig = *state;
    struct index *x = rig->volume->index;
    uint64_t a = worker_file(rig, "a", "aa", 2), b = worker_file(rig, "b", "bbb", 3), d = worker_mkdir(rig, "d");
    uint64_t found[4], n, bytes;
    struct index_mark m;

    rig_settle(rig);
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_encrypt_anew(x), 0);
    assert_int_equal(index_encrypt_put(x, a, false, 2), 0);
    assert_int_equal(index_encrypt_put(x, a, false, 2), 0);
    assert_int_equal(index_encrypt_put(x, b, false, 3), 0);
    assert_int_equal(index_encrypt_put(x, d, true, 0), 0);
    assert_counts(rig, 2, 5, 1, 0, 0);
    assert_int_equal(index_encrypt_due(x, 1, false, found, 4), 2);
    assert_int_equal(found[0], a);
    assert_int_equal(index_encrypt_due(x, 1, true, found, 4), 1);
    assert_int_equal(found[0], d);

    assert_int_equal(index_encrypt_begin(x, a), 0);
    assert_int_equal(pending(rig, a), INDEX_SEAL);
    assert_int_equal(index_pending_count(x), 0);
    assert_int_equal(index_encrypt_working(x, &n, &bytes), 0);
    assert_true(n == 1 && bytes == 2);
    assert_int_equal(index_encrypt_later(x, a, 1000, true), 0);
    assert_int_equal(pending(rig, a), 0);
    assert_int_equal(index_encrypt_due(x, 999, false, found, 4), 1);
    assert_int_equal(index_encrypt_next_due(x, 999), 1000);
    assert_int_equal(index_encrypt_get(x, a, &m), 0);
    assert_true(m.tries == 1 && m.state == INDEX_ENCRYPT_WAITS && m.size == 2);

    assert_int_equal(index_encrypt_fail(x, d, "why"), 0);
    assert_int_equal(index_encrypt_done(x, a), 0);
    assert_int_equal(index_encrypt_done(x, a), 0);
    assert_counts(rig, 1, 3, 0, 1, 1);
    assert_int_equal(index_encrypt_put(x, d, true, 0), 0);   /* once more */
    assert_counts(rig, 1, 3, 1, 1, 0);
    assert_int_equal(index_encrypt_anew(x), 0);              /* something is left */
    assert_counts(rig, 1, 3, 1, 1, 0);
    assert_int_equal(index_encrypt_fail(x, b, "why"), 0);
    assert_int_equal(index_encrypt_forget(x, d), 0);
    assert_counts(rig, 0, 0, 0, 1, 1);
    assert_int_equal(index_encrypt_anew(x), 0);
    assert_counts(rig, 0, 0, 0, 0, 0);
    assert_int_equal(index_commit(x), 0);
}

static void the_list_follows_inodes(void **state)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct rig *rig = *state;
    struct index *x = rig->volume->index;
    uint64_t d = worker_mkdir(rig, "d"), a = worker_file(rig, "d/a", "aa", 2), b = worker_file(rig, "b", "bbb", 3);
    struct index_mark m;

    rig_settle(rig);
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_encrypt_put(x, a, false, 2), 0);
    assert_int_equal(index_encrypt_put(x, b, false, 3), 0);
    assert_int_equal(index_encrypt_begin(x, b), 0);
    assert_int_equal(index_get(x, b, &i), 0);
    assert_int_equal(index_replace(x, &i), 0);
    assert_int_equal(index_encrypt_get(x, b, &m), -ENOENT);
    assert_int_equal(index_encrypt_get(x, i.ino, &m), 0);
    assert_int_equal(m.state, INDEX_ENCRYPT_WORK);
    assert_counts(rig, 2, 5, 0, 0, 0);
    assert_int_equal(index_encrypt_forget_below(x, d), 0);
    assert_counts(rig, 1, 3, 0, 0, 0);
    assert_int_equal(pending(rig, i.ino), INDEX_SEAL);
    assert_int_equal(index_encrypt_forget_below(x, INDEX_ROOT), 0);
    assert_int_equal(pending(rig, i.ino), 0);
    assert_int_equal(index_encrypt_put(x, a, false, 2), 0);
    assert_int_equal(index_encrypt_begin(x, a), 0);
    assert_int_equal(index_orphan(x, a), 0);
    assert_counts(rig, 0, 0, 0, 0, 0);
    index_rollback(x);
}

/* --- all of a drive --------------------------------------------------------------------------------------- */

struct plain {
    char name[32];
    char *bytes;
    uint64_t ino;
    Lf__FsAttr attr;
};

static void make_plain(struct rig *rig, struct plain files[ARRAY_SIZE(SIZES)])
{
    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++) {
        struct plain *p = &files[n];

        (void)snprintf(p->name, sizeof(p->name), "f%zu", SIZES[n]);
        p->bytes = pattern(SIZES[n], (unsigned)n);
        p->ino = worker_file(rig, p->name, p->bytes, SIZES[n]);
        assert_int_equal(worker_chmod(rig, p->ino, 0640), 0);
        assert_int_equal(worker_touch(rig, p->ino, 1000000000 + (int64_t)n), 0);
    }
    sealed_settle(rig);
    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++)
        assert_int_equal(worker_getattr(rig, files[n].ino, &files[n].attr), 0);
}

static void assert_encrypted(struct rig *rig, struct plain *p, size_t size)
{
    struct cloud_request *r = rig_stat(rig, p->name);
    Lf__FsAttr attr;

    assert_sealed(rig, p->name, p->bytes, size);
    assert_int_equal(r->object.meta.mtime_ns, p->attr.mtime_ns);
    assert_int_equal(r->object.meta.mode, S_IFREG | 0640);
    cloud_request_free(r);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, p->name), p->ino);
    assert_int_equal(worker_getattr(rig, p->ino, &attr), 0);
    assert_int_equal(attr.size, size);
    assert_int_equal(attr.mtime_ns, p->attr.mtime_ns);
    assert_int_equal(attr.mode, p->attr.mode);
    worker_assert_reads(rig, p->ino, p->bytes, size);
    free(p->bytes);
}

static struct upload *resealing(struct rig *rig)
{
    struct upload *u;

    LIST_FOREACH(u, &rig->volume->uploader->running, next)
        if (upload_reseals(u))
            break;
    return u;
}

/* Its transfer says what ends it. */
static void one_of_them_is_not_stopped_alone(void **state)
{
    struct rig *rig = *state;
    struct upload *u;
    struct error e;

    (void)worker_file(rig, "a", "plain", 5);
    sealed_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    encrypt_all(rig);
    rig_wait(rig, rig->n_held > 0 && (u = resealing(rig)));
    assert_int_equal(upload_control.pause(u, &e), -EBADMSG);
    assert_non_null(strstr(e.text, "object_encrypt_stop"));
    assert_int_equal(upload_control.cancel(u, &e), -EBADMSG);
    assert_int_equal(resealing(rig), u);
    rig_release(rig);
    wait_for_all(rig);
    assert_sealed(rig, "a", "plain", 5);
}

static void every_size_is_encrypted(void **state)
{
    struct rig *rig = *state;
    struct plain files[ARRAY_SIZE(SIZES)] = { 0 };

    make_plain(rig, files);
    rig_relist(rig, INDEX_ROOT);
    rig_put(rig, "d/sub/theirs", "of another tool", 15);   /* after the listing, which is young */
    encrypt_all(rig);
    wait_for_all(rig);
    assert_counts(rig, 0, 0, 0, ARRAY_SIZE(SIZES) + 1, 0);
    for (size_t n = 0; n < ARRAY_SIZE(SIZES); n++)
        assert_encrypted(rig, &files[n], SIZES[n]);
    assert_sealed(rig, "d/sub/theirs", "of another tool", 15);
    assert_int_equal(rig_files(rig), ARRAY_SIZE(SIZES) + 1);
    assert_int_equal(rig_uploads(rig), 0);
    rig_assert_total(rig);
    rig_reset_counts(rig);
    assert_int_equal(ask(rig, INDEX_ROOT, volume_encrypt).code, 0);   /* there is nothing any more */
    wait_for_all(rig);
    assert_int_equal(rig->counts[CLOUD_PUT] + rig->counts[CLOUD_PART_PUT], 0);
    assert_counts(rig, 0, 0, 0, 0, 0);
}

static void a_single_file_and_a_folder(void **state)
{
    struct rig *rig = *state;
    uint64_t d = worker_mkdir(rig, "d");

    (void)worker_file(rig, "a", "in the root", 11);
    (void)worker_file(rig, "d/b", "in the folder", 13);
    (void)worker_file(rig, "c", "not asked for", 13);
    sealed_settle(rig);
    turn_on(rig);
    assert_int_equal(ask(rig, worker_lookup(rig, INDEX_ROOT, "a"), volume_encrypt).code, 0);
    assert_int_equal(ask(rig, d, volume_encrypt).code, 0);
    wait_for_all(rig);
    assert_sealed(rig, "a", "in the root", 11);
    assert_sealed(rig, "d/b", "in the folder", 13);
    assert_object(rig, "c", "not asked for", 13);
}

static void a_plain_drive_refuses(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(ask(rig, INDEX_ROOT, volume_encrypt).code, -EINVAL);
    assert_true(is_over(rig));
}

static void what_waits_says_so(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "bytes", 5);
    sealed_settle(rig);
    turn_on(rig);
    rig->hold[CLOUD_PUT] = true;
    assert_int_equal(state_of(rig, "a"), NORMAL);
    assert_int_equal(ask(rig, worker_lookup(rig, INDEX_ROOT, "a"), volume_encrypt).code, 0);
    assert_int_equal(state_of(rig, "a"), ENCRYPTING);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(state_of(rig, "a"), ENCRYPTING);
    assert_int_equal(volume_pending(rig->volume), 0);   /* the cloud lacks nothing */
    rig_release(rig);
    wait_for_all(rig);
    assert_int_equal(state_of(rig, "a"), NORMAL);
}

static void on_progress(const struct error *e, const Lf__Encryption *p, void *arg)
{
    assert_int_equal(e->code, 0);
    assert_int_equal(p->files_left, 0);
    assert_int_equal(p->bytes_done, 5);
    *(int64_t *)arg = p->files_done;
}

static void who_waits_hears_of_the_end(void **state)
{
    struct rig *rig = *state;
    int64_t done = -1;

    (void)worker_file(rig, "a", "bytes", 5);
    sealed_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    encrypt_all(rig);
    volume_encryption(rig->volume, 60, on_progress, &done);
    rig_wait(rig, rig->n_held == 1);
    assert_int_equal(done, -1);
    rig_release(rig);
    rig_wait(rig, done >= 0);
    assert_int_equal(done, 1);
}

/* --- in the midst ---------------------------------------------------------------------------------------- */

static void crash_in_the_midst(struct rig *rig)
{
    CLEANUP_FREE char *large = pattern(LARGE, 3);

    (void)worker_mkdir(rig, "d");
    (void)worker_file(rig, "d/large", large, LARGE);
    (void)worker_file(rig, "a", "bytes", 5);
    sealed_settle(rig);
    rig_reset_counts(rig);
    encrypt_all(rig);
    rig_reopen(rig);          /* before anything was looked at */
    rig->hold[CLOUD_PART_END] = true;
    rig_wait(rig, rig->n_held == 1);
    rig_reopen(rig);          /* all parts are there */
    rig_release(rig);
    wait_for_all(rig);
    assert_sealed(rig, "d/large", large, LARGE);
    assert_sealed(rig, "a", "bytes", 5);
    rig_idle(rig);
    assert_int_equal(rig_uploads(rig), 0);
    assert_int_equal(rig_files(rig), 2);
}

static void it_goes_on_after_a_crash(void **state)
{
    struct rig *rig = *state;

    crash_in_the_midst(rig);
    assert_int_equal(rig->counts[CLOUD_PART_PUT], 3);   /* none twice */
}

/* Which has no MD5 of parts, so they are sent again. */
static void it_begins_anew_in_a_folder(void **state)
{
    crash_in_the_midst(*state);
}

/* Before each request reaches the cloud, and after it was carried out. */
struct moment {
    unsigned step, seen;
    bool after, dead;
};

static int die(struct rig *rig, const struct cloud_request *r, bool after)
{
    struct moment *m = rig->arg;

    (void)r;
    if (!m->dead && after == m->after && m->seen++ == m->step)
        m->dead = true;
    return m->dead ? -ECANCELED : 0;
}

/* True: there is such a moment. */
static bool dies_at(struct rig *rig, const char *large, unsigned step, bool after)
{
    struct moment m = { .step = step, .after = after };

    rig->drive.cloud_objects_encrypted = false;
    volume_configure(rig->volume, &rig->drive);
    (void)worker_mkdir(rig, "d");
    (void)worker_file(rig, "d/large", large, 17 * MIB);
    (void)worker_file(rig, "a", "bytes", 5);
    rig_put(rig, "d/theirs", large, 1000);
    sealed_settle(rig);
    rig->arg = &m;
    rig->fault = die;
    encrypt_all(rig);
    rig_wait(rig, m.dead || is_over(rig));
    rig_close(rig);
    rig->fault = NULL;
    rig_open(rig);
    wait_for_all(rig);
    rig_idle(rig);
    assert_sealed(rig, "d/large", large, 17 * MIB);
    assert_sealed(rig, "a", "bytes", 5);
    assert_sealed(rig, "d/theirs", large, 1000);
    assert_keys(rig, "a d/ d/large d/theirs ");
    assert_int_equal(rig_uploads(rig), 0);
    return m.dead;
}

static void it_ends_after_a_crash_at_each_request(void **state)
{
    CLEANUP_FREE char *large = pattern(17 * MIB, 3);
    const char *stride = getenv("CRASH_STRIDE");
    unsigned step[2] = { 0, 1 }, by = stride ? (unsigned)atoi(stride) : 4;
    bool more = true;

    (void)state;
    for (unsigned n = 0; n < 2; n++, more = true)
        for (; more; step[n] += by) {
            void *rig;

            assert_int_equal(set_up(&rig), 0);
            more = dies_at(rig, large, step[n], n == 1);
            sealed_tear_down(&rig);
        }
    assert_true(step[0] > 10 && step[1] > 10);
}

static int lose_first_answer(struct rig *rig, const struct cloud_request *r, bool after)
{
    return r->op == CLOUD_PUT && after && rig->counts[CLOUD_PUT] == 1 ? -ETIMEDOUT : 0;
}

static void an_answer_is_lost(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "bytes", 5);
    sealed_settle(rig);
    rig_reset_counts(rig);
    rig->fault = lose_first_answer;
    encrypt_all(rig);
    rig_wait(rig, rig->counts[CLOUD_PUT] == 1);
    rig_relist(rig, INDEX_ROOT);
    wait_for_all(rig);
    assert_sealed(rig, "a", "bytes", 5);
    assert_int_equal(rig_files(rig), 1);
    rig_assert_file(rig, "a", "bytes");
}

/* As a listing that began before finds it. */
static void a_listing_comes_between(void **state)
{
    struct rig *rig = *state;
    uint64_t a = worker_file(rig, "a", "bytes", 5);

    sealed_settle(rig);
    encrypt_all(rig);
    wait_for_all(rig);
    rig_relist(rig, INDEX_ROOT);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), a);
    rig_assert_file(rig, "a", "bytes");
    assert_sealed(rig, "a", "bytes", 5);
}

static void a_program_writes_meanwhile(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "before", 6);
    sealed_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    encrypt_all(rig);
    rig_wait(rig, rig->n_held == 1);
    worker_overwrite(rig, "a", "of the program", 14);
    rig_release(rig);
    wait_for_all(rig);
    assert_sealed(rig, "a", "of the program", 14);
    rig_assert_no_copy(rig, "a ");
    assert_counts(rig, 0, 0, 0, 1, 0);
}

/* Too long to be told by its length alone that it is plain. */
static void another_client_writes_meanwhile(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *theirs = pattern(1000, 9);

    (void)worker_file(rig, "a", "before", 6);
    sealed_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    encrypt_all(rig);
    rig_wait(rig, rig->n_held == 1);
    rig_put(rig, "a", theirs, 1000);
    rig_release(rig);
    wait_for_all(rig);
    assert_sealed(rig, "a", theirs, 1000);
    rig_assert_no_copy(rig, "a ");
    worker_assert_reads(rig, worker_lookup(rig, INDEX_ROOT, "a"), theirs, 1000);
}

static void another_client_removes_it_meanwhile(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "before", 6);
    sealed_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    encrypt_all(rig);
    rig_wait(rig, rig->n_held == 1);
    rig_remove(rig, "a");
    rig_release(rig);
    wait_for_all(rig);
    assert_keys(rig, "");
    sealed_settle(rig);
    rig_relist(rig, INDEX_ROOT);
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
}

static void it_is_renamed_or_removed_here(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "one", 3);
    (void)worker_file(rig, "b", "two", 3);
    (void)worker_file(rig, "c", "three", 5);
    sealed_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    encrypt_all(rig);
    rig_wait(rig, rig->n_held == 3);
    assert_int_equal(worker_rename(rig, "a", "moved", 0), 0);
    assert_int_equal(worker_unlink(rig, "b"), 0);
    rig_release(rig);
    wait_for_all(rig);
    rig_idle(rig);
    assert_keys(rig, "c moved ");
    rig_assert_file(rig, "moved", "one");
    rig_lose_worker(rig);
    rig_assert_file(rig, "moved", "one");
    assert_sealed(rig, "c", "three", 5);
    assert_counts(rig, 0, 0, 0, 2, 0);
}

static void it_is_ended(void **state)
{
    struct rig *rig = *state;

    (void)worker_mkdir(rig, "d");
    (void)worker_file(rig, "d/a", "bytes", 5);
    (void)worker_file(rig, "b", "bytes", 5);
    sealed_settle(rig);
    volume_pause(rig->volume, true);
    encrypt_all(rig);
    rig_idle(rig);
    assert_counts(rig, 0, 0, 1, 0, 0);   /* nothing is done with it */
    assert_int_equal(ask(rig, INDEX_ROOT, volume_encrypt_stop).code, 0);
    assert_true(is_over(rig));
    volume_pause(rig->volume, false);
    rig_linger(rig);
    assert_object(rig, "d/a", "bytes", 5);
    assert_object(rig, "b", "bytes", 5);
}

static void the_drive_encrypts_no_more(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "bytes", 5);
    sealed_settle(rig);
    rig->hold[CLOUD_PUT] = true;
    encrypt_all(rig);
    rig->drive.cloud_objects_encrypted = false;
    volume_configure(rig->volume, &rig->drive);
    rig_wait(rig, is_over(rig));
    rig_release(rig);
    rig_settle(rig);
    rig_assert_file(rig, "a", "bytes");
}

/* --- what cannot be --------------------------------------------------------------------------------------- */

static void assert_failed(struct rig *rig, const char *name, const char *word)
{
    CLEANUP_FREE char *reason = NULL;
    struct sql_query q = sql_query(rig->volume->index->sql, "SELECT reason FROM encrypting WHERE state = 2");

    assert_int_equal(sql_next(&q), 1);
    reason = sql_text_copy(&q, 0);
    sql_query_end(&q);
    assert_non_null(strstr(reason, word));
    assert_int_equal(now(rig).failed, 1);
    assert_int_equal(state_of(rig, name), NORMAL);
}

static void what_is_larger_than_the_cache_stays(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(12 * MIB, 1);

    rig_put(rig, "large", bytes, 12 * MIB);
    (void)worker_file(rig, "a", "bytes", 5);
    sealed_settle(rig);
    rig->drive.has_maximum_cache_size = true;
    rig->drive.maximum_cache_size = 8 * MIB;
    encrypt_all(rig);
    wait_for_all(rig);
    assert_failed(rig, "large", "larger than the drive's cache");
    assert_object(rig, "large", bytes, 12 * MIB);
    assert_sealed(rig, "a", "bytes", 5);
}

static void a_small_cache_will_do(void **state)
{
    enum { FILES = 12, SIZE = 3 * MIB };
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(SIZE, 1);
    char name[16];

    for (unsigned n = 0; n < FILES; n++) {
        (void)snprintf(name, sizeof(name), "f%u", n);
        rig_put(rig, name, bytes, SIZE);
    }
    rig->drive.has_maximum_cache_size = true;
    rig->drive.maximum_cache_size = 10 * MIB;
    encrypt_all(rig);
    wait_for_all(rig);
    assert_counts(rig, 0, 0, 0, FILES, 0);
    for (unsigned n = 0; n < FILES; n++) {
        (void)snprintf(name, sizeof(name), "f%u", n);
        assert_sealed(rig, name, bytes, SIZE);
    }
    assert_true(rig->volume->cache->space.used <= 10 * MIB);
}

static int refuse_puts(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    return r->op == CLOUD_PUT && !after ? -EACCES : 0;
}

static void what_the_cloud_refuses_is_named(void **state)
{
    struct rig *rig = *state;

    (void)worker_file(rig, "a", "bytes", 5);
    sealed_settle(rig);
    rig->fault = refuse_puts;
    encrypt_all(rig);
    wait_for_all(rig);
    assert_failed(rig, "a", "");
    assert_object(rig, "a", "bytes", 5);
    rig->fault = NULL;
    assert_int_equal(ask(rig, INDEX_ROOT, volume_encrypt).code, 0);   /* once more */
    wait_for_all(rig);
    assert_sealed(rig, "a", "bytes", 5);
    assert_counts(rig, 0, 0, 0, 1, 0);
}

/* Somebody has put something plain in the place of what was encrypted: nobody knows who. */
static void what_is_refused_stays(void **state)
{
    struct rig *rig = *state;
    CLEANUP_FREE char *bytes = pattern(1000, 1);

    turn_on(rig);
    (void)worker_file(rig, "a", "was encrypted", 13);
    sealed_settle(rig);
    rig_put(rig, "a", bytes, 1000);
    rig_relist(rig, INDEX_ROOT);
    encrypt_all(rig);
    wait_for_all(rig);
    assert_int_equal(now(rig).failed, 1);
    assert_object(rig, "a", bytes, 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, sealed_tear_down)
#define FOLDER(name) { #name " in a folder", name, set_up_folder, sealed_tear_down, NULL }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_list_counts),
        TEST(the_list_follows_inodes),
        TEST(one_of_them_is_not_stopped_alone),
        TEST(every_size_is_encrypted),
        FOLDER(every_size_is_encrypted),
        TEST(a_single_file_and_a_folder),
        TEST(a_plain_drive_refuses),
        TEST(what_waits_says_so),
        TEST(who_waits_hears_of_the_end),
        TEST(it_goes_on_after_a_crash),
        cmocka_unit_test(it_ends_after_a_crash_at_each_request),
        FOLDER(it_begins_anew_in_a_folder),
        TEST(an_answer_is_lost),
        TEST(a_listing_comes_between),
        TEST(a_program_writes_meanwhile),
        TEST(another_client_writes_meanwhile),
        FOLDER(another_client_writes_meanwhile),
        TEST(another_client_removes_it_meanwhile),
        TEST(it_is_renamed_or_removed_here),
        TEST(it_is_ended),
        TEST(the_drive_encrypts_no_more),
        TEST(what_is_larger_than_the_cache_stays),
        TEST(a_small_cache_will_do),
        TEST(what_the_cloud_refuses_is_named),
        TEST(what_is_refused_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
