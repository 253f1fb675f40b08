/* What mountd may still do once it runs, as data. The filter is inherited by the workers, which must
 * get through their own start under it (dynamic linking, Landlock, a stricter filter of their own),
 * and by nothing else: fusermount3 is only used where there is no filter. */
#include <sched.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/sandbox.h"
#include "mountd/mountd.h"
#include "mountd/fuse_recent.h"

/* Mounting; a directory of the user that is closed to others; workers under another user. */
static const char *const capabilities[] = { "sys_admin", "dac_read_search", "setuid", "setgid", "kill", NULL };

static const struct sandbox_call allowed[] = {
    /* mounting */
    SANDBOX_ANY(fsopen), SANDBOX_ANY(fsconfig), SANDBOX_ANY(fsmount), SANDBOX_ANY(move_mount), SANDBOX_ANY(umount2),
    SANDBOX_ANY(openat), SANDBOX_ANY(openat2), SANDBOX_ANY(getdents64), SANDBOX_ANY(statx), SANDBOX_ANY(fstat),
    SANDBOX_ANY(newfstatat), SANDBOX_ANY(access), SANDBOX_ANY(faccessat), SANDBOX_ANY(faccessat2), SANDBOX_ANY(fstatfs),
    SANDBOX_ANY(memfd_create), SANDBOX_ARG(ioctl, 1, FUSE_DEV_IOC_BACKING_OPEN),
    SANDBOX_ARG(ioctl, 1, FUSE_DEV_IOC_BACKING_CLOSE),
    SANDBOX_ARG(ioctl, 1, TCGETS),   /* "is this a terminal?" of the log and of libraries */
    /* descriptors */
    SANDBOX_ANY(read), SANDBOX_ANY(write), SANDBOX_ANY(readv), SANDBOX_ANY(writev), SANDBOX_ANY(pread64),
    SANDBOX_ANY(pwrite64), SANDBOX_ANY(lseek), SANDBOX_ANY(close), SANDBOX_ANY(close_range), SANDBOX_ANY(dup),
    SANDBOX_ANY(dup2), SANDBOX_ANY(dup3), SANDBOX_ANY(fcntl), SANDBOX_ANY(poll), SANDBOX_ANY(ppoll),
    SANDBOX_ANY(epoll_create1), SANDBOX_ANY(epoll_ctl), SANDBOX_ANY(epoll_wait), SANDBOX_ANY(epoll_pwait),
    SANDBOX_ANY(eventfd2), SANDBOX_ANY(pipe2), SANDBOX_ANY(timerfd_create), SANDBOX_ANY(timerfd_settime),
    /* local sockets, nothing else */
    SANDBOX_ARG(socket, 0, AF_UNIX), SANDBOX_ARG(socketpair, 0, AF_UNIX), SANDBOX_ANY(connect), SANDBOX_ANY(accept4),
    SANDBOX_ANY(sendmsg), SANDBOX_ANY(sendto), SANDBOX_ANY(recvmsg), SANDBOX_ANY(recvfrom), SANDBOX_ANY(shutdown),
    SANDBOX_ANY(getsockopt), SANDBOX_ANY(setsockopt), SANDBOX_ANY(getsockname), SANDBOX_ANY(getpeername),
    /* workers */
    SANDBOX_ANY(clone), SANDBOX_ANY(clone3), SANDBOX_ANY(vfork), SANDBOX_ANY(execve), SANDBOX_ANY(wait4),
    SANDBOX_ANY(waitid), SANDBOX_ANY(kill), SANDBOX_ANY(tgkill), SANDBOX_ANY(prlimit64), SANDBOX_ANY(getrlimit),
    SANDBOX_ANY(setrlimit), SANDBOX_ANY(setgroups), SANDBOX_ANY(setresgid), SANDBOX_ANY(setresuid), SANDBOX_ANY(prctl),
    SANDBOX_ANY(seccomp), SANDBOX_ANY(capget), SANDBOX_ANY(capset), SANDBOX_ANY(landlock_create_ruleset),
    SANDBOX_ANY(landlock_add_rule), SANDBOX_ANY(landlock_restrict_self), SANDBOX_ANY(arch_prctl),
    SANDBOX_ANY(set_tid_address), SANDBOX_ANY(readlink), SANDBOX_ANY(readlinkat), SANDBOX_ANY(splice),
    SANDBOX_ANY(fallocate), SANDBOX_ANY(ftruncate), SANDBOX_ANY(mlock2),   /* also what a worker shares with cryptd */
    SANDBOX_ANY(fstatfs),   /* libcap-ng, when it is loaded */
    /* memory, threads, time, ends */
    SANDBOX_ANY(brk), SANDBOX_ANY(mmap), SANDBOX_ANY(mprotect), SANDBOX_ANY(munmap), SANDBOX_ANY(mremap),
    SANDBOX_ANY(madvise), SANDBOX_ANY(mlock), SANDBOX_ANY(munlock), SANDBOX_ANY(futex), SANDBOX_ANY(set_robust_list),
    SANDBOX_ANY(rseq),
    SANDBOX_ANY(membarrier),
    SANDBOX_ANY(sched_yield), SANDBOX_ANY(sched_getaffinity), SANDBOX_ANY(rt_sigaction), SANDBOX_ANY(rt_sigprocmask),
    SANDBOX_ANY(rt_sigreturn), SANDBOX_ANY(sigaltstack), SANDBOX_ANY(clock_gettime), SANDBOX_ANY(clock_nanosleep),
    SANDBOX_ANY(gettimeofday), SANDBOX_ANY(restart_syscall), SANDBOX_ANY(getrandom), SANDBOX_ANY(uname),
    SANDBOX_ANY(getpid), SANDBOX_ANY(getppid), SANDBOX_ANY(gettid), SANDBOX_ANY(getuid), SANDBOX_ANY(geteuid),
    SANDBOX_ANY(getgid), SANDBOX_ANY(getegid), SANDBOX_ANY(exit), SANDBOX_ANY(exit_group),
};

int mountd_sandbox(bool privileged, struct error *e)
{
    int r = privileged ? sandbox_capabilities(capabilities, e) : 0;

    if (r < 0)
        return r;
    if (!privileged) {
        LOG(LOG_NOTICE, "no_filter", "reason=%s", "without root fusermount3 mounts, which a filter would disarm");
        return 0;
    }
    return sandbox_seccomp(allowed, ARRAY_SIZE(allowed), NULL, 0, e);
}
