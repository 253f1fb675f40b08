/* Random renames and changes of a tree that the cloud had before, against the same in memory, with the daemon started
 * again and listings in between: what the worker sees is what the model says at any time, and so is the cloud at the
 * end. Names are those of the keys, or stand for other bytes. TEST_RENAME_SEED and TEST_RENAME_RUNS choose other runs. */
#include "volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/listing.h"
#include "syncd/name.h"

enum { ENTRIES = 256, PATH_SIZE = 256, DEPTH = 4, NAMES = 4, RUNS = 12, STEPS = 60 };

struct entry {
    char path[PATH_SIZE];
    bool dir;
    unsigned content;
};

/* Where the tree is, and what is called how there. */
static const struct world {
    int (*set_up)(void **state);
    const char *names[NAMES];
} objects = { rig_set_up, { "a", "b", "c", "d" } }, folders = { rig_set_up_folder, { "a", "b", "c", "d" } },
  odd_objects = { rig_set_up, { "a", "␛2E.", "c␛FF", "␛␛" } },
  odd_folders = { rig_set_up_folder, { "a", "b␛C3", "c␛FF", "␛␛" } };

struct model {
    struct rig *rig;
    const struct world *world;
    struct entry entries[ENTRIES];
    size_t n;
    unsigned contents;             /* given out */
    uint64_t random;
    unsigned seed, step;
};

static unsigned dice(struct model *m, unsigned sides)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (unsigned)((m->random >> 16) % sides);
}

/* --- the tree in memory ----------------------------------------------------------------------------------------- */

static struct entry *find(struct model *m, const char *path)
{
    for (size_t n = 0; n < m->n; n++)
        if (strcmp(m->entries[n].path, path) == 0)
            return &m->entries[n];
    return NULL;
}

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    return len == 0 || (strncmp(path, dir, len) == 0 && path[len] == '/');
}

static size_t children(struct model *m, const char *dir)
{
    size_t count = 0;

    for (size_t n = 0; n < m->n; n++) {
        const char *slash = strrchr(m->entries[n].path, '/');
        size_t len = slash ? (size_t)(slash - m->entries[n].path) : 0;

        count += len == strlen(dir) && strncmp(m->entries[n].path, dir, len) == 0;
    }
    return count;
}

static bool parent_is_there(struct model *m, const char *path)
{
    const char *slash = strrchr(path, '/');
    CLEANUP_FREE char *parent = slash ? strndup(path, (size_t)(slash - path)) : NULL;
    struct entry *e = parent ? find(m, parent) : NULL;

    return !parent || (e && e->dir);
}

static void add(struct model *m, const char *path, bool dir, unsigned content)
{
    assert_true(m->n < ENTRIES);
    m->entries[m->n] = (struct entry){ .dir = dir, .content = content };
    snprintf(m->entries[m->n++].path, PATH_SIZE, "%s", path);
}

static void take(struct model *m, const char *path)
{
    *find(m, path) = m->entries[m->n - 1];
    m->n--;
}

/* All that is at or below `from` is then at or below `to`. */
static void carry(struct model *m, const char *from, const char *to)
{
    for (size_t n = 0; n < m->n; n++) {
        struct entry *e = &m->entries[n];
        char rest[PATH_SIZE];

        if (strcmp(e->path, from) != 0 && !is_below(e->path, from))
            continue;
        snprintf(rest, sizeof(rest), "%s", e->path + strlen(from));
        assert_true((size_t)snprintf(e->path, PATH_SIZE, "%s%s", to, rest) < PATH_SIZE);
    }
}

/* What rename(2) has to say, or 0. */
static int may_rename(struct model *m, const char *from, const char *to, bool exchange)
{
    struct entry *f = find(m, from), *t = find(m, to);

    if (!f || (exchange && !t))
        return -ENOENT;
    if ((f->dir && is_below(to, from)) || (exchange && t->dir && is_below(from, to)))
        return -EINVAL;
    if (exchange || !t || f == t)
        return 0;
    if (t->dir != f->dir)
        return t->dir ? -EISDIR : -ENOTDIR;
    return t->dir && children(m, to) ? -ENOTEMPTY : 0;
}

/* --- both -------------------------------------------------------------------------------------------------------- */

/* A path that may be there: its directory is. */
static void pick(struct model *m, char path[PATH_SIZE])
{
    do {
        unsigned depth = 1 + dice(m, DEPTH);

        *path = '\0';
        for (unsigned n = 0; n < depth; n++)
            snprintf(path + strlen(path), PATH_SIZE - strlen(path), "%s%s", n ? "/" : "",
                     m->world->names[dice(m, NAMES)]);
    } while (!parent_is_there(m, path));
}

/* The key of a file, or of a directory without the slash at its end. */
static void key_of(const char *path, char key[PATH_SIZE])
{
    for (*key = '\0'; *path;) {
        CLEANUP_FREE char *component = NULL;
        size_t len = strcspn(path, "/");
        bool beside;

        assert_int_equal(name_to_key(path, len, NULL, &component, &beside), 0);
        snprintf(key + strlen(key), PATH_SIZE - strlen(key), "%s%s", component, path[len] ? "/" : "");
        path += len + (path[len] == '/');
    }
}

