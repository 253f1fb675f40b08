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

struct secret_pool {
    uint8_t *memory;
    size_t n, size, bytes, n_free;
    size_t free[];                /* indexes of slots, n_free of them */
};

/* --- pages ------------------------------------------------------------------------------------- */

static size_t whole_pages(size_t n)
{
    return (n + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static int protect(void *pages, size_t n)
{
    if (mlock(pages, n) < 0 || madvise(pages, n, MADV_DONTDUMP) < 0 || madvise(pages, n, MADV_WIPEONFORK) < 0)
        return -errno;
    return 0;
}

static int map_locked(size_t n, void **ret, struct error *e)
{
    void *pages = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int r;

    if (pages == MAP_FAILED)
        return error_set(e, -errno, "There is no memory for the keys.");
    r = protect(pages, n);
    if (r < 0) {
        (void)munmap(pages, n);
        return error_set(e, r, "Memory for the keys cannot be locked: %s. Raise the memlock limit to 4 MiB or more.",
                         strerror(-r));
    }
    *ret = pages;
    return 0;
}

/* --- the keys of the process -------------------------------------------------------------------- */

int secret_new(struct secret **ret, struct error *e)
{
    return map_locked(PAGE_BYTES, (void **)ret, e);
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

/* --- pools ------------------------------------------------------------------------------------- */

int secret_pool_new(size_t n, size_t size, struct secret_pool **ret, struct error *e)
{
    struct secret_pool *p = calloc(1, sizeof(*p) + n * sizeof(p->free[0]));
    int r;

    if (!p)
        abort();
    *p = (struct secret_pool){ .n = n, .size = (size + 63) / 64 * 64, .n_free = n };
    p->bytes = whole_pages(n * p->size);
    for (size_t i = 0; i < n; i++)
        p->free[i] = n - 1 - i;
    r = map_locked(p->bytes, (void **)&p->memory, e);
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = p;
    return 0;
}

void secret_pool_free(struct secret_pool *p)
{
    if (!p)
        return;
    secret_wipe(p->memory, p->bytes);
    (void)munmap(p->memory, p->bytes);
    free(p);
}

void *secret_pool_take(struct secret_pool *p)
{
    return p->n_free ? p->memory + p->free[--p->n_free] * p->size : NULL;
}

void secret_pool_give(struct secret_pool *p, void *slot)
{
    if (!slot)
        return;
    secret_wipe(slot, p->size);
    p->free[p->n_free++] = (size_t)((uint8_t *)slot - p->memory) / p->size;
}

/* --- bytes ------------------------------------------------------------------------------------- */

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
