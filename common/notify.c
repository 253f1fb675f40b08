/* Owns the one connection to the supervisor's notification socket. */
#include "common/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"

enum { SEND_WAIT_SECONDS = 5 };

static int socket_fd = -1;

static int connect_to(const char *name)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    const struct timeval wait = { .tv_sec = SEND_WAIT_SECONDS };
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    CLEANUP_CLOSE int fd = -1;

    if (name[0] != '/' && name[0] != '@')
        return -EINVAL;
    if (strlen(name) >= sizeof(sun.sun_path))
        return -ENAMETOOLONG;
    memcpy(sun.sun_path, name, strlen(name));
    if (name[0] == '@')
        sun.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
        connect(fd, (struct sockaddr *)&sun, len) < 0)
        return -errno;
    return take_fd(&fd);
}

int notify_open(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    int fd;

    if (!name || !name[0])
        return 0;
    fd = connect_to(name);
    (void)unsetenv("NOTIFY_SOCKET");
    if (fd < 0)
        return fd;
    notify_close();
    socket_fd = fd;
    return 0;
}

int notify_send(const char *lines, int fd)
{
    struct iovec iov = { .iov_base = (void *)lines, .iov_len = strlen(lines) };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (socket_fd < 0)
        return -ENOTCONN;
    if (fd >= 0) {
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
        };
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof(control.room);
    }
    return sendmsg(socket_fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void notify_ping(void)
{
    static const char ping[] = "WATCHDOG=1";
    struct iovec iov = { .iov_base = (void *)ping, .iov_len = sizeof(ping) - 1 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (socket_fd >= 0)
        (void)sendmsg(socket_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void notify_close(void)
{
    if (socket_fd >= 0)
        (void)close(socket_fd);
    socket_fd = -1;
}
