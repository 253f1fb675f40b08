/* What the machine has of what Landfall needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "common/cleanup.h"

enum { OPEN_FILES = 65536, CLOCK_SLACK_SECONDS = 5, LANDLOCK_VERSION = 1 };

static void check_kernel(struct doctor *d)
{
    struct utsname u;
    int major = 0, minor = 0;

    (void)uname(&u);
    (void)sscanf(u.release, "%d.%d", &major, &minor);
    if (major > 6 || (major == 6 && minor >= 9))
        doctor_say(d, DOCTOR_OK, "", "Linux %s.", u.release);
    else
        doctor_say(d, DOCTOR_WARN, "All works; a newer kernel makes it faster.",
                   "Linux %s is older than 6.9: reads of cached files go through the drive's worker, and what a worker "
                   "that died had under way fails for the program that waits for it.", u.release);
}

static void check_fuse(struct doctor *d)
{
    CLEANUP_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        doctor_say(d, DOCTOR_OK, "", "/dev/fuse can be used.");
    else
        doctor_say(d, DOCTOR_FAIL, errno == ENOENT || errno == ENODEV
                   ? "`modprobe fuse`; a container has to be given the device."
                   : "Its mode is to be 0666 (udev sets it), and a container has to allow it.",
                   "/dev/fuse cannot be opened: %s. No drive can be mounted.", strerror(errno));
}

static void check_fusermount(struct doctor *d)
{
    static const char path[] = "/usr/bin/fusermount3";
    struct stat st;

    if (geteuid() == 0)
        doctor_say(d, DOCTOR_OK, "", "root mounts without fusermount3.");
    else if (stat(path, &st) < 0)
        doctor_say(d, DOCTOR_FAIL, "`apt-get install fuse3`.", "%s is not there: %s. Without root it is what mounts.",
                   path, strerror(errno));
    else if (st.st_uid != 0 || !(st.st_mode & S_ISUID))
        doctor_say(d, DOCTOR_FAIL, "`chmod u+s /usr/bin/fusermount3` as root, or `apt-get install --reinstall fuse3`.",
                   "%s is not setuid root, so it may not mount.", path);
    else
        doctor_say(d, DOCTOR_OK, "", "%s is there.", path);
}

static void check_sandbox(struct doctor *d)
{
    long landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
    int seccomp = prctl(PR_GET_SECCOMP);

    if (landlock > 0 && seccomp >= 0)
        doctor_say(d, DOCTOR_OK, "", "seccomp and Landlock (ABI %ld) are there.", landlock);
    else if (seccomp < 0)
        doctor_say(d, DOCTOR_FAIL, "Use a kernel that is built with CONFIG_SECCOMP_FILTER.",
                   "The kernel has no seccomp, which every process is confined by.");
    else
        doctor_say(d, DOCTOR_WARN, "Add landlock to lsm= on the kernel's command line.",
                   "The kernel has no Landlock, so the processes are confined less: %s.", strerror(errno));
}

/* Nobody is asked for the time: only whether somebody keeps the clock. */
static void check_clock(struct doctor *d)
{
    struct timex t = { 0 };

    if (adjtimex(&t) >= 0 && !(t.status & STA_UNSYNC))
        doctor_say(d, DOCTOR_OK, "", "The clock is synchronised.");
    else
        doctor_say(d, DOCTOR_WARN, "`timedatectl set-ntp true`, or have the host keep it.",
                   "Nothing says that the clock is synchronised. Clouds refuse requests of a clock that is 15 minutes "
                   "off.");
}

/* Where the state is on a file system of another machine the clock of that counts, too. */
static void check_file_clock(struct doctor *d)
{
    CLEANUP_CLOSE int fd = open(d->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    struct stat st;
    int64_t off;

    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    off = (int64_t)st.st_mtim.tv_sec - (int64_t)time(NULL);
    if (off >= -CLOCK_SLACK_SECONDS && off <= CLOCK_SLACK_SECONDS)
        doctor_say(d, DOCTOR_OK, "", "The file system of %s has the same time.", d->dir);
    else
        doctor_say(d, DOCTOR_WARN, "Have both machines keep their clocks.",
                   "The file system of %s is %lld seconds off this machine's clock.", d->dir, (long long)off);
}

static void check_open_files(struct doctor *d)
{
    int64_t wanted = d->config ? d->config->open_files : OPEN_FILES;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY || (int64_t)limit.rlim_max >= wanted)
        doctor_say(d, DOCTOR_OK, "", "%llu files may be open at once.", (unsigned long long)limit.rlim_max);
    else
        doctor_say(d, DOCTOR_WARN, "Raise the hard limit of `ulimit -n` (limits.conf, LimitNOFILE=), or lower "
                   "OpenFiles.",
                   "%llu files may be open at once, of the %lld of OpenFiles.", (unsigned long long)limit.rlim_max,
                   (long long)wanted);
}

static bool has_swap(void)
{
    CLEANUP_FCLOSE FILE *f = fopen("/proc/swaps", "re");
    char line[256];
    int lines = 0;

    while (f && fgets(line, sizeof(line), f))
        lines++;
    return lines > 1;
}

static void check_memory_lock(struct doctor *d)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY)
        doctor_say(d, DOCTOR_OK, "", "All memory of cryptd may be locked.");
    else if (!has_swap())
        doctor_say(d, DOCTOR_OK, "", "There is no swap that memory could get to.");
    else
        doctor_say(d, DOCTOR_WARN, "Raise the hard limit of `ulimit -l` (LimitMEMLOCK=infinity), or encrypt the swap.",
                   "Of cryptd's memory only the pages of keys are locked (%llu bytes may be); what is encrypted with "
                   "them may get to the swap.", (unsigned long long)limit.rlim_max);
}

const struct doctor_check doctor_machine[] = {
    { "kernel", check_kernel },
    { "fuse", check_fuse },
    { "fusermount3", check_fusermount },
    { "port", doctor_port },
    { "sandbox", check_sandbox },
    { "clock", check_clock },
    { "clock", check_file_clock },
    { "files", check_open_files },
    { "memory", check_memory_lock },
    { 0 },
};
