/* Owns the memory that keys are in. Must not know what they are for. */
#include "cryptd/secret.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum { PAGE_BYTES = 4096 };

static_assert(sizeof(struct secret) <= PAGE_BYTES, "the keys must fit one page");

static int protect(void *page)
{
    if (mlock(page, PAGE_BYTES) < 0 || madvise(page, PAGE_BYTES, MADV_DONTDUMP) < 0 ||
        madvise(page, PAGE_BYTES, MADV_WIPEONFORK) < 0)
        return -errno;
    return 0;
}

int secret_new(struct secret **ret, struct error *e)
{
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int r;

    if (page == MAP_FAILED)
        return error_set(e, -errno, "There is no memory for the keys.");
    r = protect(page);
    if (r < 0) {
        (void)munmap(page, PAGE_BYTES);
        return error_set(e, r, "Memory for the keys cannot be locked: %s. Raise the memlock limit by a page.",
                         strerror(-r));
    }
    *ret = page;
    return 0;
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    secret_wipe(s, sizeof(*s));
    (void)munmap(s, PAGE_BYTES);
}

void secret_freep(struct secret **s)
{
    secret_free(*s);
}

void secret_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}

void secret_random(void *p, size_t n)
{
    assert(n <= 256);   /* then getrandom(2) is never cut short */
    if (getrandom(p, n, 0) != (ssize_t)n)
        abort();
}
