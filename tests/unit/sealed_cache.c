/* Contents of a sealed cache for tests, looked at as syncd does, and as a thief of the disk would. */
#include "tests/unit/sealed_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/content.h"

enum { MIB = 1 << 20 };

void encrypt(struct rig *rig, bool on)
{
    rig->drive.local_cache_encrypted = on;
    volume_configure(rig->volume, &rig->drive);
}

struct convert_left left(struct rig *rig)
{
    return convert_left(rig->volume->cache);
}

void settle_cache(struct rig *rig)
{
    rig_idle(rig);
    rig_wait(rig, left(rig).known && left(rig).form == 0 && left(rig).made == 0 && left(rig).wrapped == 0);
}

void switch_to(struct rig *rig, bool on)
{
    encrypt(rig, on);
    settle_cache(rig);
}

struct cache_file *acquire(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;

    assert_int_equal(index_get(rig->volume->index, ino, &i), 0);
    assert_int_equal(cache_acquire(rig->volume->cache, &i, &f), 0);
    return f;
}

bool is_sealed(struct rig *rig, uint64_t ino)
{
    struct cache_file *f = acquire(rig, ino);
    bool sealed = f->is_sealed;

    cache_release(f);
    return sealed;
}

struct reading {
    bool done;
    char *to;
};

static void on_read(const struct error *e, const uint8_t *bytes, size_t n, void *arg)
{
    struct reading *r = arg;

    if (e->code)
        fail_msg("%s", error_text(e));
    memcpy(r->to, bytes, n);
    r->done = true;
}

/* The bytes [from, from + n) of what is here, in whatever form. The caller's. */
char *read_here(struct rig *rig, uint64_t ino, uint64_t from, size_t n)
{
    static const struct content_form plain = { .form = CRYPT_PLAIN };
    struct cache_file *f = acquire(rig, ino);
    char *all = xcalloc(1, n + 1);

    for (size_t at = 0; at < n; at += MIB) {
        struct reading r = { .to = all + at };

        content_out(f, from + at, least(n - at, MIB), &plain, on_read, &r);
        rig_wait(rig, r.done);
    }
    cache_release(f);
    return all;
}

void assert_here(struct rig *rig, uint64_t ino, const char *bytes, size_t n)
{
    CLEANUP_FREE char *here = read_here(rig, ino, 0, n);
    struct cache_file *f = acquire(rig, ino);

    assert_true(cache_file_whole(f));
    assert_int_equal(cache_file_size(f), n);
    cache_release(f);
    assert_memory_equal(here, bytes, n);
}

static bool file_has(int folder, const char *name, const char *text)
{
    CLEANUP_CLOSE int fd = openat(folder, name, O_RDONLY);
    CLEANUP_FREE char *bytes = xcalloc(1, MIB + 64);
    off_t at = 0;
    ssize_t n;

    while (fd >= 0 && (at = lseek(fd, at, SEEK_DATA)) >= 0 && (n = pread(fd, bytes, MIB + 64, at)) > 0) {
        if (memmem(bytes, (size_t)n, text, strlen(text)))
            return true;
        at += least((uint64_t)n, MIB);
    }
    return false;
}

/* Whether a file of the cache, whatever its name, has that in it. */
bool cache_has(struct rig *rig, const char *text)
{
    bool has = false;

    for (unsigned low = 0; low < 256; low++) {
        int folder = cache_name_folder(rig->volume->cache->dir_fd, low, false);
        DIR *d = folder < 0 ? NULL : fdopendir(folder);

        for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
            has |= file_has(folder, e->d_name, text);
        if (d)
            (void)closedir(d);
    }
    return has;
}

/* n bytes with canaries in each chunk. */
char *canaries(size_t n, unsigned seed)
{
    char *bytes = pattern(n, seed);

    for (size_t at = 100; at + sizeof(CANARY) < n; at += CHUNK_SIZE / 2)
        memcpy(bytes + at, CANARY, sizeof(CANARY) - 1);
    return bytes;
}
