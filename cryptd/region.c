/* Owns mapped memory of callers. Must not know what is in it. */
#include "cryptd/region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/alloc.h"

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, PAGE_BYTES = 4096 };

/* Of a file that is no memfd there are no seals. A memfd of huge pages may have none left when it is touched. */
static int check(int fd, struct error *e)
{
    struct statfs fs;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
        return error_set(e, -EINVAL, "The memory for bulk work is not a memfd of ordinary pages.");
    if ((seals & SEALS) != SEALS)
        return error_set(e, -EINVAL, "The memory for bulk work is not sealed against shrinking, growing and new "
                         "seals.");
    return 0;
}

int region_map(int fd, struct region **ret, struct error *e)
{
    int r = check(fd, e);
    off_t size;
    void *base;

    if (r < 0)
        return r;
    size = lseek(fd, 0, SEEK_END);
    if (size < REGION_MIN || size > REGION_MAX || size % PAGE_BYTES)
        return error_set(e, -EINVAL, "The memory for bulk work has %lld bytes; it must have %d to %d, in whole pages.",
                         (long long)size, REGION_MIN, REGION_MAX);
    base = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return error_set(e, -errno, "The memory for bulk work cannot be mapped: %s.", strerror(errno));
    *ret = xcalloc(1, sizeof(**ret));
    **ret = (struct region){ .refs = 1, .base = base, .size = (size_t)size };
    return 0;
}

struct region *region_ref(struct region *r)
{
    r->refs++;
    return r;
}

void region_unref(struct region *r)
{
    if (!r || --r->refs > 0)
        return;
    (void)munmap(r->base, r->size);
    free(r);
}

uint8_t *region_at(const struct region *r, uint64_t at, uint64_t n)
{
    return at <= r->size && n <= r->size - at ? r->base + at : NULL;
}