static const char *content(unsigned n)
{
    static char text[32];

    snprintf(text, sizeof(text), "content %u", n);
    return text;
}

static void do_rename(struct model *m, bool exchange)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    int expected;

    pick(m, from);
    pick(m, to);
    expected = may_rename(m, from, to, exchange);
    assert_int_equal(worker_rename(m->rig, from, to, exchange ? RENAME_EXCHANGE : 0), expected);
    if (expected < 0 || strcmp(from, to) == 0)
        return;
    if (exchange)
        carry(m, to, "\1");
    else if (find(m, to))
        take(m, to);
    carry(m, from, to);
    if (exchange)
        carry(m, "\1", from);
}

static void do_move(struct model *m)
{
    do_rename(m, false);
}

static void do_exchange(struct model *m)
{
    do_rename(m, true);
}

static void do_write(struct model *m)
{
    char path[PATH_SIZE];
    struct entry *e;

    pick(m, path);
    e = find(m, path);
    if ((e && e->dir) || m->n + 1 >= ENTRIES)
        return;
    m->contents++;
    if (e) {
        worker_overwrite(m->rig, path, content(m->contents), strlen(content(m->contents)));
        e->content = m->contents;
    } else {
        (void)worker_file(m->rig, path, content(m->contents), strlen(content(m->contents)));
        add(m, path, false, m->contents);
    }
}

static void do_mkdir(struct model *m)
{
    char path[PATH_SIZE];

    pick(m, path);
    if (find(m, path) || m->n + 1 >= ENTRIES)
        return;
    (void)worker_mkdir(m->rig, path);
    add(m, path, true, 0);
}

static void do_remove(struct model *m)
{
    char path[PATH_SIZE];
    struct entry *e;
    int expected;

    pick(m, path);
    e = find(m, path);
    expected = !e ? -ENOENT : e->dir && children(m, path) ? -ENOTEMPTY : 0;
    assert_int_equal(e && e->dir ? worker_rmdir(m->rig, path) : worker_unlink(m->rig, path), expected);
    if (expected == 0)
        take(m, path);
}

static void on_listed(const struct error *e, void *arg)
{
    assert_int_equal(e->code, 0);
    *(bool *)arg = true;
}

static void do_list(struct model *m)
{
    char path[PATH_SIZE];
    struct listing_run *run;
    bool done = false;

    pick(m, path);
    if (dice(m, 2))
        *path = '\0';
    if (*path && (!find(m, path) || !find(m, path)->dir))
        return;
    run = listing_run_new(m->rig->volume, worker_find(m->rig, path), on_listed, &done);
    rig_wait(m->rig, done);
    listing_run_free(run);
}

static int not_sent(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    (void)r;
    return after ? 0 : -ECANCELED;
}

/* Whatever is under way is answered, and nothing more begun: what a lost answer means is test_upload_crash.c's. */
static void do_restart(struct model *m)
{
    m->rig->fault = not_sent;
    rig_wait(m->rig, m->rig->in_flight == 0);
    m->rig->fault = NULL;
    rig_reopen(m->rig);
}

