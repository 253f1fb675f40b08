/* Runs fusermount3 with an explicit argument list and receives the FUSE connection from it over a
 * socket (libfuse, util/fusermount.c: environment _FUSE_COMMFD, one byte with SCM_RIGHTS). */
#include "mountd/fusermount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

enum { ANSWER_WAIT_MS = 20000 };

static int spawn(char *const *argv, char *const *env, pid_t *ret)
{
    sigset_t none;
    posix_spawnattr_t attr;
    int r;

    (void)sigemptyset(&none);
    if (posix_spawnattr_init(&attr) != 0)
        return -ENOMEM;
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);   /* pool threads block all signals */
    (void)posix_spawnattr_setsigmask(&attr, &none);
    r = -posix_spawn(ret, "/usr/bin/fusermount3", NULL, &attr, argv, env);
    (void)posix_spawnattr_destroy(&attr);
    return r;
}

/* 0 when it exited with status 0, -EPERM otherwise. */
static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int receive(int sock)
{
    union { struct cmsghdr head; char space[CMSG_SPACE(sizeof(int))]; } control;
    char byte;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
    };
    struct pollfd p = { .fd = sock, .events = POLLIN };
    const struct cmsghdr *c;
    int fd;

    if (poll(&p, 1, ANSWER_WAIT_MS) != 1)
        return -ETIMEDOUT;
    if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) <= 0)
        return -EPERM;
    c = CMSG_FIRSTHDR(&msg);
    if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fd)))
        return -EPROTO;
    (void)memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

int fusermount_mount(const char *path, const char *options)
{
    CLEANUP_CLOSE int ours = -1, theirs = -1, fuse = -1;
    char variable[32];
    char *const env[] = { variable, NULL };
    char *const argv[] = { (char *)"fusermount3", (char *)"-o", (char *)options, (char *)"--", (char *)path, NULL };
    int pair[2], r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = dup(pair[1]);   /* the copy is inherited */
    (void)close(pair[1]);
    (void)snprintf(variable, sizeof(variable), "_FUSE_COMMFD=%d", theirs);
    r = theirs < 0 ? -errno : spawn(argv, env, &pid);
    if (r < 0)
        return r;
    (void)close(take_fd(&theirs));
    fuse = receive(ours);
    r = wait_for(pid);
    if (fuse < 0 || r < 0)
        return fuse < 0 ? fuse : r;
    return fcntl(fuse, F_SETFL, O_RDWR | O_NONBLOCK) < 0 ? -errno : take_fd(&fuse);
}

int fusermount_unmount(const char *path, bool lazy)
{
    char *const argv[] = {
        (char *)"fusermount3", (char *)"-u", (char *)(lazy ? "-z" : "-q"), (char *)"--", (char *)path, NULL,
    };
    char *const env[] = { NULL };
    pid_t pid;
    int r = spawn(argv, env, &pid);

    if (r < 0)
        return r;
    r = wait_for(pid);
    return r == -EPERM && !lazy ? -EBUSY : r;
}
