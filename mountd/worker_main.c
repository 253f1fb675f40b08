/* landfall-worker: started by mountd with nothing but its control channel. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/loop.h"
#include "mountd/control.h"
#include "mountd/worker.h"

int main(void)
{
    struct error e = { 0 };
    struct loop *l;

    log_init("worker", LOG_INFO);
    l = loop_new(0);
    if (!l || !worker_new(l, CONTROL_FD)) {
        LOG(LOG_CRIT, "not_started", "error=%s", "There is no memory, no descriptor or no process left for it.");
        return EXIT_FAILURE;
    }
    if (worker_sandbox(&e) < 0) {
        LOG(LOG_CRIT, "not_started", "error=%s", error_text(&e));
        return EXIT_FAILURE;
    }
    return loop_run(l);   /* the notifier may be inside the kernel for a while: nobody waits for it */
}
