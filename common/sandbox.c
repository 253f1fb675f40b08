/* Owns the ways a process gives up rights: seccomp filter, Landlock, capabilities, dumpability.
 *
 * Landlock domains and capabilities are a thread's, not a process's, so both are entered by every
 * thread there is: each is sent SANDBOX_SIGNAL and enters in the handler, as glibc does for setuid(2).
 * Must not know which daemon gives up what.
 */
#include "common/sandbox.h"

#include <assert.h>
#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

#ifdef LANDFALL_SANITIZED
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

static bool left_out(const char *what)
{
    if (SANITIZED)
        LOG(LOG_WARNING, "sandbox_left_out", "part=%s", what, "reason=%s", "built with sanitizers");
    return SANITIZED;
}

/* --- every thread ------------------------------------------------------------------------------ */

enum { ENTER_WAIT_MS = 5000 };

/* Set before the signal is sent, read in its handler: one thread after the other. */
static struct {
    int (*enter)(void);           /* async-signal-safe; 0 or negative errno */
    _Atomic int result;           /* 1: not there yet */
} entering;

static void on_sandbox_signal(int signal)
{
    int saved = errno;

    (void)signal;
    atomic_store(&entering.result, entering.enter());
    errno = saved;
}

static int enter_in_thread(pid_t tid)
{
    const struct timespec pause = { .tv_nsec = 1000000 };

    atomic_store(&entering.result, 1);
    if (syscall(SYS_tgkill, getpid(), tid, SANDBOX_SIGNAL) < 0)
        return errno == ESRCH ? 0 : -errno;
    for (int ms = 0; ms < ENTER_WAIT_MS && atomic_load(&entering.result) == 1; ms++)
        (void)nanosleep(&pause, NULL);
    return atomic_load(&entering.result) == 1 ? -ETIMEDOUT : atomic_load(&entering.result);
}

static int enter_in_others(void)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *entry;
    int r = 0;

    if (!tasks)
        return -errno;
    while (r == 0 && (entry = readdir(tasks))) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (tid > 0 && tid != gettid())
            r = enter_in_thread(tid);
    }
    (void)closedir(tasks);
    return r;
}

/* The calling thread goes last: what `enter` takes away is still needed to find the others. */
static int enter_in_all(int (*enter)(void))
{
    struct sigaction action = { .sa_handler = on_sandbox_signal, .sa_flags = SA_RESTART }, before;
    int r;

    entering.enter = enter;
    if (sigaction(SANDBOX_SIGNAL, &action, &before) < 0)
        return -errno;
    r = enter_in_others();
    if (r == 0)
        r = enter();
    (void)sigaction(SANDBOX_SIGNAL, &before, NULL);
    return r;
}

/* --- seccomp ----------------------------------------------------------------------------------- */

static int find_call(const char *name, int *ret, struct error *e)
{
    *ret = seccomp_syscall_resolve_name(name);
    if (*ret == __NR_SCMP_ERROR)
        return error_set(e, -EINVAL, "The sandbox names %s, which is no system call.", name);
    return 0;
}

static int add_allowed(scmp_filter_ctx filter, const struct sandbox_call *row, struct error *e)
{
    struct scmp_arg_cmp cmp = {
        .arg = row->arg < 0 ? 0 : (unsigned)row->arg,
        .op = SCMP_CMP_MASKED_EQ, .datum_a = row->mask, .datum_b = row->value,
    };
    int number, r = find_call(row->name, &number, e);

    if (r < 0)
        return r;
    r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, row->arg < 0 ? 0 : 1, &cmp);
    return r < 0 ? error_set(e, r, "The sandbox cannot allow %s: %s.", row->name, strerror(-r)) : 0;
}

static int add_denied(scmp_filter_ctx filter, const struct sandbox_deny *row, struct error *e)
{
    int number, r = find_call(row->name, &number, e);

    if (r < 0)
        return r;
    r = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t)row->error), number, 0);
    return r < 0 ? error_set(e, r, "The sandbox cannot deny %s: %s.", row->name, strerror(-r)) : 0;
}

static int fill(scmp_filter_ctx filter, const struct sandbox_call *allow, size_t n_allow,
                const struct sandbox_deny *deny, size_t n_deny, struct error *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n_allow; i++)
        r = add_allowed(filter, &allow[i], e);
    for (size_t i = 0; r == 0 && i < n_deny; i++)
        r = add_denied(filter, &deny[i], e);
    if (r < 0)
        return r;
    r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_load(filter);
    return r < 0 ? error_set(e, r, "The system call filter cannot be loaded: %s.", strerror(-r)) : 0;
}

int sandbox_seccomp(const struct sandbox_call *allow, size_t n_allow,
                    const struct sandbox_deny *deny, size_t n_deny, struct error *e)
{
    scmp_filter_ctx filter;
    int r;

    if (left_out("seccomp"))
        return 0;
    filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return error_set(e, -ENOMEM, "The system call filter cannot be built.");
    r = fill(filter, allow, n_allow, deny, n_deny, e);
    seccomp_release(filter);
    return r;
}

