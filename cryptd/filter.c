/* The system calls of a serving cryptd, each with its reason; any other kills the process. */
#include "cryptd/filter.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/cleanup.h"

static const struct sandbox_call calls[] = {
    /* the loop */
    SANDBOX_ANY(epoll_wait),
    SANDBOX_ANY(epoll_ctl),
    SANDBOX_ANY(clock_gettime),
    /* peers: accepted from the inherited socket, asked for their uid, given a buffer */
    SANDBOX_ANY(accept4),
    SANDBOX_ARG(getsockopt, 1, SOL_SOCKET),
    SANDBOX_ARG(setsockopt, 1, SOL_SOCKET),
    SANDBOX_ANY(recvmsg),
    SANDBOX_ANY(sendmsg),              /* also what is said to the supervisor */
    SANDBOX_ANY(close),
    /* nonces and ids */
    SANDBOX_ANY(getrandom),
    /* the log; signals, which libevent passes to itself through a socket pair */
    SANDBOX_ANY(write),
    SANDBOX_ANY(read),
    SANDBOX_ANY(rt_sigreturn),
    SANDBOX_ANY(rt_sigaction),
    SANDBOX_ANY(rt_sigprocmask),
    /* memory that a caller shares: what it is, how large it is */
    SANDBOX_ARG(fcntl, 1, F_GET_SEALS),
    SANDBOX_ANY(fstatfs),
    SANDBOX_ANY(lseek),
    /* memory, never executable, and how much there is of it: /proc/self/statm, opened before */
    SANDBOX_ANY(pread64),
    SANDBOX_ANY(brk),
    SANDBOX_ARG(mmap, 2, PROT_READ | PROT_WRITE),
    SANDBOX_ANY(munmap),
    SANDBOX_ANY(mremap),
    /* the pool's threads and their end; parts that libcrypto sets up on first use, each once; the end of all */
    SANDBOX_ANY(futex),
    SANDBOX_ARG(madvise, 2, MADV_DONTNEED),
    SANDBOX_ANY(exit),
    SANDBOX_ANY(exit_group),
};

const struct sandbox_call *cryptd_calls(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(calls);
    return calls;
}

int cryptd_sandbox(struct error *e)
{
    return sandbox_enclose(calls, ARRAY_SIZE(calls), NULL, 0, e);
}
