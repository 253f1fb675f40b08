/* Scope-bound release of resources, after systemd's habit: declare with a cleanup attribute,
 * hand over with take_ptr() or take_fd(). */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p) { free(*(void **)p); }
static inline void cleanup_close(int *fd) { if (*fd >= 0) (void)close(*fd); }
static inline void cleanup_fclose(FILE **f) { if (*f) (void)fclose(*f); }

#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)
#define CLEANUP_FCLOSE CLEANUP(cleanup_fclose)

/* The value of the variable, which is left NULL: its scope no longer frees it. */
#define take_ptr(p) \
    ({ __auto_type take_ptr_ = (p); (p) = NULL; take_ptr_; })

/* The descriptor, which is left -1: its scope no longer closes it. */
static inline int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
