/* Uptime and memory of a process. */
#include "common/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/loop.h"

static struct {
    const char *name;
    int statm;
    int64_t started_ns;
    uint64_t page;
} self = { .name = "", .statm = -1 };

void process_begin(const char *name)
{
    self.name = name;
    self.started_ns = loop_now_ns();
    self.page = (uint64_t)sysconf(_SC_PAGESIZE);
    self.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

uint64_t process_resident(int statm)
{
    char line[128];
    ssize_t n = statm < 0 ? -1 : pread(statm, line, sizeof(line) - 1, 0);
    unsigned long pages;

    if (n <= 0)
        return 0;
    line[n] = '\0';
    return sscanf(line, "%*u %lu", &pages) == 1 ? pages * self.page : 0;
}

void process_samples(struct samples *s)
{
    uint64_t resident = process_resident(self.statm);

    if (resident)
        SAMPLE(s, METRIC_RESIDENT, resident, self.name, "");
    SAMPLE(s, METRIC_UPTIME, (uint64_t)(loop_now_ns() - self.started_ns) / 1000000000, self.name, "");
}

bool process_lock_memory(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY &&
           mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}
