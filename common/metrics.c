/* The table of metrics, and their text form. Knows nothing of where the numbers come from. */
#include "common/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

#define NS_PER_S UINT64_C(1000000000)

#define ROW(id, type, name, help, ...) [METRIC_##id] = { "landfall_" name, help, METRIC_##type, { __VA_ARGS__ } }

static const struct metric_row rows[METRIC_COUNT] = {
    ROW(BUILD_INFO, GAUGE, "build_info",
        "Always 1; the version is a label.",
        "version"),
    ROW(UP, GAUGE, "up",
        "Whether the process answered this question.",
        "process"),
    ROW(RESIDENT, GAUGE, "process_resident_memory_bytes",
        "Memory that the process has in RAM.",
        "process", "drive"),
    ROW(UPTIME, GAUGE, "process_uptime_seconds",
        "How long the process has been running.",
        "process", "drive"),
    ROW(WORKER_RESTARTS, COUNTER, "worker_restarts_total",
        "Workers that came after another one's end, since mountd took the drive up.",
        "drive"),
    ROW(DRIVE_INFO, GAUGE, "drive_info",
        "Always 1; says what the drive is.",
        "drive", "id", "bucket", "mount_point"),
    ROW(DRIVE_MOUNTED, GAUGE, "drive_mounted",
        "Whether the drive is mounted.",
        "drive"),
    ROW(READS, COUNTER, "reads_total",
        "Reads of the kernel that were answered from the cache file at once (hit) or after asking for content "
        "(wait). The kernel answers reads from its page cache, and of files in passthrough mode, by itself: "
        "those are not seen.",
        "drive", "result"),
    ROW(READ_BYTES, COUNTER, "read_bytes_total",
        "Bytes in answers to reads of the kernel.",
        "drive"),
    ROW(WRITTEN_BYTES, COUNTER, "written_bytes_total",
        "Bytes that the kernel passed on to be written.",
        "drive"),
    ROW(FUSE_SECONDS, HISTOGRAM, "fuse_request_seconds",
        "Time from reading a request of the kernel to its answer: in the worker with its cache files (local), "
        "waiting for syncd, waiting for the cloud.",
        "drive", "operation", "part"),
    ROW(FUSE_ERRORS, COUNTER, "fuse_errors_total",
        "Requests of the kernel that were answered with an error.",
        "drive", "error"),
    ROW(OPEN_FILES, GAUGE, "open_files",
        "Files that the worker has open, by the strongest way.",
        "drive", "mode"),
    ROW(MISSES, COUNTER, "cache_misses_total",
        "Requests of programs that needed content which was not here: it never was (absent), was given up for "
        "space (evicted), is another version by now (changed), or was on its way already (arriving).",
        "drive", "reason"),
    ROW(FETCHED_BYTES, COUNTER, "fetched_bytes_total",
        "Content that came into the cache, by what it was fetched for.",
        "drive", "why"),
    ROW(CACHE_USED, GAUGE, "cache_used_bytes",
        "Disk space of the cache.",
        "drive"),
    ROW(CACHE_RESERVED, GAUGE, "cache_reserved_bytes",
        "Disk space that is promised to downloads and writers.",
        "drive"),
    ROW(CACHE_LIMIT, GAUGE, "cache_limit_bytes",
        "maximumCacheSize; 0: none.",
        "drive"),
    ROW(CACHE_UNCONVERTED, GAUGE, "cache_unconverted_files",
        "Files of the cache that are not encrypted though they shall be, or the other way round. Missing "
        "until all were looked at.",
        "drive"),
    ROW(CACHE_OLD_KEYS, GAUGE, "cache_old_key_files",
        "Files of the cache whose keys were made before the drive's were rotated last.",
        "drive"),
    ROW(EVICTED_BYTES, COUNTER, "evicted_bytes_total",
        "Content that was given up to make room for reads, for what stays (writes and pins), or because the "
        "limit or the disk became smaller.",
        "drive", "reason"),
    ROW(PENDING, GAUGE, "pending_changes",
        "Changes that are not in the cloud yet.",
        "drive"),
    ROW(DIRTY_BYTES, GAUGE, "dirty_bytes",
        "Size of the files whose content is not in the cloud yet.",
        "drive"),
    ROW(UPLOADS_RUNNING, GAUGE, "uploads_running",
        "Changes that are being made in the cloud right now.",
        "drive"),
    ROW(UPLOADS, COUNTER, "uploads_total",
        "Changes that were brought to the cloud (ok), or tries that failed.",
        "drive", "result"),
    ROW(CONFLICTS, COUNTER, "conflicts_total",
        "Files that two sides changed, of which both versions were kept.",
        "drive"),
    ROW(COPIES, COUNTER, "cloud_copies_total",
        "Files that a program copied and the cloud made, without their bytes coming here.",
        "drive"),
    ROW(COPIED_BYTES, COUNTER, "cloud_copied_bytes_total",
        "Bytes of these, which were neither downloaded nor uploaded.",
        "drive"),
    ROW(ANCHOR_FAULTS, GAUGE, "version_segments_faulty",
        "Segments of version anchors that are missing, older than they were, or unreadable.",
        "drive"),
    ROW(CLOUD_REQUESTS, COUNTER, "cloud_requests_total",
        "Requests to the cloud as they ended, retries included in one.",
        "drive", "operation", "result"),
    ROW(CLOUD_SECONDS, HISTOGRAM, "cloud_request_seconds",
        "Time until a request to the cloud ended, with its retries and the waits between them.",
        "drive", "operation"),
    ROW(CLOUD_RETRIES, COUNTER, "cloud_retries_total",
        "Tries of requests to the cloud after one that failed.",
        "drive", "operation"),
    ROW(SENT_BYTES, COUNTER, "cloud_sent_bytes_total",
        "Content in requests that the cloud took.",
        "drive"),
    ROW(RECEIVED_BYTES, COUNTER, "cloud_received_bytes_total",
        "Content that came from the cloud.",
        "drive"),
    ROW(DAMAGED_DOWNLOADS, COUNTER, "cloud_corrupted_downloads_total",
        "Downloads of whole objects that brought other bytes than the ETag names, and were made again.",
        "drive"),
    ROW(SOCKETS, GAUGE, "websockets", "WebSockets that are open.", "path"),
    ROW(SOCKET_FRAMES, COUNTER, "websocket_frames_total", "Frames that were made for all who listen at a path.",
        "path"),
    ROW(SOCKET_MISSED, COUNTER, "websocket_missed_frames_total",
        "Frames that clients were told in gap markers that they missed, since they read too slowly or came too late.",
        "path"),
};

