/* The system calls of syncd, as data. It needs files and the network, so the list is long; what it lacks
 * is the point: no exec, no new process, no mount, no namespace, no ptrace, no module, no key ring, no bpf,
 * no change of user.
 *
 * There is no Landlock here: the places syncd works in are not known when it starts. Accounts of type
 * LocalFolder name any folder, drives name their cache folders and mount points, and both come and go
 * while it runs, but a Landlock domain can only shrink. What binds it is the served user's own rights,
 * and ProtectSystem= and its kin in the unit file. */
#include "syncd/filter.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/sandbox.h"

/* From <asm-generic/ioctls.h> and <linux/fs.h>, which do not go together with other headers. */
enum { TTY_GET = 0x5401, BYTES_TO_READ = 0x541b, NON_BLOCKING = 0x5421, CLONE_FILE = 0x40049409 };

static const struct sandbox_call ALLOWED[] = {
    /* files */
    SANDBOX_ANY(open), SANDBOX_ANY(openat), SANDBOX_ANY(openat2), SANDBOX_ANY(creat), SANDBOX_ANY(close),
    SANDBOX_ANY(close_range), SANDBOX_ANY(stat), SANDBOX_ANY(lstat), SANDBOX_ANY(fstat), SANDBOX_ANY(newfstatat),
    SANDBOX_ANY(statx), SANDBOX_ANY(statfs), SANDBOX_ANY(fstatfs), SANDBOX_ANY(access), SANDBOX_ANY(faccessat),
    SANDBOX_ANY(faccessat2), SANDBOX_ANY(readlink), SANDBOX_ANY(readlinkat), SANDBOX_ANY(getdents64),
    SANDBOX_ANY(getcwd), SANDBOX_ANY(mkdir), SANDBOX_ANY(mkdirat), SANDBOX_ANY(rmdir), SANDBOX_ANY(unlink),
    SANDBOX_ANY(unlinkat), SANDBOX_ANY(rename), SANDBOX_ANY(renameat), SANDBOX_ANY(renameat2), SANDBOX_ANY(link),
    SANDBOX_ANY(linkat), SANDBOX_ANY(symlink), SANDBOX_ANY(symlinkat), SANDBOX_ANY(chmod), SANDBOX_ANY(fchmod),
    SANDBOX_ANY(fchmodat), SANDBOX_ANY(chown), SANDBOX_ANY(fchown), SANDBOX_ANY(fchownat), SANDBOX_ANY(utimensat),
    SANDBOX_ANY(umask), SANDBOX_ANY(truncate), SANDBOX_ANY(ftruncate), SANDBOX_ANY(fallocate), SANDBOX_ANY(fsync),
    SANDBOX_ANY(fdatasync), SANDBOX_ANY(sync_file_range), SANDBOX_ANY(syncfs), SANDBOX_ANY(flock),
    SANDBOX_ANY(fadvise64), SANDBOX_ANY(readahead), SANDBOX_ANY(copy_file_range), SANDBOX_ANY(sendfile),
    SANDBOX_ANY(memfd_create), SANDBOX_ANY(getxattr), SANDBOX_ANY(lgetxattr), SANDBOX_ANY(fgetxattr),
    SANDBOX_ANY(setxattr), SANDBOX_ANY(lsetxattr), SANDBOX_ANY(fsetxattr), SANDBOX_ANY(listxattr),
    SANDBOX_ANY(llistxattr), SANDBOX_ANY(flistxattr), SANDBOX_ANY(removexattr), SANDBOX_ANY(lremovexattr),
    SANDBOX_ANY(fremovexattr),
    /* descriptors */
    SANDBOX_ANY(read), SANDBOX_ANY(write), SANDBOX_ANY(readv), SANDBOX_ANY(writev), SANDBOX_ANY(pread64),
    SANDBOX_ANY(pwrite64), SANDBOX_ANY(preadv), SANDBOX_ANY(pwritev), SANDBOX_ANY(lseek), SANDBOX_ANY(splice),
    SANDBOX_ANY(tee), SANDBOX_ANY(pipe), SANDBOX_ANY(pipe2), SANDBOX_ANY(dup), SANDBOX_ANY(dup2), SANDBOX_ANY(dup3),
    SANDBOX_ANY(fcntl), SANDBOX_ANY(poll), SANDBOX_ANY(ppoll), SANDBOX_ANY(select), SANDBOX_ANY(pselect6),
    SANDBOX_ANY(epoll_create1), SANDBOX_ANY(epoll_ctl), SANDBOX_ANY(epoll_wait), SANDBOX_ANY(epoll_pwait),
    SANDBOX_ANY(eventfd2), SANDBOX_ANY(timerfd_create), SANDBOX_ANY(timerfd_settime), SANDBOX_ANY(timerfd_gettime),
    SANDBOX_ARG(ioctl, 1, TTY_GET), SANDBOX_ARG(ioctl, 1, BYTES_TO_READ), SANDBOX_ARG(ioctl, 1, NON_BLOCKING),
    SANDBOX_ARG(ioctl, 1, CLONE_FILE),
    /* sockets: local ones, the internet, and the resolver's look at the interfaces */
    SANDBOX_ARG(socket, 0, AF_UNIX), SANDBOX_ARG(socket, 0, AF_INET), SANDBOX_ARG(socket, 0, AF_INET6),
    SANDBOX_ARG(socket, 0, AF_NETLINK), SANDBOX_ARG(socketpair, 0, AF_UNIX), SANDBOX_ANY(connect), SANDBOX_ANY(bind),
    SANDBOX_ANY(accept4), SANDBOX_ANY(sendto), SANDBOX_ANY(sendmsg), SANDBOX_ANY(sendmmsg), SANDBOX_ANY(recvfrom),
    SANDBOX_ANY(recvmsg), SANDBOX_ANY(recvmmsg), SANDBOX_ANY(shutdown), SANDBOX_ANY(getsockopt),
    SANDBOX_ANY(setsockopt), SANDBOX_ANY(getsockname), SANDBOX_ANY(getpeername),
    /* threads of this process and no other process */
    { "clone", 0, CLONE_THREAD, CLONE_THREAD }, SANDBOX_ANY(futex), SANDBOX_ANY(set_robust_list),
    SANDBOX_ANY(get_robust_list), SANDBOX_ANY(rseq), SANDBOX_ANY(membarrier), SANDBOX_ANY(set_tid_address),
    SANDBOX_ANY(sched_yield), SANDBOX_ANY(sched_getaffinity), SANDBOX_ANY(sched_getparam),
    SANDBOX_ANY(sched_getscheduler), SANDBOX_ANY(exit), SANDBOX_ANY(exit_group), SANDBOX_ANY(tgkill),
    /* memory */
    SANDBOX_ANY(brk), SANDBOX_ANY(mmap), SANDBOX_ANY(mprotect), SANDBOX_ANY(munmap), SANDBOX_ANY(mremap),
    SANDBOX_ANY(madvise), SANDBOX_ANY(msync), SANDBOX_ANY(mincore), SANDBOX_ANY(mlock), SANDBOX_ANY(mlock2),
    SANDBOX_ANY(mlockall),
    SANDBOX_ANY(munlock),
    /* time, signals, facts */
    SANDBOX_ANY(clock_gettime), SANDBOX_ANY(clock_getres), SANDBOX_ANY(clock_nanosleep), SANDBOX_ANY(nanosleep),
    SANDBOX_ANY(gettimeofday), SANDBOX_ANY(time), SANDBOX_ANY(rt_sigaction), SANDBOX_ANY(rt_sigprocmask),
    SANDBOX_ANY(rt_sigreturn), SANDBOX_ANY(sigaltstack), SANDBOX_ANY(restart_syscall), SANDBOX_ANY(getrandom),
    SANDBOX_ANY(uname), SANDBOX_ANY(sysinfo), SANDBOX_ANY(getrlimit), SANDBOX_ARG(prlimit64, 2, 0),
    SANDBOX_ANY(getrusage), SANDBOX_ANY(getpid), SANDBOX_ANY(getppid), SANDBOX_ANY(gettid), SANDBOX_ANY(getuid),
    SANDBOX_ANY(geteuid), SANDBOX_ANY(getgid), SANDBOX_ANY(getegid), SANDBOX_ANY(getgroups), SANDBOX_ANY(getcpu),
};

static const struct sandbox_deny DENIED[] = {
    { "clone3", ENOSYS },   /* its flags lie in memory, out of the filter's sight; libc falls back to clone */
    { "prctl", EPERM },     /* libc names its threads */
};

int filter_load(struct error *e)
{
    return sandbox_seccomp(ALLOWED, ARRAY_SIZE(ALLOWED), DENIED, ARRAY_SIZE(DENIED), e);
}