/* --- Landlock ---------------------------------------------------------------------------------- */

/* What Debian 12's headers (kernel 6.1, ABI 2) lack. Documentation/userspace-api/landlock.rst. */
enum {
    FS_TRUNCATE = 1 << 14,         /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15,        /* ABI 5 */
    NET_ALL = 3,                   /* ABI 4: bind, connect over TCP */
    SCOPE_ALL = 3,                 /* ABI 6: abstract sockets, signals */
};

struct ruleset {
    uint64_t fs, net, scoped;
};

enum {
    FS_FILE_READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE,
    FS_READ = FS_FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR,
    FS_FILE_WRITE = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
    FS_ALL_ABI1 = (1 << 13) - 1,
};

/* All that the running kernel can deny. An older one wants the bits it does not know to be 0. */
static struct ruleset deniable(int abi)
{
    struct ruleset all = { .fs = FS_ALL_ABI1 };

    if (abi >= 2)
        all.fs |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        all.fs |= FS_TRUNCATE;
    if (abi >= 4)
        all.net = NET_ALL;
    if (abi >= 5)
        all.fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        all.scoped = SCOPE_ALL;
    return all;
}

static uint64_t granted(const struct stat *st, bool write, uint64_t deniable_fs)
{
    if (S_ISDIR(st->st_mode))
        return deniable_fs & (write ? ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE : (uint64_t)FS_READ);
    return deniable_fs & (uint64_t)(write ? FS_FILE_WRITE : FS_FILE_READ);
}

static int add_path(int ruleset, const struct sandbox_path *row, uint64_t fs, struct error *e)
{
    CLEANUP_CLOSE int fd = open(row->path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr beneath = { .parent_fd = fd };
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, -errno, "The sandbox cannot look at %s: %s.", row->path, strerror(errno));
    beneath.allowed_access = granted(&st, row->write, fs);
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
        return error_set(e, -errno, "The sandbox cannot allow %s: %s.", row->path, strerror(errno));
    return 0;
}

static int entered_ruleset = -1;

static int restrict_self(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, entered_ruleset, 0) < 0)
        return -errno;
    return 0;
}

int sandbox_landlock(const struct sandbox_path *rows, struct error *e)
{
    CLEANUP_CLOSE int fd = -1;
    struct ruleset all;
    long abi;
    int r;

    if (left_out("landlock"))
        return 0;
    abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0) {
        LOG(LOG_WARNING, "sandbox_left_out", "part=%s", "landlock", "reason=%s", strerror(errno));
        return 0;
    }
    all = deniable((int)abi);
    fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
    if (fd < 0)
        return error_set(e, -errno, "The file system sandbox cannot be built: %s.", strerror(errno));
    for (; rows && rows->path; rows++)
        if ((r = add_path(fd, rows, all.fs, e)) < 0)
            return r;
    entered_ruleset = fd;
    r = enter_in_all(restrict_self);
    entered_ruleset = -1;
    return r < 0 ? error_set(e, r, "The file system sandbox cannot be entered: %s.", strerror(-r)) : 0;
}

/* --- capabilities ------------------------------------------------------------------------------ */

static uint64_t kept_capabilities;

/* One that is not in the bounding set any more needs no privilege to stay out. */
static int keep_capabilities(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };

    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(kept_capabilities >> cap & 1) && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -errno;
    for (size_t i = 0; i < 2; i++)
        data[i].effective = data[i].permitted = (uint32_t)(kept_capabilities >> (32 * i));
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capset, &header, data) < 0)
        return -errno;
    return 0;
}

int sandbox_capabilities(const char *const *keep, struct error *e)
{
    int r;

    if (geteuid() != 0)
        return 0;
    kept_capabilities = 0;
    for (; *keep; keep++) {
        int cap = capng_name_to_capability(*keep);

        if (cap < 0)
            return error_set(e, -EINVAL, "The sandbox names %s, which is no capability.", *keep);
        kept_capabilities |= UINT64_C(1) << cap;
    }
    r = enter_in_all(keep_capabilities);
    return r < 0 ? error_set(e, r, "Capabilities cannot be given up: %s.", strerror(-r)) : 0;
}

/* --- memory ------------------------------------------------------------------------------------ */

int sandbox_undumpable(struct error *e)
{
    const struct rlimit none = { 0, 0 };

    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return error_set(e, -errno, "Core dumps cannot be forbidden: %s.", strerror(errno));
    return 0;
}

/* --- everything ----------------------------------------------------------------------------------- */

int sandbox_enclose(const struct sandbox_call *allow, size_t n_allow,
                    const struct sandbox_deny *deny, size_t n_deny, struct error *e)
{
    static const char *const none[] = { NULL };
    int r = sandbox_capabilities(none, e);

    if (r == 0)
        r = sandbox_undumpable(e);
    if (r == 0)
        r = sandbox_landlock(NULL, e);
    return r == 0 ? sandbox_seccomp(allow, n_allow, deny, n_deny, e) : r;
}
