/* Owns which bytes of a file have to be here before it is sent: all that are sent. What the cloud can copy from the
 * version that the file is based on is not, and stays where it is.
 *
 * Parts are copied or sent as a whole. All but the last have one size (R2 wants it so), and none is smaller than
 * 16 MiB but the last, so any of them may be copied (S3: 5 MiB).
 *
 * Must not know how parts travel (upload_parts.c). */
#include "syncd/upload.h"

#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/object.h"

static const uint64_t MIB = 1 << 20;
static const uint64_t PART_FILE = 16 << 20;
static const uint64_t PART_COPY = 512 << 20;

bool upload_in_parts(const struct upload *u, uint64_t size)
{
    return size >= UPLOAD_SINGLE_MAX && cloud_capabilities(u->volume->cloud) & CLOUD_CAN_MULTIPART;
}

uint64_t upload_part_size(const struct upload *u, uint64_t size, bool copy)
{
    struct cloud_limits l = cloud_limits(u->volume->cloud);
    uint64_t needed = l.parts_max ? (size + l.parts_max - 1) / l.parts_max : size;
    uint64_t part = most(most(copy ? PART_COPY : PART_FILE, l.part_min), (needed + MIB - 1) / MIB * MIB);

    if (u->clone)
        part = upload_clone_part(u, most(needed, l.part_min));
    return l.part_max && part > l.part_max ? 0 : part;
}

/* Of what is, or becomes, encrypted no part is as another one. */
static bool is_plain(const struct upload *u)
{
    CLEANUP(index_object_done) struct index_object base = { 0 };

    return !u->volume->keys || (!object_seals(u->volume) && object_get(u->volume, &u->inode, &base) == 0 &&
                                base.kind == INDEX_OBJECT_PLAIN);
}

bool upload_copies(const struct upload *u, uint64_t from, uint64_t to)
{
    return is_plain(u) && u->kind == UPLOAD_CONTENT && !u->base_lost && loop_now_ns() >= u->uploader->copies_after_ns &&
           cloud_capabilities(u->volume->cloud) & CLOUD_CAN_COPY_PART && u->inode.cloud_key &&
           to <= u->inode.cloud_size && cache_alike(u->file, u->inode.etag, from, to);
}

static bool lacks(const struct upload *u, bool in_parts, uint64_t from, uint64_t to)
{
    return chunk_first_absent(u->file->map, from, to - from) != UINT64_MAX &&
           !(in_parts && upload_copies(u, from, to));
}

/* The first run of parts from *from on that are to be sent and not all here. False: there is none. */
static bool next_lacking(const struct upload *u, uint64_t *from, uint64_t *to)
{
    uint64_t size = cache_file_size(u->file);
    bool in_parts = upload_in_parts(u, size);
    uint64_t part = in_parts ? upload_part_size(u, size, false) : 0;

    part = part ? part : most(size, 1);   /* one that is too large for the cloud fails later */
    while (*from < size && !lacks(u, in_parts, *from, least(*from + part, size)))
        *from += part;
    for (*to = *from; *to < size && lacks(u, in_parts, *to, least(*to + part, size));)
        *to = least(*to + part, size);
    return *from < size;
}

bool upload_is_here(const struct upload *u)
{
    uint64_t from = 0, to;

    return !next_lacking(u, &from, &to);
}

static void gather_more(struct upload *u);

static void gathered(const struct error *e, void *arg)
{
    struct upload *u = arg;

    if (e->code && u->volume->paused)
        upload_end(u);
    else if (e->code == -EIO)
        upload_incomplete(u, e);
    else if (e->code)
        upload_fail(u, e);
    else
        gather_more(u);
}

static void gather_more(struct upload *u)
{
    uint64_t from = u->gathered_to, to;

    if (next_lacking(u, &from, &to)) {
        u->gathered_to = to;
        fetch_range(u->file, FETCH_UPLOAD, from, to - from, 0, gathered, u);
    } else if (upload_is_here(u)) {
        u->gathered(u);
    } else {
        upload_again(u);   /* truncated to more, or outdated, meanwhile */
    }
}

/* What is damaged, or comes back no more, has been logged. */
static void has_no_file(struct upload *u, int code)
{
    struct error e;

    if (code == -EAGAIN) {   /* there is no key for it at the moment, which is waited for */
        upload_again(u);
        return;
    }
    if (code != -EIO && code != -EUCLEAN && code != -EOPNOTSUPP) {
        upload_fail_code(u, code);
        return;
    }
    error_set(&e, -EIO, "%s: the cache file that has it cannot be read. The log says why.", u->key);
    upload_fail(u, &e);
}

void upload_gather(struct upload *u, void (*next)(struct upload *u))
{
    int r = 0;

    if (!u->file)
        r = cache_acquire(u->volume->cache, &u->inode, &u->file);
    if (r < 0) {
        has_no_file(u, r);
        return;
    }
    u->gathered = next;
    u->gathered_to = 0;
    gather_more(u);
}