static void do_wait(struct model *m)
{
    rig_idle(m->rig);
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static bool count(const struct index_inode *i, void *arg)
{
    (void)i;
    ++*(size_t *)arg;
    return true;
}

static void compare_directory(struct model *m, const char *path)
{
    uint64_t ino = worker_find(m->rig, path);
    struct listing_run *run;
    bool known = lister_known(m->rig->volume->lister, ino), done = false;
    size_t n = 0;

    if (!known) {
        run = listing_run_new(m->rig->volume, ino, on_listed, &done);
        rig_wait(m->rig, done);
        listing_run_free(run);
    }
    assert_int_equal(index_list(m->rig->volume->index, ino, "", 0, count, &n), 0);
    if (n != children(m, path))
        fail_msg("seed %u, step %u: %zu entries in \"%s\" instead of %zu", m->seed, m->step, n, path, children(m, path));
}

/* As the kernel opens: what was just being moved in the cloud is looked up once more. */
static int open_file(struct model *m, const char *path, struct handle *ret)
{
    int r = worker_open(m->rig, worker_find(m->rig, path), false, false, ret);

    return r == -ESTALE ? worker_open(m->rig, worker_find(m->rig, path), false, false, ret) : r;
}

static void compare_file(struct model *m, const struct entry *e)
{
    char read[64] = "";
    struct handle h;

    assert_int_equal(open_file(m, e->path, &h), 0);
    if (worker_read(m->rig, &h, 0, read, sizeof(read) - 1) < 0 || strcmp(read, content(e->content)) != 0)
        fail_msg("seed %u, step %u: %s has \"%s\" instead of \"%s\"", m->seed, m->step, e->path, read,
                 content(e->content));
    worker_close(m->rig, &h);
}

static void compare(struct model *m)
{
    compare_directory(m, "");
    for (size_t n = 0; n < m->n; n++) {
        if (!worker_find(m->rig, m->entries[n].path))
            fail_msg("seed %u, step %u: there is no %s", m->seed, m->step, m->entries[n].path);
        if (m->entries[n].dir)
            compare_directory(m, m->entries[n].path);
        else
            compare_file(m, &m->entries[n]);
    }
}

static void compare_key(struct model *m, char *key)
{
    size_t len = strlen(key);
    struct entry *e = NULL;
    bool marker = key[len - 1] == '/';
    char its[PATH_SIZE];

    if (marker)
        key[len - 1] = '\0';
    for (size_t n = 0; !e && n < m->n; n++) {
        key_of(m->entries[n].path, its);
        e = strcmp(its, key) == 0 ? &m->entries[n] : NULL;
    }
    if (!e || e->dir != marker)
        fail_msg("seed %u: %s is left in the cloud", m->seed, key);
    if (!marker)
        assert_object(m->rig, key, content(e->content), strlen(content(e->content)));
}

static void compare_cloud(struct model *m)
{
    CLEANUP_FREE char *keys = rig_keys(m->rig), *padded = xcalloc(1, strlen(keys) + 2);
    char *rest = NULL, key_at[PATH_SIZE], wanted[PATH_SIZE + 3];

    strcat(strcpy(padded, " "), keys);
    for (size_t n = 0; n < m->n; n++) {
        key_of(m->entries[n].path, key_at);
        snprintf(wanted, sizeof(wanted), m->entries[n].dir ? " %s/" : " %s ", key_at);
        if (!strstr(padded, wanted))
            fail_msg("seed %u: the cloud lacks %s, it has %s", m->seed, m->entries[n].path, keys);
    }
    for (char *key = strtok_r(keys, " ", &rest); key; key = strtok_r(NULL, " ", &rest))
        compare_key(m, key);
}

/* --- a run -------------------------------------------------------------------------------------------------------- */

/* Of others, and never looked at: some directories with a marker, some without. */
static void put_tree(struct model *m)
{
    char path[PATH_SIZE], key[PATH_SIZE], marker[PATH_SIZE + 1];

    for (unsigned n = 0; n < 40; n++) {
        pick(m, path);
        if (find(m, path))
            continue;
        key_of(path, key);
        if (strlen(key) < 4 && dice(m, 3)) {
            add(m, path, true, 0);
            snprintf(marker, sizeof(marker), "%s/", key);
            rig_put(m->rig, marker, "", 0);
        } else {
            add(m, path, false, ++m->contents);
            rig_put(m->rig, key, content(m->contents), strlen(content(m->contents)));
        }
    }
    for (size_t n = 0; n < m->n; n++) {
        key_of(m->entries[n].path, key);
        snprintf(marker, sizeof(marker), "%s/", key);
        if (m->entries[n].dir && children(m, m->entries[n].path) && dice(m, 2))
            rig_remove(m->rig, marker);
    }
}

static const struct act {
    void (*act)(struct model *m);
    unsigned weight;
} acts[] = {
    { do_move, 40 }, { do_exchange, 12 }, { do_write, 14 }, { do_mkdir, 8 }, { do_remove, 10 }, { do_list, 8 },
    { do_restart, 4 }, { do_wait, 4 }, { compare, 3 },
};

static void act(struct model *m)
{
    unsigned sum = 0, at;

    for (size_t n = 0; n < ARRAY_SIZE(acts); n++)
        sum += acts[n].weight;
    at = dice(m, sum);
    for (size_t n = 0; n < ARRAY_SIZE(acts); n++) {
        if (at < acts[n].weight) {
            acts[n].act(m);
            return;
        }
        at -= acts[n].weight;
    }
}

static unsigned number(const char *name, unsigned otherwise)
{
    const char *given = getenv(name);

    return given ? (unsigned)strtoul(given, NULL, 10) : otherwise;
}

static void run(unsigned seed, const struct world *world)
{
    struct model *m = xcalloc(1, sizeof(*m));
    void *state;

    assert_int_equal(world->set_up(&state), 0);
    *m = (struct model){ .rig = state, .world = world, .seed = seed, .random = 0x9e3779b97f4a7c15u * (seed + 1) };
    m->rig->config->settle_milliseconds = dice(m, 2) * 20;
    put_tree(m);
    for (m->step = 0; m->step < STEPS; m->step++)
        act(m);
    compare(m);
    rig_settle(m->rig);
    compare_cloud(m);
    do_restart(m);
    compare(m);
    for (size_t n = 0; n < NAMES; n++)
        assert_true(volume_rename_finished(m->rig->volume, world->names[n]));
    rig_tear_down(&state);
    free(m);
}

static void in_world(void **state)
{
    unsigned first = number("TEST_RENAME_SEED", 1), runs = number("TEST_RENAME_RUNS", RUNS);

    for (unsigned n = 0; n < runs; n++)
        run(first + n, *state);
}

int main(void)
{
#define TEST(world) { #world, in_world, NULL, NULL, (void *)(uintptr_t)&(world) }
    const struct CMUnitTest tests[] = {
        TEST(objects),
        TEST(folders),
        TEST(odd_objects),
        TEST(odd_folders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
