/* What test_object_calls.c and test_offline.c share. */
#include "rig_folder.h"

#include "syncd/cache_use.h"

void on_done(const struct error *e, void *arg)
{
    struct answered *a = arg;

    assert_false(a->done);
    *a = (struct answered){ true, *e };
}

struct folder some_files(struct rig *rig)
{
    struct folder t = { .bytes = pattern(LARGE, 7) };

    rig_put(rig, "d/one", t.bytes, LARGE);
    rig_put(rig, "d/sub/two", t.bytes, MIB);
    rig_put(rig, "other", t.bytes, MIB);
    t.dir = worker_lookup(rig, INDEX_ROOT, "d");
    t.other = worker_lookup(rig, INDEX_ROOT, "other");
    return t;
}

void find_files(struct rig *rig, struct folder *t)
{
    t->one = worker_lookup(rig, t->dir, "one");
    t->sub = worker_lookup(rig, t->dir, "sub");
    t->two = worker_lookup(rig, t->sub, "two");
}

bool is_here(struct rig *rig, uint64_t ino)
{
    (void)use_flush(rig->volume->cache);
    return cache_file_has_bytes(rig->volume->cache->dir_fd, ino);
}
