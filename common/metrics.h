/* The metrics of Landfall: one table names each with its type, its labels and what it means. The processes answer
 * MetricsGet with samples of these rows; frontd renders them for GET /metrics. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/meter.h"
#include "common/text.h"
#include "proto/ipc.pb-c.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum metric {
    METRIC_BUILD_INFO, METRIC_UP, METRIC_RESIDENT, METRIC_UPTIME, METRIC_WORKER_RESTARTS,
    METRIC_DRIVE_INFO, METRIC_DRIVE_MOUNTED,
    METRIC_READS, METRIC_READ_BYTES, METRIC_WRITTEN_BYTES, METRIC_FUSE_SECONDS, METRIC_FUSE_ERRORS, METRIC_OPEN_FILES,
    METRIC_MISSES, METRIC_FETCHED_BYTES, METRIC_CACHE_USED, METRIC_CACHE_RESERVED, METRIC_CACHE_LIMIT,
    METRIC_CACHE_UNCONVERTED, METRIC_CACHE_OLD_KEYS, METRIC_EVICTED_BYTES,
    METRIC_PENDING, METRIC_DIRTY_BYTES, METRIC_UPLOADS_RUNNING, METRIC_UPLOADS, METRIC_CONFLICTS,
    METRIC_COPIES, METRIC_COPIED_BYTES, METRIC_ANCHOR_FAULTS,
    METRIC_CLOUD_REQUESTS, METRIC_CLOUD_SECONDS, METRIC_CLOUD_RETRIES, METRIC_SENT_BYTES, METRIC_RECEIVED_BYTES,
    METRIC_DAMAGED_DOWNLOADS,
    METRIC_SOCKETS, METRIC_SOCKET_FRAMES, METRIC_SOCKET_MISSED,
    METRIC_COUNT
};

enum { METRIC_LABELS_MAX = 4 };

struct metric_row {
    const char *name, *help;
    enum metric_type type;
    const char *labels[METRIC_LABELS_MAX + 1];   /* ends in NULL */
};

/* NULL for a number that is no row. */
const struct metric_row *metric_row(unsigned metric);

/* --- collecting ---------------------------------------------------------------------------------- */

struct samples {
    Lf__Sample **list;     /* owned, with all in them */
    size_t n;
};

/* Adds one: the values of the row's labels come in `labels`, copied; "" for one that does not apply. */
void samples_add(struct samples *s, enum metric metric, uint64_t value, const char *const *labels);
/* The same with the labels as arguments. */
#define SAMPLE(s, metric, value, ...) samples_add(s, metric, value, (const char *const[]){ __VA_ARGS__, NULL })
/* A histogram; one that has counted nothing is left out. */
void samples_add_times(struct samples *s, enum metric metric, const struct meter_times *t, const char *const *labels);
void samples_free(struct samples *s);

/* --- rendering ------------------------------------------------------------------------------------- */

/* The text of all samples in the table's order, Prometheus text format 0.0.4. Samples that do not fit their row are
 * left out: they come from another process. */
void metrics_write(struct text *out, Lf__Sample *const *samples, size_t n);
