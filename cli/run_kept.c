/* Descriptors that a daemon gave away to find them again after its own restart. */
#include <errno.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/run.h"

/* Separators of LISTEN_FDNAMES and unprintable bytes cannot be in a name: sd_listen_fds_with_names(3). */
static bool name_valid(const char *name)
{
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || *c == ':')
            return false;
    return *name && strlen(name) < RUN_NAME_MAX;
}

static bool same_file(int a, int b)
{
    pid_t self = getpid();

    return syscall(SYS_kcmp, self, self, KCMP_FILE, a, b) == 0;
}

int run_kept_add(struct run_kept *k, const char *name, int fd)
{
    int r = !name_valid(name) ? -EINVAL : k->n >= RUN_KEPT_MAX ? -ENOSPC : 0;

    for (size_t i = 0; r == 0 && i < k->n; i++)
        if (strcmp(k->items[i].name, name) == 0 && same_file(k->items[i].fd, fd))
            r = -EALREADY;
    if (r < 0) {
        (void)close(fd);
        return r == -EALREADY ? 0 : r;
    }
    strcpy(k->items[k->n].name, name);
    k->items[k->n++].fd = fd;
    return 0;
}

static void drop(struct run_kept *k, size_t i)
{
    (void)close(k->items[i].fd);
    k->items[i] = k->items[--k->n];
}

void run_kept_remove(struct run_kept *k, const char *name)
{
    for (size_t i = k->n; i-- > 0;)
        if (strcmp(k->items[i].name, name) == 0)
            drop(k, i);
}

void run_kept_prune(struct run_kept *k)
{
    for (size_t i = k->n; i-- > 0;) {
        struct pollfd p = { .fd = k->items[i].fd };

        if (poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP)))
            drop(k, i);
    }
}

void run_kept_clear(struct run_kept *k)
{
    while (k->n)
        drop(k, k->n - 1);
}
