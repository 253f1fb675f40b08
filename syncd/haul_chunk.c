/* Bytes between files and memory. Must not know clouds. */
#include "syncd/haul_chunk.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/timespec.h"

int chunk_open(struct chunk *c)
{
    c->memory = memfd_create("landfall-chunk", MFD_CLOEXEC);
    if (c->memory < 0)
        return -errno;
    return ftruncate(c->memory, (off_t)c->length) < 0 ? -errno : 0;
}

void chunk_close(struct chunk *c)
{
    cleanup_close(&c->memory);
    c->memory = -1;
}

bool chunk_differs(const struct stat *a, const struct stat *b)
{
    return a->st_size != b->st_size || timespec_ns(a->st_mtim) != timespec_ns(b->st_mtim);
}

/* NULL with c->error set. An empty chunk has one byte that does not count. */
static uint8_t *map(struct chunk *c)
{
    void *bytes = mmap(NULL, c->length ? c->length : 1, PROT_READ | PROT_WRITE, MAP_SHARED, c->memory, 0);

    c->error = bytes == MAP_FAILED ? -errno : 0;
    return bytes == MAP_FAILED ? NULL : bytes;
}

static void unmap(const struct chunk *c, uint8_t *bytes)
{
    (void)munmap(bytes, c->length ? c->length : 1);
}

void chunk_read(void *chunk)
{
    struct chunk *c = chunk;
    uint8_t *bytes = map(c);
    struct stat now;

    if (!bytes)
        return;
    for (uint64_t done = 0; c->error == 0 && done < c->length;) {
        ssize_t n = pread(c->file, bytes + done, c->length - done, (off_t)(c->offset + done));

        if (n <= 0)
            c->error = n < 0 ? -errno : -ESTALE;
        else
            done += (uint64_t)n;
    }
    if (c->error == 0 && (fstat(c->file, &now) < 0 || chunk_differs(&now, c->as_opened)))
        c->error = -ESTALE;
    if (c->error == 0)
        hash_md5(bytes, c->length, c->md5);
    unmap(c, bytes);
}

void chunk_write(void *chunk)
{
    struct chunk *c = chunk;
    uint8_t *bytes = map(c);

    if (!bytes)
        return;
    for (uint64_t done = 0; c->error == 0 && done < c->length;) {
        ssize_t n = pwrite(c->file, bytes + done, c->length - done, (off_t)(c->offset + done));

        if (n < 0)
            c->error = -errno;
        else
            done += (uint64_t)n;
    }
    unmap(c, bytes);
}
