/* The system calls of a serving frontd, each with its reason; any other kills the process.
 *
 * Connecting to a Unix socket by its path needs no right that Landlock knows, so no path is allowed at all. */
#include "frontd/filter.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"

/* From <asm-generic/ioctls.h>, which does not go together with other headers. */
enum { BYTES_TO_READ = 0x541b, NON_BLOCKING = 0x5421 };

static const struct sandbox_call calls[] = {
    /* the loop */
    SANDBOX_ANY(epoll_wait),
    SANDBOX_ANY(epoll_ctl),
    SANDBOX_ANY(clock_gettime),
    /* clients: accepted from the inherited sockets, asked who they are (also through the netlink socket) */
    SANDBOX_ANY(accept4),
    SANDBOX_ANY(getsockname),
    SANDBOX_ANY(getpeername),
    SANDBOX_ARG(getsockopt, 1, SOL_SOCKET),
    SANDBOX_ARG(setsockopt, 1, SOL_SOCKET),
    SANDBOX_ARG(setsockopt, 1, IPPROTO_TCP),
    SANDBOX_ARG(ioctl, 1, BYTES_TO_READ),
    SANDBOX_ARG(ioctl, 1, NON_BLOCKING),
    SANDBOX_ANY(sendto),
    SANDBOX_ANY(recvfrom),
    SANDBOX_ANY(readv),
    SANDBOX_ANY(writev),
    SANDBOX_ANY(shutdown),
    SANDBOX_ANY(close),
    /* neighbours: syncd, mountd, cryptd, and the supervisor */
    SANDBOX_ARG(socket, 0, AF_UNIX),
    SANDBOX_ANY(connect),
    SANDBOX_ANY(sendmsg),
    SANDBOX_ANY(recvmsg),
    SANDBOX_ARG(fcntl, 1, F_GETFL),
    SANDBOX_ARG(fcntl, 1, F_SETFL),
    SANDBOX_ARG(fcntl, 1, F_GETFD),
    SANDBOX_ARG(fcntl, 1, F_SETFD),
    SANDBOX_ARG(fcntl, 1, F_DUPFD_CLOEXEC),
    /* the bytes of objects, out of pipes */
    SANDBOX_ANY(read),
    /* ids, the log, and the pipe through which the loop hears of signals */
    SANDBOX_ANY(getrandom),
    SANDBOX_ANY(write),
    /* memory, never executable, and how much there is of it: /proc/self/statm, opened before */
    SANDBOX_ANY(pread64),
    SANDBOX_ANY(brk),
    SANDBOX_ARG(mmap, 2, PROT_READ | PROT_WRITE),
    SANDBOX_ANY(munmap),
    SANDBOX_ANY(mremap),
    /* signals, and the end */
    SANDBOX_ANY(rt_sigreturn),
    SANDBOX_ANY(rt_sigaction),
    SANDBOX_ANY(rt_sigprocmask),
    SANDBOX_ANY(exit_group),
};

const struct sandbox_call *frontd_calls(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(calls);
    return calls;
}

int frontd_sandbox(struct error *e)
{
    /* What libraries open at their first use they open now: gmtime_r(3) reads /etc/localtime, and json-c draws
     * the seed of its hashes, from /dev/urandom where there is nothing better. */
    tzset();
    json_object_put(json_tokener_parse("{\"first\":1}"));
    return sandbox_enclose(calls, ARRAY_SIZE(calls), NULL, 0, e);
}
