/* Reads from the uploader and the index what an object waits for. Changes nothing. */
#include "syncd/waits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/cache_convert.h"
#include "syncd/encrypt.h"
#include "syncd/object.h"

enum { LONG_S = 30 };

#define S INT64_C(1000000000)

static int64_t seconds_to(int64_t when_ns, int64_t now_ns)
{
    return when_ns > now_ns ? (when_ns - now_ns + S - 1) / S : 0;
}

/* --- is it there ------------------------------------------------------------------------------------- */

static bool lacks(struct volume *v, const struct index_inode *i)
{
    return i->pending & INDEX_LACKING || index_displaced(v->index, i);
}

/* Removals below a directory; there is no key for what is gone. */
static uint64_t graves_below(struct volume *v, const struct index_inode *i)
{
    CLEANUP_FREE char *key = index_key(v->index, i->ino);

    return key ? index_graves_below(v->index, key) : 0;
}

/* What a rename into, out of or within the directory has left to do, and removals. Nothing leaves the root. */
static bool has_left(struct volume *v, const struct index_inode *i)
{
    CLEANUP_FREE char *key = index_key(v->index, i->ino);

    return index_moved_above(v->index, i->ino) || index_rename_under_way(v->index, i->ino) ||
        (key && (*key ? index_renamed_left(v->index, key) : index_graves_below(v->index, key) > 0));
}

bool waits_there(struct volume *v, const struct index_inode *i)
{
    if (lacks(v, i))
        return false;
    return !S_ISDIR(i->mode) || !(index_pending_below(v->index, i->ino) || has_left(v, i));
}

uint64_t waits_count(struct volume *v, const struct index_inode *i)
{
    uint64_t first, n = lacks(v, i);

    if (S_ISDIR(i->mode))
        n = index_pending_in(v->index, i->ino, &first) + graves_below(v, i);
    return n || waits_there(v, i) ? n : 1;   /* what a rename took along is not counted before it is marked */
}

/* --- what one inode waits for -------------------------------------------------------------------------- */

typedef bool look_fn(struct volume *v, const struct index_inode *i, char out[WAITS_MAX]);

static bool say_paused(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    (void)i;
    if (v->paused)
        (void)snprintf(out, WAITS_MAX, "The drive is paused.");
    return v->paused;
}

static const struct upload *running(const struct uploader *u, uint64_t ino)
{
    const struct upload *up;

    LIST_FOREACH(up, &u->running, next)
        if (up->inode.ino == ino)
            return up;
    return NULL;
}

static bool say_running(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    const struct upload *u = running(v->uploader, i->ino);
    const struct cloud_request *r = u ? upload_held_up(u) : NULL;

    if (r)
        (void)snprintf(out, WAITS_MAX, "%s The next attempt is in %" PRId64 " s.", error_text(&r->trouble),
                       seconds_to(r->next_try_ns, loop_now_ns()));
    else if (u && u->kind == UPLOAD_CONTENT && u->size > 0)
        (void)snprintf(out, WAITS_MAX, "It is being uploaded: %" PRIu64 " %%.",
                       (uint64_t)(100.0 * (double)upload_progress(u) / (double)u->size));
    else if (u && u->clone)
        (void)snprintf(out, WAITS_MAX, "The cloud is making it, a copy of another file: %" PRIu64 " %%.",
                       (uint64_t)(100.0 * (double)upload_progress(u) / (double)most(u->size, 1)));
    else if (u)
        (void)snprintf(out, WAITS_MAX, "It is being changed in the cloud.");
    return u;
}

static bool say_held(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    enum index_hold held = index_held(v->index, i->ino);
    CLEANUP_FREE char *reason = held ? index_reason(v->index, i->ino) : NULL;

    if (held)
        (void)snprintf(out, WAITS_MAX, "%s", reason ? reason : "Its upload was paused. It goes on when that is resumed "
                       "('landfall transfer resume'), or when Landfall is started again.");
    return held;
}

static bool say_failed(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    CLEANUP_FREE char *reason = index_reason(v->index, i->ino);

    if (reason)
        (void)snprintf(out, WAITS_MAX, "%s The next attempt is in %" PRId64 " s.", reason,
                       seconds_to(index_retry_at(v->index, i->ino), loop_wall_ns()));
    return reason;
}

/* What was removed and has to go first, where a key is either a file or a folder. */
static bool say_in_the_way(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    const struct uploader *u = v->uploader;
    CLEANUP_FREE char *key = NULL;

    if (!u->grave_trouble.code || !(cloud_capabilities(v->cloud) & CLOUD_HAS_FOLDERS))
        return false;
    key = index_key(v->index, i->ino);
    if (!key || !index_buried_in_the_way(v->index, key))
        return false;
    (void)snprintf(out, WAITS_MAX, "What had its name before cannot be deleted in the cloud: %s The next attempt is in "
                   "%" PRId64 " s.", error_text(&u->grave_trouble), seconds_to(u->graves_after_ns, loop_now_ns()));
    return true;
}

static bool say_resting(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    const struct uploader *u = v->uploader;
    bool rests = u->rest_until_ns > loop_now_ns();

    (void)i;
    if (rests)
        (void)snprintf(out, WAITS_MAX, "%s The next attempt is in %" PRId64 " s.", error_text(&u->trouble),
                       seconds_to(u->rest_until_ns, loop_now_ns()));
    return rests;
}

