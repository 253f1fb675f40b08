/* libc's functions, each a step and then the system call itself. */
#include "tests/unit/crash_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { WAL_FRAME_HEAD = 24 };

static struct crash_steps *steps;
static _Atomic int written = -1;   /* the file that was written to last, when nothing else came since */
static _Atomic bool committing;

void crash_steps_set(struct crash_steps *s)
{
    steps = s;
}

static void step(void)
{
    if (steps && steps->armed && steps->left-- == 0) {
        (void)kill(getpid(), SIGKILL);
        (void)pause();
    }
}

/* Bytes for sockets, pipes and the log are no steps. */
static bool counts(int fd)
{
    struct stat st;

    return steps && steps->armed && fd > STDERR_FILENO && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static void step_on(int fd)
{
    if (counts(fd)) {
        written = -1;
        step();
    }
}

/* The head of a frame of sqlite's log that ends a transaction (https://www.sqlite.org/fileformat2.html#walformat); its
 * page comes next. */
static bool is_commit(const unsigned char *bytes, size_t n)
{
    return n == WAL_FRAME_HEAD && (bytes[4] | bytes[5] | bytes[6] | bytes[7]) != 0;
}

/* Of writes to one file in a row the first is a step, and the first after each commit: nobody reads before that what is
 * written in between. */
static void step_write(int fd, const void *bytes, size_t n)
{
    if (!counts(fd))
        return;
    if (written != fd)
        step();
    written = committing ? -1 : fd;
    committing = is_commit(bytes, n);
}

#define WRITE(name, number, parameters, fd, bytes, n, ...) \
    ssize_t name parameters \
    { \
        step_write(fd, bytes, n); \
        return syscall(number, fd, bytes, n __VA_OPT__(, ) __VA_ARGS__); \
    }
#define CHANGE(name, number, parameters, ...) \
    int name parameters \
    { \
        written = -1; \
        step(); \
        return (int)syscall(number, __VA_ARGS__); \
    }
#define CHANGE_FD(name, number, parameters, fd, ...) \
    int name parameters \
    { \
        step_on(fd); \
        return (int)syscall(number, fd, __VA_ARGS__); \
    }

WRITE(write, SYS_write, (int fd, const void *bytes, size_t n), fd, bytes, n)
WRITE(pwrite, SYS_pwrite64, (int fd, const void *bytes, size_t n, off_t at), fd, bytes, n, at)
WRITE(pwrite64, SYS_pwrite64, (int fd, const void *bytes, size_t n, off64_t at), fd, bytes, n, at)
CHANGE_FD(ftruncate, SYS_ftruncate, (int fd, off_t size), fd, size)
CHANGE_FD(ftruncate64, SYS_ftruncate, (int fd, off64_t size), fd, size)
CHANGE_FD(fallocate, SYS_fallocate, (int fd, int mode, off_t at, off_t n), fd, mode, at, n)
CHANGE_FD(fallocate64, SYS_fallocate, (int fd, int mode, off64_t at, off64_t n), fd, mode, at, n)
CHANGE_FD(fsetxattr, SYS_fsetxattr, (int fd, const char *name, const void *value, size_t n, int flags), fd, name,
          value, n, flags)
CHANGE_FD(fremovexattr, SYS_fremovexattr, (int fd, const char *name), fd, name)
CHANGE(unlink, SYS_unlinkat, (const char *path), AT_FDCWD, path, 0)
CHANGE(unlinkat, SYS_unlinkat, (int dir, const char *path, int flags), dir, path, flags)
CHANGE(mkdir, SYS_mkdirat, (const char *path, mode_t mode), AT_FDCWD, path, mode)
CHANGE(mkdirat, SYS_mkdirat, (int dir, const char *path, mode_t mode), dir, path, mode)
CHANGE(symlinkat, SYS_symlinkat, (const char *target, int dir, const char *path), target, dir, path)
CHANGE(renameat, SYS_renameat2, (int from_dir, const char *from, int to_dir, const char *to), from_dir, from, to_dir,
       to, 0)
CHANGE(renameat2, SYS_renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags), from_dir,
       from, to_dir, to, flags)

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags)
{
    step_on(to);
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, n, flags);
}

/* What a killed process leaves need not be on a disk. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int syncfs(int fd)
{
    (void)fd;
    return 0;
}
