/* Who is at the other end of an accepted connection.
 *
 * A Unix socket tells by SO_PEERCRED. For TCP the kernel is asked through NETLINK_SOCK_DIAG for the
 * client's own socket, by its exact pair of addresses (sock_diag(7)). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct peer {
    bool local;   /* came through the Unix socket */
    bool known;   /* uid holds */
    uid_t uid;
    pid_t pid;    /* of who connected a Unix socket; 0: not known */
    unsigned inode; /* of the client's own TCP socket; 0: not known */
};

/* A netlink socket for peer_identify(), opened before the sandbox; CLOEXEC. Negative errno. */
int peer_open_diag(void);

/* Fills *p for the connected socket `fd`; `diag` from peer_open_diag(). A peer whose socket nobody
 * holds any more is not known: the kernel would report such an orphan as root's. */
void peer_identify(int fd, int diag, struct peer *p);
