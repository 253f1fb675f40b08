/* Forks before there are threads; what a killed volume leaves is looked at with nothing of it in memory. */
#include "tests/unit/crash_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_use.h"
#include "tests/unit/crash_steps.h"

enum { STEPS_MAX = 2000, STRIDE = 5, PATIENCE_S = 300, FOLDERS = 256, ROWS = 256 };

static struct crash_steps *steps;

void crash_acknowledge(void)
{
    steps->acknowledged++;
}

/* --- the run that dies -------------------------------------------------------------------------------- */

static _Noreturn void run(const struct crash_story *s, const char *dir)
{
    void *state;

    (void)rig_set_up_in(dir, s->prepare, &state);
    if (s->before)
        s->before(state);
    crash_steps_set(steps);
    steps->armed = true;
    s->act(state);
    rig_idle(state);
    _exit(0);
}

/* True: it was killed. */
static bool killed(const struct crash_story *s, const char *dir)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0)
        run(s, dir);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        assert_int_equal(status, 0);
    return WIFSIGNALED(status);
}

/* --- what holds for all --------------------------------------------------------------------------------- */

static void check_pair(uint64_t ino, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct rig *rig = arg;

    if (index_get(rig->volume->index, ino, &i) < 0 || !S_ISREG(i.mode))
        fail_msg("cache files of %" PRIx64 ", which is no file", ino);
}

static bool is_orphan(const struct index_inode *i, void *arg)
{
    (void)arg;
    fail_msg("the orphan %" PRIu64 " stays", i->ino);
    return false;
}

static void check_cache(struct rig *rig)
{
    struct cache *c = rig->volume->cache;
    uint64_t inos[ROWS];
    int n;

    for (uint64_t low = 0; low < FOLDERS; low++)
        cache_file_walk(c->dir_fd, low, check_pair, rig);
    assert_int_equal(index_orphans(rig->volume->index, 0, is_orphan, NULL), 0);
    assert_int_equal(use_flush(c), 0);
    n = index_cached_all(rig->volume->index, 0, inos, ROWS);
    assert_true(n >= 0 && n < ROWS);
    for (int k = 0; k < n; k++)
        assert_true(cache_file_exists(c->dir_fd, inos[k]));
    assert_true(c->space.limit == 0 || c->space.used + c->space.reserved <= c->space.limit);
}

struct walk {
    uint64_t *inos;
    size_t n;
};

static bool collect(const struct index_inode *i, void *arg)
{
    struct walk *w = arg;

    *xadd(w->inos, w->n) = i->ino;
    return true;
}

static void check_content(struct rig *rig, const struct index_inode *i, const char *key)
{
    CLEANUP_FREE char *here = xcalloc(1, i->size + 1);
    struct handle h;

    assert_int_equal(worker_open(rig, i->ino, false, false, &h), 0);
    assert_int_equal(worker_read(rig, &h, 0, here, i->size), i->size);
    assert_object(rig, key, here, i->size);
    worker_close(rig, &h);
}

/* How many files are at and below the inode, all of which are in the cloud. */
static size_t check_tree(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    CLEANUP_FREE char *key = index_key(rig->volume->index, ino);
    struct walk w = { 0 };
    size_t n;

    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    n = !S_ISDIR(i.mode);
    if (n > 0)
        assert_string_equal(i.cloud_key, key);
    if (S_ISREG(i.mode))
        check_content(rig, &i, key);
    if (S_ISDIR(i.mode))
        assert_int_equal(index_list(rig->volume->index, ino, "", 0, collect, &w), 0);
    for (size_t k = 0; k < w.n; k++)
        n += check_tree(rig, w.inos[k]);
    free(w.inos);
    return n;
}

/* A folder in the making, which is no object, may be left in a LocalFolder. */
static void check_cloud(struct rig *rig)
{
    CLEANUP_FREE char *keys = rig_keys(rig);
    size_t n = check_tree(rig, INDEX_ROOT);

    if (n != rig_files(rig))
        fail_msg("%zu files are here, in the cloud are: %s", n, keys);
    assert_int_equal(rig_uploads(rig), 0);
}

/* --- the run after it ------------------------------------------------------------------------------------- */

/* Orphans may have been open in the kernel; here nothing was. */
static void settle(struct rig *rig)
{
    volume_purge(rig->volume);
    rig_settle(rig);
    rig_wait(rig, !rig->volume->cache->sweep && !rig->volume->purge && !rig->volume->dismantling);
    rig_relist(rig, INDEX_ROOT);
    rig_settle(rig);
    rig_idle(rig);
}

static void look_after(const struct crash_story *s, const char *dir)
{
    void *state;

    assert_int_equal(rig_set_up_in(dir, s->prepare, &state), 0);
    rig_assert_total(state);
    if (s->reopened)
        s->reopened(state, steps->acknowledged);
    settle(state);
    check_cache(state);
    rig_assert_total(state);
    if (s->after)
        s->after(state, steps->acknowledged);
    check_cloud(state);
    rig_tear_down(&state);
}

/* --- all runs ----------------------------------------------------------------------------------------------- */

/* Both wait most of their time, so several pairs of them are under way at once. */
enum { AT_ONCE = 8, DIED = 0, ENDED = 1 };

/* A failed assertion of cmocka is to end this process, not to go on with the parent's tests in it. */
static _Noreturn void tell(const struct crash_story *s, long step)
{
    char dir[] = "/tmp/crash_rig.XXXXXX";
    bool died;

    (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
    (void)signal(SIGABRT, SIG_DFL);
    (void)alarm(PATIENCE_S);
    steps = mmap(NULL, sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(steps != MAP_FAILED);
    steps->left = step;
    assert_non_null(mkdtemp(dir));
    died = killed(s, dir);
    look_after(s, dir);
    (void)fflush(NULL);
    _exit(died ? DIED : ENDED);
}

struct telling {
    pid_t pid;
    long step;
};

static void start(const struct crash_story *s, struct telling *t, long step)
{
    (void)fflush(NULL);
    *t = (struct telling){ fork(), step };
    assert_true(t->pid >= 0);
    if (t->pid == 0)
        tell(s, step);
}

/* True: it died at its step. */
static bool finish(struct telling *t)
{
    int status;

    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) > ENDED)
        fail_msg("step %ld ended with status %x", t->step, (unsigned)status);
    return WEXITSTATUS(status) == DIED;
}

/* All of them take minutes. */
static long stride(void)
{
    const char *set = getenv("CRASH_STRIDE");

    return set && atoi(set) > 0 ? atoi(set) : STRIDE;
}

void crash_everywhere(const struct crash_story *s)
{
    struct telling tellings[AT_ONCE];
    size_t begun, ended = 0, died = 0;

    for (begun = 0; died == ended || begun - ended > 0;) {
        if (died == ended && begun - ended < AT_ONCE) {
            start(s, &tellings[begun % AT_ONCE], (long)begun * stride());
            begun++;
        } else {
            died += finish(&tellings[ended++ % AT_ONCE]);
        }
        assert_true(begun < STEPS_MAX);
    }
    assert_true(died > 0);
}
