/* The numbers of a drive, and their names as labels. Knows nothing of who counts what. */
#include "syncd/tally.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/chunk_map.h"
#include "common/cleanup.h"

/* --- names ----------------------------------------------------------------------------------------- */

/* The last one stands for all others. */
static const struct {
    int code;
    const char *name;
} kinds[TALLY_KINDS] = {
    { 0, "ok" },
    { -ENOENT, "not_found" },
    { -ESTALE, "changed" },
    { -EACCES, "refused" },
    { -EKEYREJECTED, "bad_keys" },
    { -EBADE, "checksum" },
    { -EHOSTUNREACH, "unreachable" },
    { -ETIMEDOUT, "timeout" },
    { -EAGAIN, "throttled" },
    { -EREMOTEIO, "server" },
    { -EBADMSG, "unreadable" },
    { -ECANCELED, "canceled" },
    { -ENOSPC, "no_space" },
    { -EIO, "other" },
};

unsigned tally_kind(int code)
{
    for (unsigned k = 0; k < TALLY_KINDS - 1; k++)
        if (kinds[k].code == code)
            return k;
    return TALLY_KINDS - 1;
}

static const char *const miss_names[MISS_REASONS] = { "absent", "evicted", "changed", "arriving" };
static const char *const why_names[FETCH_WHYS] = { "open", "read", "readahead", "write", "pin", "upload", "stream",
                                                    "scan" };
_Static_assert((int)FETCH_WHYS <= (int)CHUNK_WHYS, "they stand in the map");
static const char *const room_names[ROOM_REASONS] = { "read", "keep", "limit" };

static const char *const op_names[CLOUD_OP_COUNT] = {
    [CLOUD_BUCKETS] = "buckets", [CLOUD_LIST] = "list", [CLOUD_STAT] = "stat", [CLOUD_GET] = "get",
    [CLOUD_PUT] = "put", [CLOUD_PART_BEGIN] = "part_begin", [CLOUD_PART_PUT] = "part_put",
    [CLOUD_PART_COPY] = "part_copy", [CLOUD_PART_LIST] = "part_list", [CLOUD_PART_END] = "part_end",
    [CLOUD_PART_ABORT] = "part_abort", [CLOUD_COPY] = "copy", [CLOUD_DELETE] = "delete",
    [CLOUD_DELETE_BATCH] = "delete_batch", [CLOUD_BUCKET_CREATE] = "bucket_create", [CLOUD_UPLOADS] = "uploads",
    [CLOUD_SPACE] = "space",
};

/* NULL: one that the worker does not answer; it counts as "other" if it comes nevertheless. */
static const char *const fuse_names[METER_OPS] = {
    [0] = "other",
    [FUSE_LOOKUP] = "lookup", [FUSE_GETATTR] = "getattr", [FUSE_SETATTR] = "setattr", [FUSE_READLINK] = "readlink",
    [FUSE_SYMLINK] = "symlink", [FUSE_MKNOD] = "mknod", [FUSE_MKDIR] = "mkdir", [FUSE_UNLINK] = "unlink",
    [FUSE_RMDIR] = "rmdir", [FUSE_RENAME] = "rename", [FUSE_RENAME2] = "rename2", [FUSE_OPEN] = "open",
    [FUSE_READ] = "read", [FUSE_WRITE] = "write", [FUSE_STATFS] = "statfs", [FUSE_RELEASE] = "release",
    [FUSE_FSYNC] = "fsync", [FUSE_FSYNCDIR] = "fsyncdir", [FUSE_SETXATTR] = "setxattr", [FUSE_GETXATTR] = "getxattr",
    [FUSE_LISTXATTR] = "listxattr", [FUSE_REMOVEXATTR] = "removexattr", [FUSE_FLUSH] = "flush",
    [FUSE_OPENDIR] = "opendir", [FUSE_READDIR] = "readdir", [FUSE_READDIRPLUS] = "readdirplus",
    [FUSE_CREATE] = "create", [FUSE_LSEEK] = "lseek", [FUSE_FALLOCATE] = "fallocate", [FUSE_LINK] = "link",
    [FUSE_COPY_FILE_RANGE] = "copy_file_range", [FUSE_ACCESS] = "access",
};

const char *fetch_why_name(enum fetch_why why)
{
    return why_names[why];
}

/* --- life ------------------------------------------------------------------------------------------ */

