/* The worker's sandbox, as data: what is left is reading and writing what it was handed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/sandbox.h"
#include "mountd/worker.h"

/* No memory becomes executable. */
#define NOT_EXECUTABLE(call) { #call, 2, PROT_EXEC, 0 }

static const struct sandbox_call allowed[] = {
    /* requests and answers, cache files */
    SANDBOX_ANY(read), SANDBOX_ANY(write), SANDBOX_ANY(readv), SANDBOX_ANY(writev), SANDBOX_ANY(pread64),
    SANDBOX_ANY(pwrite64), SANDBOX_ANY(lseek), SANDBOX_ANY(fstat), SANDBOX_ANY(fcntl), SANDBOX_ANY(close),
    /* holes only: a file that is cut short, by ftruncate(2) or by collapsing, would kill who has it mapped */
    SANDBOX_ARG(fallocate, 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
    /* channels */
    SANDBOX_ANY(sendmsg), SANDBOX_ANY(recvmsg), SANDBOX_ANY(sendto), SANDBOX_ANY(recvfrom), SANDBOX_ANY(shutdown),
    SANDBOX_ANY(getsockopt), SANDBOX_ARG(setsockopt, 1, SOL_SOCKET),
    /* the loop */
    SANDBOX_ANY(epoll_wait), SANDBOX_ANY(epoll_pwait), SANDBOX_ANY(epoll_ctl), SANDBOX_ANY(clock_gettime),
    SANDBOX_ANY(gettimeofday), SANDBOX_ANY(futex), SANDBOX_ANY(sched_yield), SANDBOX_ANY(restart_syscall),
    SANDBOX_ANY(rt_sigreturn), SANDBOX_ANY(rt_sigprocmask), SANDBOX_ANY(rt_sigaction), SANDBOX_ANY(getpid),
    SANDBOX_ANY(getuid), SANDBOX_ANY(gettid), SANDBOX_ANY(tgkill), SANDBOX_ANY(getrandom), SANDBOX_ANY(exit),
    SANDBOX_ANY(exit_group),
    /* memory */
    SANDBOX_ANY(brk), SANDBOX_ANY(munmap), SANDBOX_ANY(mremap), SANDBOX_ANY(madvise), SANDBOX_ANY(mlock),
    SANDBOX_ANY(munlock),
    NOT_EXECUTABLE(mmap), NOT_EXECUTABLE(mprotect),
};

/* What libc and libfuse try and do without. */
static const struct sandbox_deny denied[] = {
    { "ioctl", ENOTTY },
    { "newfstatat", EACCES },
};

int worker_sandbox(struct error *e)
{
    return sandbox_enclose(allowed, ARRAY_SIZE(allowed), denied, ARRAY_SIZE(denied), e);
}