const struct metric_row *metric_row(unsigned metric)
{
    return metric < METRIC_COUNT ? &rows[metric] : NULL;
}

static size_t count_labels(const struct metric_row *row)
{
    size_t n = 0;

    while (row->labels[n])
        n++;
    return n;
}

/* --- collecting ----------------------------------------------------------------------------------- */

static Lf__Sample *add(struct samples *s, enum metric metric, uint64_t value, const char *const *labels)
{
    Lf__Sample *sample = xcalloc(1, sizeof(*sample));

    lf__sample__init(sample);
    sample->metric = metric;
    sample->value = value;
    sample->n_labels = count_labels(&rows[metric]);
    sample->labels = xcalloc(sample->n_labels, sizeof(*sample->labels));
    for (size_t i = 0; i < sample->n_labels; i++)
        sample->labels[i] = xstrdup(labels[i]);
    *xadd(s->list, s->n) = sample;
    return sample;
}

void samples_add(struct samples *s, enum metric metric, uint64_t value, const char *const *labels)
{
    (void)add(s, metric, value, labels);
}

void samples_add_times(struct samples *s, enum metric metric, const struct meter_times *t, const char *const *labels)
{
    uint64_t buckets[METER_BUCKETS], n = 0;
    Lf__Sample *sample;

    for (size_t k = 0; k < METER_BUCKETS; k++)
        n += buckets[k] = meter_get(&t->buckets[k]);
    if (n == 0)
        return;
    sample = add(s, metric, meter_get(&t->sum_ns), labels);
    sample->n_buckets = METER_BUCKETS;
    sample->buckets = xcalloc(METER_BUCKETS, sizeof(buckets[0]));
    memcpy(sample->buckets, buckets, sizeof(buckets));
}

