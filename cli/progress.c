/* On stderr, since stdout may be what is copied. */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/loop.h"

#define PAUSE_NS INT64_C(200000000)

static int64_t drawn_ns;

void progress_show(int64_t done, int64_t total)
{
    int64_t now = loop_now_ns();

    if (!isatty(STDERR_FILENO) || (drawn_ns && now - drawn_ns < PAUSE_NS))
        return;
    drawn_ns = now;
    fprintf(stderr, "\r%.1f MiB", (double)done / (1 << 20));
    if (total > 0)
        fprintf(stderr, " of %.1f MiB, %d %%", (double)total / (1 << 20), (int)(100.0 * (double)done / (double)total));
    fprintf(stderr, "\033[K");
}

void progress_clear(void)
{
    if (drawn_ns)
        fprintf(stderr, "\r\033[K");
    drawn_ns = 0;
}
