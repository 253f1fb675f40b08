/* The notification protocol of sd_notify(3), receiving side: datagrams of KEY=value lines, with
 * the sender's pid attached by the kernel and perhaps descriptors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"

enum { NOTICE_BYTES_MAX = 4096 };

int run_notify_open(const char *path, uid_t uid, gid_t gid)
{
    CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int one = 1, r;
    mode_t mask;

    if (strlen(path) >= sizeof(a.sun_path))
        return -ENAMETOOLONG;
    strcpy(a.sun_path, path);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
        return -errno;
    (void)unlink(path);
    mask = umask(0177);
    r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
    (void)umask(mask);
    if (r == 0 && chown(path, uid, gid) < 0)
        r = -errno;
    return r < 0 ? r : take_fd(&fd);
}

/* Lines that say something; others (STATUS=, ERRNO=, what comes later) are passed over. */
static const struct {
    const char *line;
    size_t flag;
} lines[] = {
    { "READY=1", offsetof(struct run_notice, ready) },
    { "STOPPING=1", offsetof(struct run_notice, stopping) },
    { "WATCHDOG=1", offsetof(struct run_notice, watchdog) },
    { "WATCHDOG=trigger", offsetof(struct run_notice, watchdog_trigger) },
    { "FDSTORE=1", offsetof(struct run_notice, store) },
    { "FDSTOREREMOVE=1", offsetof(struct run_notice, unstore) },
};

static void parse_line(struct run_notice *n, const char *line)
{
    static const char name[] = "FDNAME=";

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        if (strcmp(line, lines[i].line) == 0)
            *(bool *)((char *)n + lines[i].flag) = true;
    if (strncmp(line, name, strlen(name)) == 0)
        (void)snprintf(n->name, sizeof(n->name), "%s", line + strlen(name));
}

void run_notice_parse(struct run_notice *n, char *text)
{
    char *rest = text, *line;

    while ((line = strsep(&rest, "\n")) != NULL)
        parse_line(n, line);
}

static void take_sender(struct run_notice *n, const struct cmsghdr *c)
{
    struct ucred from;

    memcpy(&from, CMSG_DATA(c), sizeof(from));
    n->sender = from.pid;
}

static void take_fds(struct run_notice *n, const struct cmsghdr *c)
{
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
        if (n->n_fds < RUN_NOTIFY_FDS_MAX)
            n->fds[n->n_fds++] = fd;
        else
            (void)close(fd);
    }
}

static void take_control(struct run_notice *n, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
            take_sender(n, c);
        else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            take_fds(n, c);
    }
}

void run_notice_close(struct run_notice *n)
{
    for (size_t i = 0; i < n->n_fds; i++)
        if (n->fds[i] >= 0)
            (void)close(n->fds[i]);
    n->n_fds = 0;
}

int run_notify_read(int fd, struct run_notice *ret)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(RUN_NOTIFY_FDS_MAX * sizeof(int))];
    } control;
    char text[NOTICE_BYTES_MAX + 1];
    struct iovec part = { text, NOTICE_BYTES_MAX };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
    ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0)
        return 0;
    *ret = (struct run_notice){ 0 };
    take_control(ret, &m);
    text[n] = '\0';
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        run_notice_close(ret);
        text[0] = '\0';
    }
    run_notice_parse(ret, text);
    return 1;
}
