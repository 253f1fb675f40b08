/* What the worker counts, into memory that is syncd's (common/meter.h) and outlives the worker. Until the first of it
 * comes, and if it cannot be used, into memory of its own. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "mountd/worker_internal.h"

static void let_go(struct worker *w)
{
    if (w->meter_shared)
        (void)munmap(w->meter, sizeof(*w->meter));
    else
        free(w->meter);
}

void meter_begin(struct worker *w)
{
    w->meter = xcalloc(1, sizeof(*w->meter));
}

void meter_adopt(struct worker *w, int fd)
{
    void *shared = MAP_FAILED;

    if (lseek(fd, 0, SEEK_END) >= (off_t)sizeof(struct meter))
        shared = mmap(NULL, sizeof(struct meter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) {
        LOG(LOG_WARNING, "meter_unusable");
        return;
    }
    let_go(w);
    w->meter = shared;
    w->meter_shared = true;
}

void meter_end(struct worker *w)
{
    let_go(w);
}

void meter_request(struct worker *w, uint32_t opcode)
{
    w->opcode = opcode < METER_OPS ? opcode : 0;
}

static void add_part(struct op *op, enum meter_part part, int64_t ns)
{
    if (ns > 0)
        meter_time(&op->worker->meter->times[op->opcode][part], (uint64_t)ns);
}

void meter_answered(struct op *op)
{
    struct worker *w = op->worker;

    w->now_ns = loop_now_ns();
    meter_time(&w->meter->times[op->opcode][METER_LOCAL],
               (uint64_t)(w->now_ns - op->started_ns - op->syncd_ns - op->cloud_ns));
    add_part(op, METER_SYNCD, op->syncd_ns);
    add_part(op, METER_CLOUD, op->cloud_ns);
}

void meter_waited(struct op *op, uint64_t cloud_us)
{
    int64_t waited = loop_now_ns() - op->asked_ns;
    int64_t cloud = cloud_us > (uint64_t)waited / 1000 ? waited : (int64_t)cloud_us * 1000;

    op->cloud_ns += cloud;
    op->syncd_ns += waited - cloud;
}

void meter_error(struct worker *w, int error)
{
    if (error > 0 && error < METER_ERRNOS)
        meter_add(&w->meter->errors[error], 1);
}