/* As large as it is for good: who has it mapped reads no hole. */
static int make_meter(struct tally *t)
{
    t->meter_fd = memfd_create("landfall-meter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (t->meter_fd < 0 || ftruncate(t->meter_fd, sizeof(*t->meter)) < 0 ||
        fcntl(t->meter_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    t->meter = mmap(NULL, sizeof(*t->meter), PROT_READ, MAP_SHARED, t->meter_fd, 0);
    if (t->meter != MAP_FAILED)
        return 0;
    t->meter = NULL;
    return -errno;
}

int tally_new(struct tally **ret)
{
    struct tally *t = xcalloc(1, sizeof(*t));
    int r;

    t->refs = 1;
    r = make_meter(t);
    if (r < 0)
        tally_drop(t);
    else
        *ret = t;
    return r;
}

struct tally *tally_hold(struct tally *t)
{
    if (t)
        t->refs++;
    return t;
}

void tally_drop(struct tally *t)
{
    if (!t || --t->refs > 0)
        return;
    if (t->meter)
        (void)munmap(t->meter, sizeof(*t->meter));
    if (t->meter_fd >= 0)
        (void)close(t->meter_fd);
    free(t);
}

/* --- counting ---------------------------------------------------------------------------------------- */

void tally_submitted(struct tally *t, const struct cloud_request *r)
{
    if (t)
        reach_asked(&t->reach, r);
}

void tally_heard(struct tally *t)
{
    if (t)
        reach_heard(&t->reach);
}

void tally_sent(struct tally *t)
{
    if (t)
        reach_sent(&t->reach);
}

void tally_unreached(struct tally *t, int64_t tried_ns, const struct error *why)
{
    if (t)
        reach_missed(&t->reach, tried_ns, why);
}

void tally_request(struct tally *t, const struct cloud_request *r)
{
    if (!t)
        return;
    t->requests[r->op][tally_kind(r->error.code)]++;
    t->received += r->content_length;
    t->damaged += r->damaged;
    if (r->error.code == 0)
        t->sent += r->body.length;
    meter_time(&t->times[r->op], (uint64_t)(loop_now_ns() - r->submitted_ns));
    reach_ended(&t->reach, r);
}

/* --- showing ----------------------------------------------------------------------------------------- */

static void add_each(struct samples *s, enum metric metric, const char *drive, const uint64_t *values,
                     const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        SAMPLE(s, metric, values[i], drive, names[i]);
}

/* Of what never happened there is nothing to be seen, except success. */
static void add_kinds(struct samples *s, const uint64_t *values, const char *drive)
{
    for (size_t k = 0; k < TALLY_KINDS; k++)
        if (k == 0 || values[k])
            SAMPLE(s, METRIC_UPLOADS, values[k], drive, kinds[k].name);
}

static void add_operation(struct samples *s, const struct tally *t, const char *drive, unsigned op)
{
    for (size_t k = 0; k < TALLY_KINDS; k++)
        if (t->requests[op][k])
            SAMPLE(s, METRIC_CLOUD_REQUESTS, t->requests[op][k], drive, op_names[op], kinds[k].name);
    if (t->retries[op])
        SAMPLE(s, METRIC_CLOUD_RETRIES, t->retries[op], drive, op_names[op]);
    samples_add_times(s, METRIC_CLOUD_SECONDS, &t->times[op], (const char *const[]){ drive, op_names[op], NULL });
}

static void add_fuse_operation(struct samples *s, const struct meter *m, const char *drive, unsigned opcode)
{
    static const char *const parts[METER_PARTS] = { "local", "syncd", "cloud" };

    for (size_t p = 0; p < METER_PARTS; p++)
        samples_add_times(s, METRIC_FUSE_SECONDS, &m->times[opcode][p],
                          (const char *const[]){ drive, fuse_names[opcode], parts[p], NULL });
}

static void add_meter(struct samples *s, const struct meter *m, const char *drive)
{
    SAMPLE(s, METRIC_READS, meter_get(&m->hits), drive, "hit");
    SAMPLE(s, METRIC_READS, meter_get(&m->waits), drive, "wait");
    SAMPLE(s, METRIC_READ_BYTES, meter_get(&m->read_bytes), drive);
    SAMPLE(s, METRIC_WRITTEN_BYTES, meter_get(&m->written_bytes), drive);
    for (unsigned op = 0; op < METER_OPS; op++)
        if (fuse_names[op])
            add_fuse_operation(s, m, drive, op);
    for (int n = 1; n < METER_ERRNOS; n++)
        if (meter_get(&m->errors[n]) && strerrorname_np(n))
            SAMPLE(s, METRIC_FUSE_ERRORS, meter_get(&m->errors[n]), drive, strerrorname_np(n));
}

void tally_samples(const struct tally *t, const char *drive, struct samples *s)
{
    add_meter(s, t->meter, drive);
    add_each(s, METRIC_MISSES, drive, t->misses, miss_names, MISS_REASONS);
    add_each(s, METRIC_FETCHED_BYTES, drive, t->fetched, why_names, FETCH_WHYS);
    add_each(s, METRIC_EVICTED_BYTES, drive, t->evicted, room_names, ROOM_REASONS);
    add_kinds(s, t->uploads, drive);
    SAMPLE(s, METRIC_CONFLICTS, t->conflicts, drive);
    SAMPLE(s, METRIC_COPIES, t->copies, drive);
    SAMPLE(s, METRIC_COPIED_BYTES, t->copied, drive);
    SAMPLE(s, METRIC_SENT_BYTES, t->sent, drive);
    SAMPLE(s, METRIC_RECEIVED_BYTES, t->received, drive);
    SAMPLE(s, METRIC_DAMAGED_DOWNLOADS, t->damaged, drive);
    for (unsigned op = 0; op < CLOUD_OP_COUNT; op++)
        add_operation(s, t, drive, op);
}
