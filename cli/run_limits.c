/* What the supervisor and its daemons do not take over from whoever started them: environment and capabilities. */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"

/* What the supervisor reads: where DIR is when nobody says, and whom to serve. */
static const char *const read_names[] = { "HOME", "XDG_DATA_HOME", "SUDO_USER" };

static bool is_read(const char *entry)
{
    for (size_t i = 0; i < ARRAY_SIZE(read_names); i++) {
        size_t n = strlen(read_names[i]);

        if (strncmp(entry, read_names[i], n) == 0 && entry[n] == '=')
            return true;
    }
    return false;
}

/* Clearing it in place would leave /proc/PID/environ as it was: that shows the memory exec filled. */
int run_limits_environment(char **argv)
{
    char *kept[ARRAY_SIZE(read_names) + 1] = { NULL }, self[PATH_MAX];
    size_t n = 0, all = 0;
    ssize_t len;

    for (; environ[all]; all++)
        if (n < ARRAY_SIZE(read_names) && is_read(environ[all]))
            kept[n++] = environ[all];
    if (n == all)
        return 0;
    len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len < 0)
        return -errno;
    self[len] = '\0';
    (void)execve(self, argv, kept);
    return -errno;
}

/* --- capabilities ----------------------------------------------------------------------------- */

/* Changes the three sets of this thread: inheritable becomes empty, of the others stays what is in `keep`. */
static int cut_own(uint64_t keep)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2] = { 0 };

    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
        data[i].permitted &= (uint32_t)(keep >> (32 * i));
        data[i].effective &= (uint32_t)(keep >> (32 * i));
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* The bounding set only shrinks with CAP_SETPCAP; without it the process has nothing that the set could give back. */
int run_limits_bound(uint64_t keep)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
            return -errno;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? -errno : cut_own(UINT64_MAX);
}

int run_limits_capabilities(uint64_t keep)
{
    int r = run_limits_bound(keep);

    return r < 0 ? r : cut_own(keep);
}
