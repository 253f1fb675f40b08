/* What the conflict tests share: what there is afterwards, and a network that goes and comes back. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool look_at(const struct index_inode *i, void *arg)
{
    struct rig_copies *c = arg;

    if (strstr(i->name, " (conflict ")) {
        c->n++;
        c->ino = i->ino;
        (void)snprintf(c->name, sizeof(c->name), "%s", i->name);
    }
    return true;
}

struct rig_copies rig_copies(struct rig *rig)
{
    struct rig_copies c = { 0 };

    assert_int_equal(index_list(rig->volume->index, INDEX_ROOT, "", 0, look_at, &c), 0);
    return c;
}

void rig_assert_file(struct rig *rig, const char *name, const char *bytes)
{
    size_t n = strlen(bytes);
    char there[64];
    struct handle h;

    assert_int_equal(worker_open(rig, worker_lookup(rig, INDEX_ROOT, name), false, false, &h), 0);
    assert_int_equal(h.size, n);
    assert_int_equal(worker_read(rig, &h, 0, there, n), n);
    assert_memory_equal(there, bytes, n);
    worker_close(rig, &h);
}

void rig_assert_both(struct rig *rig, const char *name, const char *theirs, uint64_t ino, const char *ours)
{
    struct rig_copies c;

    rig_settle(rig);
    rig_linger(rig);
    c = rig_copies(rig);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.ino, ino);
    assert_true(strncmp(c.name, name, strlen(name)) == 0);
    assert_object(rig, name, theirs, strlen(theirs));
    assert_object(rig, c.name, ours, strlen(ours));
    rig_assert_file(rig, name, theirs);
    rig_assert_file(rig, c.name, ours);
}

void rig_assert_no_copy(struct rig *rig, const char *keys)
{
    rig_settle(rig);
    rig_linger(rig);
    assert_int_equal(rig_copies(rig).n, 0);
    assert_keys(rig, keys);
}

int rig_unreachable(struct rig *rig, const struct cloud_request *r, bool after)
{
    (void)rig;
    (void)r;
    return after ? 0 : -EHOSTUNREACH;
}

static bool due_now(const struct index_inode *i, void *arg)
{
    uint64_t *inos = arg;

    inos[++inos[0]] = i->ino;
    return inos[0] < 15;
}

void rig_come_back(struct rig *rig)
{
    uint64_t inos[16] = { 0 };

    rig_idle(rig);
    rig->fault = NULL;
    assert_int_equal(index_due(rig->volume->index, INT64_MAX, 15, due_now, inos), 0);
    for (uint64_t n = 1; n <= inos[0]; n++)
        assert_int_equal(index_retry(rig->volume->index, inos[n], 0, NULL), 0);
    uploader_reached(rig->volume->uploader);
    rig->volume->uploader->graves_after_ns = 0;
    uploader_kick(rig->volume->uploader);
}

uint64_t rig_base(struct rig *rig)
{
    uint64_t ino = worker_file(rig, "a", "base", 4);

    rig_settle(rig);
    return ino;
}
