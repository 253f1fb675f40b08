/* Owns the process that writes notifications to the FUSE connection. Before it drops a page the kernel waits until
 * that has been written back, which is for an answer of the worker, and who waits so cannot be killed. Were it a thread
 * of the worker, one that is killed would not be gone, no successor would be started, and nobody would answer.
 *
 * It knows the connection and what it is to write there, and has the memory that the worker shares with cryptd, nothing
 * else; it ends when its worker is gone, as soon as the
 * kernel lets go of it. */
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/chunk_map.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "mountd/worker_notifier.h"

enum { CHANNEL_FD = 3 };

struct memory {
    const void *at;
    size_t size;
};

static const struct sandbox_call allowed[] = {
    SANDBOX_ANY(recvmsg), SANDBOX_ANY(sendto), SANDBOX_ANY(write), SANDBOX_ANY(writev), SANDBOX_ANY(exit_group),
    SANDBOX_ANY(rt_sigreturn),
    SANDBOX_ANY(restart_syscall),
    /* memory is given back when the filter is there */
    SANDBOX_ANY(brk), SANDBOX_ANY(munmap), SANDBOX_ANY(madvise),
};

int notifier_sandbox(struct error *e)
{
    return sandbox_enclose(allowed, ARRAY_SIZE(allowed), NULL, 0, e);
}

/* One message into bytes; a descriptor that came with it into *fuse. Its length; 0: the worker is gone. */
static ssize_t receive(char bytes[NOTICE_MAX], int *fuse)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { bytes, NOTICE_MAX };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
    ssize_t n;

    do
        n = recvmsg(CHANNEL_FD, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n > 0 && m.msg_controllen >= sizeof(control.head) && control.head.cmsg_type == SCM_RIGHTS)
        (void)memcpy(fuse, CMSG_DATA(&control.head), sizeof(*fuse));
    return n;
}

/* Where the bytes of such a notice are; NULL: it is none. */
static const uint8_t *stored(const char *bytes, ssize_t n, const struct memory *m, struct notice_store *ret)
{
    if (n != sizeof(*ret))
        return NULL;
    (void)memcpy(ret, bytes, sizeof(*ret));
    if (ret->head.error != FUSE_NOTIFY_STORE || ret->at > m->size || ret->out.size > m->size - ret->at)
        return NULL;
    return (const uint8_t *)m->at + ret->at;
}

/* What the kernel does not know needs no dropping, and no bytes: a write that fails is fine. */
static void pass_on(int fuse, const char *bytes, ssize_t n, const struct memory *m)
{
    struct notice_store store;
    const uint8_t *at = stored(bytes, n, m, &store);
    struct iovec iov[] = {
        { at ? (void *)&store : (void *)(uintptr_t)bytes, at ? offsetof(struct notice_store, at) : (size_t)n },
        { (void *)(uintptr_t)at, at ? store.out.size : 0 },
    };

    if (writev(fuse, iov, at ? 2 : 1) < 0)
        errno = 0;
}

static void serve(const struct memory *m)
{
    char bytes[NOTICE_MAX];
    int fuse = -1;
    ssize_t n;

    while ((n = receive(bytes, &fuse)) > 0) {
        if (n == 1)
            continue;   /* it brought the connection */
        pass_on(fuse, bytes, n, m);
        if (send(CHANNEL_FD, "", 1, MSG_NOSIGNAL) != 1)
            return;
    }
}

/* What ends a worker ends it when its worker is gone; the loop's handlers are not its own. */
static void ignore_signals(void)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    sigset_t none;

    for (size_t n = 0; n < ARRAY_SIZE(signals); n++)
        (void)signal(signals[n], SIG_IGN);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The code that it began with is not needed any more, but would count as its memory; what is comes back by itself. */
static int leave_code(struct dl_phdr_info *object, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (size_t n = 0; n < object->dlpi_phnum; n++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[n];
        uintptr_t at = (object->dlpi_addr + p->p_vaddr) & ~(uintptr_t)(CHUNK_PAGE - 1);

        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
            (void)madvise((void *)at, object->dlpi_addr + p->p_vaddr + p->p_memsz - at, MADV_DONTNEED);
    }
    return 0;
}

static void become(int channel, const struct memory *m)
{
    struct error e = { 0 };

    ignore_signals();
    (void)prctl(PR_SET_NAME, "landfall-notify");
    if ((channel != CHANNEL_FD && dup2(channel, CHANNEL_FD) < 0) || close_range(CHANNEL_FD + 1, ~0U, 0) < 0)
        return;
    if (notifier_sandbox(&e) < 0) {
        LOG(LOG_CRIT, "notifier_not_started", "error=%s", error_text(&e));
        return;
    }
    (void)dl_iterate_phdr(leave_code, NULL);
    serve(m);
}

int notifier_start(const void *memory, size_t size, pid_t *ret_pid)
{
    const struct memory m = { memory, size };
    sigset_t all, before;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    *ret_pid = fork();
    if (*ret_pid == 0) {
        become(pair[1], &m);
        _exit(EXIT_SUCCESS);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(pair[1]);
    if (*ret_pid > 0)
        return pair[0];
    (void)close(pair[0]);
    return -EAGAIN;
}

int notifier_connect(int channel, int fuse)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
    struct iovec iov = { (char[1]){ 0 }, 1 };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

    (void)memcpy(CMSG_DATA(&control.head), &fuse, sizeof(fuse));
    return sendmsg(channel, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