void samples_free(struct samples *s)
{
    for (size_t i = 0; i < s->n; i++)
        lf__sample__free_unpacked(s->list[i], NULL);
    free(s->list);
    *s = (struct samples){ 0 };
}

/* --- rendering -------------------------------------------------------------------------------------- */

static void put_escaped(struct text *out, const char *value, bool quotes)
{
    for (; *value; value++) {
        if (*value == '\n')
            text_puts(out, "\\n");
        else if (*value == '\\' || (quotes && *value == '"'))
            text_printf(out, "\\%c", *value);
        else
            text_add(out, value, 1);
    }
}

/* `le` (may be NULL) comes last. What does not apply is not there, which Prometheus takes for the same as "". */
static void put_labels(struct text *out, const struct metric_row *row, const Lf__Sample *s, const char *le)
{
    const char *before = "{";

    for (size_t i = 0; i < s->n_labels; i++) {
        if (!*s->labels[i])
            continue;
        text_printf(out, "%s%s=\"", before, row->labels[i]);
        put_escaped(out, s->labels[i], true);
        text_puts(out, "\"");
        before = ",";
    }
    if (le)
        text_printf(out, "%sle=\"%s\"", before, le);
    if (le || *before == ',')
        text_puts(out, "}");
}

static void put_histogram(struct text *out, const struct metric_row *row, const Lf__Sample *s)
{
    uint64_t n = 0;

    for (size_t k = 0; k < s->n_buckets; k++) {
        char le[32] = "+Inf";

        if (k + 1 < s->n_buckets)
            (void)snprintf(le, sizeof(le), "%.9g", 1e-6 * (double)(UINT64_C(1) << (2 * k)));
        n += s->buckets[k];
        text_printf(out, "%s_bucket", row->name);
        put_labels(out, row, s, le);
        text_printf(out, " %" PRIu64 "\n", n);
    }
    text_printf(out, "%s_sum", row->name);
    put_labels(out, row, s, NULL);
    text_printf(out, " %" PRIu64 ".%09" PRIu64 "\n%s_count", s->value / NS_PER_S, s->value % NS_PER_S, row->name);
    put_labels(out, row, s, NULL);
    text_printf(out, " %" PRIu64 "\n", n);
}

static void put_sample(struct text *out, const struct metric_row *row, const Lf__Sample *s)
{
    if (row->type == METRIC_HISTOGRAM) {
        put_histogram(out, row, s);
        return;
    }
    text_puts(out, row->name);
    put_labels(out, row, s, NULL);
    text_printf(out, " %" PRIu64 "\n", s->value);
}

static bool fits(const Lf__Sample *s, unsigned metric)
{
    return s->metric == metric && s->n_labels == count_labels(&rows[metric]) &&
        s->n_buckets == (rows[metric].type == METRIC_HISTOGRAM ? METER_BUCKETS : 0);
}

static void put_head(struct text *out, const struct metric_row *row)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };

    text_printf(out, "# HELP %s ", row->name);
    put_escaped(out, row->help, false);
    text_printf(out, "\n# TYPE %s %s\n", row->name, types[row->type]);
}

void metrics_write(struct text *out, Lf__Sample *const *samples, size_t n)
{
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        bool begun = false;

        for (size_t i = 0; i < n; i++) {
            if (!fits(samples[i], m))
                continue;
            if (!begun)
                put_head(out, &rows[m]);
            begun = true;
            put_sample(out, &rows[m], samples[i]);
        }
    }
}
