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
    struct loop *l = NULL;

    log_init("worker", LOG_INFO);
    if (worker_sandbox(&l, &e) < 0) {
        LOG(LOG_CRIT, "not_started", "error=%s", error_text(&e));
        return EXIT_FAILURE;
    }
    if (!worker_new(l, CONTROL_FD))
        return EXIT_FAILURE;
    return loop_run(l);   /* a pool thread may be inside the kernel: nothing is freed */
}