static bool say_settling(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    int64_t all = seconds_to(uploader_held_until(v->uploader), loop_now_ns()),
            own = seconds_to(index_retry_at(v->index, i->ino), loop_wall_ns()), s = all > own ? all : own;

    if (s > 0)
        (void)snprintf(out, WAITS_MAX, "It is waiting to settle: it is sent when nothing was changed for a while, in "
                       "%" PRId64 " s or later.", s);
    return s > 0;
}

static bool say_open(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    const struct cache_file *f = i->pending & INDEX_CONTENT ? cache_find(v->cache, i->ino) : NULL;
    bool open = f && cache_written_by_anyone(f);

    if (open)
        (void)snprintf(out, WAITS_MAX, "A program has it open for writing: it is sent when nothing was written for "
                       "%g s.", (double)v->config->quiet_milliseconds / 1000);
    return open;
}

static bool say_queued(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    (void)i;
    (void)snprintf(out, WAITS_MAX, "It is in the queue; %zu changes are being made in the cloud.",
                   v->uploader->n_running);
    return true;
}

/* The first that has something to say. */
static look_fn *const looks[] = {
    say_paused, say_running, say_held, say_failed, say_in_the_way, say_resting, say_settling, say_open, say_queued,
};

static void say(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    for (size_t n = 0; n < ARRAY_SIZE(looks); n++)
        if (looks[n](v, i, out))
            return;
}

/* --- and a tree ---------------------------------------------------------------------------------------- */

/* The inode that matters most at or below `i`, 0 and *ret, or -ENOENT. */
static int first_of(struct volume *v, const struct index_inode *i, struct index_inode *ret)
{
    uint64_t ino = i->ino;

    if (S_ISDIR(i->mode) && !lacks(v, i) && index_pending_in(v->index, i->ino, &ino) == 0)
        return -ENOENT;
    return index_get(v->index, ino, ret);
}

static void put_path(struct volume *v, uint64_t ino, char out[WAITS_MAX])
{
    CLEANUP_FREE char *path = index_path(v->index, ino);
    char sentence[WAITS_MAX];

    (void)memcpy(sentence, out, WAITS_MAX);
    (void)snprintf(out, WAITS_MAX, "%.200s: %.400s", path ? path : "", sentence);
}

void waits_say(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    CLEANUP(index_inode_done) struct index_inode first = { 0 };
    int r;

    *out = '\0';
    if (waits_there(v, i))
        return;
    r = first_of(v, i, &first);
    if (r == 0)
        say(v, &first, out);
    else if (v->paused)
        (void)say_paused(v, i, out);
    else
        (void)snprintf(out, WAITS_MAX, "What was renamed or removed there is being moved or deleted in the cloud.");
    if (r == 0 && first.ino != i->ino)
        put_path(v, first.ino, out);
}

bool waits_lasting(int seconds)
{
    return seconds >= WAITS_LASTING_S;
}

bool waits_in_vain(struct volume *v, const struct index_inode *i, char out[WAITS_MAX])
{
    CLEANUP(index_inode_done) struct index_inode first = { 0 };
    bool lasting = false;

    if (say_paused(v, i, out))
        return true;
    if (first_of(v, i, &first) < 0 || uploader_busy(v->uploader, first.ino))
        return false;
    if (say_held(v, &first, out))
        lasting = true;
    else if (say_failed(v, &first, out))
        lasting = seconds_to(index_retry_at(v->index, first.ino), loop_wall_ns()) > LONG_S;
    else if (say_in_the_way(v, &first, out))
        lasting = upload_fails_lastingly(v->uploader->grave_trouble.code);
    if (lasting && first.ino != i->ino)
        put_path(v, first.ino, out);
    return lasting;
}

/* What refuses one refuses all. */
static bool all_refused(const struct uploader *u)
{
    return u->rest_until_ns > loop_now_ns() && upload_fails_lastingly(u->trouble.code);
}

/* All changes; those of the root with what a rename took along. */
static uint64_t count_all(struct volume *v, const struct index_inode *i)
{
    return i->ino == INDEX_ROOT ? index_pending_count(v->index) : waits_count(v, i) + has_left(v, i);
}

bool waits_coming(struct volume *v, const struct index_inode *i)
{
    char why[WAITS_MAX];

    if (v->paused || all_refused(v->uploader) || waits_there(v, i))
        return false;
    if (!S_ISDIR(i->mode))
        return !waits_in_vain(v, i, why);
    return count_all(v, i) > index_pending_in_vain(v->index, i->ino, loop_wall_ns() + LONG_S * S);
}

bool waits_encrypting(struct volume *v, uint64_t ino)
{
    return encrypter_marked(v, ino) || convert_seals(v->cache, ino);
}

/* The state of what nothing is wrong with. */
static const char *in_order(struct volume *v, const struct index_inode *i)
{
    if (lacks(v, i))
        return uploader_busy(v->uploader, i->ino) ? "uploading" : "dirty";
    return waits_encrypting(v, i->ino) ? "encrypting" : uploader_busy(v->uploader, i->ino) ? "uploading" : "clean";
}

char *waits_state(struct volume *v, const struct index_inode *i)
{
    CLEANUP_FREE char *reason = i->pending ? index_reason(v->index, i->ino) : NULL;
    const char *fault = object_fault(v, i);
    char *state;

    if (!reason && fault)
        reason = xstrdup(fault);
    if (!reason)
        return xstrdup(in_order(v, i));
    if (asprintf(&state, "error: %s", reason) < 0)
        abort();
    return state;
}
