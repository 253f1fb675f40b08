/* The table of metrics, and their text form. Knows nothing of where the numbers come from. */
#include "common/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

#define NS_PER_S UINT64_C(1000000000)

static const struct metric_row rows[METRIC_COUNT] = {
    [METRIC_BUILD_INFO] = { "landfall_build_info", "Always 1; the version is a label.", METRIC_GAUGE, { "version" } },
    [METRIC_UP] = { "landfall_up", "Whether the process answered this question.", METRIC_GAUGE, { "process" } },
    [METRIC_RESIDENT] = { "landfall_process_resident_memory_bytes", "Memory that the process has in RAM.",
                          METRIC_GAUGE, { "process", "drive" } },
    [METRIC_UPTIME] = { "landfall_process_uptime_seconds", "How long the process has been running.", METRIC_GAUGE,
                        { "process", "drive" } },
    [METRIC_WORKER_RESTARTS] = { "landfall_worker_restarts_total", "Workers that came after another one's end, since "
                                 "mountd took the drive up.", METRIC_COUNTER, { "drive" } },
    [METRIC_DRIVE_INFO] = { "landfall_drive_info", "Always 1; says what the drive is.", METRIC_GAUGE,
                            { "drive", "id", "bucket", "mount_point" } },
    [METRIC_DRIVE_MOUNTED] = { "landfall_drive_mounted", "Whether the drive is mounted.", METRIC_GAUGE, { "drive" } },
    [METRIC_READS] = { "landfall_reads_total", "Reads of the kernel that were answered from the cache file at once (hit) "
                       "or after asking for content (wait). The kernel answers reads from its page cache, and of files in "
                       "passthrough mode, by itself: those are not seen.", METRIC_COUNTER, { "drive", "result" } },
    [METRIC_READ_BYTES] = { "landfall_read_bytes_total", "Bytes in answers to reads of the kernel.", METRIC_COUNTER,
                            { "drive" } },
    [METRIC_WRITTEN_BYTES] = { "landfall_written_bytes_total", "Bytes that the kernel passed on to be written.",
                               METRIC_COUNTER, { "drive" } },
    [METRIC_FUSE_SECONDS] = { "landfall_fuse_request_seconds", "Time from reading a request of the kernel to its answer: "
                              "in the worker with its cache files (local), waiting for syncd, waiting for the cloud.",
                              METRIC_HISTOGRAM, { "drive", "operation", "part" } },
    [METRIC_FUSE_ERRORS] = { "landfall_fuse_errors_total", "Requests of the kernel that were answered with an error.",
                             METRIC_COUNTER, { "drive", "error" } },
    [METRIC_OPEN_FILES] = { "landfall_open_files", "Files that the worker has open, by the strongest way.",
                            METRIC_GAUGE, { "drive", "mode" } },
    [METRIC_MISSES] = { "landfall_cache_misses_total", "Requests of programs that needed content which was not here: it "
                        "never was (absent), was given up for space (evicted), is another version by now (changed), or "
                        "was on its way already (arriving).", METRIC_COUNTER, { "drive", "reason" } },
    [METRIC_FETCHED_BYTES] = { "landfall_fetched_bytes_total", "Content that came into the cache, by what it was fetched "
                               "for.", METRIC_COUNTER, { "drive", "why" } },
    [METRIC_CACHE_USED] = { "landfall_cache_used_bytes", "Disk space of the cache.", METRIC_GAUGE, { "drive" } },
    [METRIC_CACHE_RESERVED] = { "landfall_cache_reserved_bytes", "Disk space that is promised to downloads and writers.",
                                METRIC_GAUGE, { "drive" } },
    [METRIC_CACHE_LIMIT] = { "landfall_cache_limit_bytes", "maximumCacheSize; 0: none.", METRIC_GAUGE, { "drive" } },
    [METRIC_EVICTED_BYTES] = { "landfall_evicted_bytes_total", "Content that was given up to make room for reads, for "
                               "what stays (writes and pins), or because the limit or the disk became smaller.",
                               METRIC_COUNTER, { "drive", "reason" } },
    [METRIC_PENDING] = { "landfall_pending_changes", "Changes that are not in the cloud yet.", METRIC_GAUGE, { "drive" } },
    [METRIC_DIRTY_BYTES] = { "landfall_dirty_bytes", "Size of the files whose content is not in the cloud yet.",
                             METRIC_GAUGE, { "drive" } },
    [METRIC_UPLOADS_RUNNING] = { "landfall_uploads_running", "Changes that are being made in the cloud right now.",
                                 METRIC_GAUGE, { "drive" } },
    [METRIC_UPLOADS] = { "landfall_uploads_total", "Changes that were brought to the cloud (ok), or tries that failed.",
                         METRIC_COUNTER, { "drive", "result" } },
    [METRIC_CONFLICTS] = { "landfall_conflicts_total", "Files that two sides changed, of which both versions were kept.",
                           METRIC_COUNTER, { "drive" } },
    [METRIC_CLOUD_REQUESTS] = { "landfall_cloud_requests_total", "Requests to the cloud as they ended, retries included "
                                "in one.", METRIC_COUNTER, { "drive", "operation", "result" } },
    [METRIC_CLOUD_SECONDS] = { "landfall_cloud_request_seconds", "Time until a request to the cloud ended, with its "
                               "retries and the waits between them.", METRIC_HISTOGRAM, { "drive", "operation" } },
    [METRIC_CLOUD_RETRIES] = { "landfall_cloud_retries_total", "Tries of requests to the cloud after one that failed.",
                               METRIC_COUNTER, { "drive", "operation" } },
    [METRIC_SENT_BYTES] = { "landfall_cloud_sent_bytes_total", "Content in requests that the cloud took.",
                            METRIC_COUNTER, { "drive" } },
    [METRIC_RECEIVED_BYTES] = { "landfall_cloud_received_bytes_total", "Content that came from the cloud.",
                                METRIC_COUNTER, { "drive" } },
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
