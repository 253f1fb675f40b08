/* Owns the question what lies at a key that is about to be written, or could not be: the version the change is based
 * on, our own of an earlier try, nothing, or somebody else's; and what follows from it.
 *
 * Must not know how anything is sent, nor how two versions are kept (conflict.c). */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/conflict.h"
#include "syncd/hash.h"
#include "syncd/listing.h"

struct look {
    char *key;
    bool asks_for_sent;                  /* an earlier try may have put what `sent` says */
    struct index_upload sent;            /* without strings */
    struct cloud_object object;          /* the answer */
    upload_found_fn *step;
    void (*go)(struct upload *u);        /* upload_guard()'s */
    struct error refusal;                /* upload_refused()'s, upload_incomplete()'s */
};

/* --- looking -------------------------------------------------------------------------------------- */

void upload_look_free(struct look *l)
{
    if (!l)
        return;
    free(l->object.key);
    free(l->object.etag);
    free(l->object.version);
    cloud_meta_free(&l->object.meta);
    free(l->key);
    free(l);
}

char *upload_base(const struct upload *u, const char *key)
{
    if (u->inode.cloud_key && strcmp(u->inode.cloud_key, key) == 0)
        return xstrdup(u->inode.etag);
    return index_grave_etag(u->volume->index, key);
}

static bool same_etag(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static bool is_sent(const struct upload *u, const struct look *l)
{
    const struct cloud_object *o = &l->object;
    bool copy = u->kind == UPLOAD_COPY && !upload_in_place(u);

    if (copy && same_etag(o->etag, u->inode.etag))
        return true;
    return l->asks_for_sent && upload_is_sent(u->volume, &l->sent, o);
}

static enum upload_found verdict(const struct upload *u, const struct look *l)
{
    CLEANUP_FREE char *base = upload_base(u, l->key);

    if (same_etag(base, l->object.etag))
        return UPLOAD_BASE;
    return is_sent(u, l) ? UPLOAD_OURS : UPLOAD_THEIRS;
}

static void looked(struct upload *u, struct cloud_request *r)
{
    struct look *l = u->look;

    if (r->error.code && r->error.code != -ENOENT) {
        upload_fail(u, &r->error);
        return;
    }
    l->object = r->object;
    r->object = (struct cloud_object){ 0 };
    l->object.has_meta = true;
    l->step(u, r->error.code ? UPLOAD_NOTHING : verdict(u, l));
}

static struct look *look(struct upload *u, const char *key, const struct index_upload *sent, upload_found_fn *step)
{
    struct look *l = xcalloc(1, sizeof(*l));

    l->key = xstrdup(key);
    l->step = step;
    l->asks_for_sent = sent;
    if (sent)
        l->sent = *sent;
    l->sent.key = l->sent.upload_id = NULL;
    upload_look_free(u->look);
    u->look = l;
    upload_submit(u, upload_request(u, CLOUD_STAT, key, looked));
    return l;
}

void upload_look(struct upload *u, const char *key, const struct index_upload *sent, upload_found_fn *step)
{
    (void)look(u, key, sent, step);
}

const struct cloud_object *upload_looked(const struct upload *u)
{
    return &u->look->object;
}

const char *upload_looked_at(const struct upload *u)
{
    return u->look->key;
}

/* --- what follows --------------------------------------------------------------------------------- */

/* What a power cut left of changes that nobody asked to have on the disk, or a disk that refused some of them, must not
 * replace a good version. */
static bool is_doubtful(const struct upload *u)
{
    return u->kind == UPLOAD_CONTENT && !upload_reseals(u) && index_doubtful(u->volume->index, u->inode.ino);
}

/* Ends the change; its next turn builds on what is known by now. */
static void next_turn(struct upload *u, int code)
{
    if (code < 0)
        upload_fail_code(u, code);
    else
        upload_end(u);
}

/* Of content that the disk refused it stays known that it is not there. */
static int undoubt(struct upload *u)
{
    int r = index_undoubt(u->volume->index, u->inode.ino);

    return r == 0 ? index_unsynced_end(u->volume->index, u->inode.ino) : r;
}

/* What a power cut took reads as zeros, as it does anywhere. Of a file whose map it took as well it may be bytes of the
 * version that the file was built on, as long as the cloud has that one. */
static int end_doubt(struct upload *u, bool has_base)
{
    if (u->file && !(has_base && index_fault(u->volume->index, u->inode.ino)))
        cache_make_do(u->file);
    return undoubt(u);
}

static void keep_both(struct upload *u, int code)
{
    CLEANUP_FREE char *base = upload_base(u, u->key);
    bool doubtful = is_doubtful(u), has_base = same_etag(base, upload_looked(u)->etag);
    struct error e;

    if (code == 0)
        code = conflict_keep_both(u->volume, u->inode.ino, u->key, upload_looked(u));
    if (code == 0 && doubtful)
        code = end_doubt(u, has_base);
    if (code == -EAGAIN)   /* it is renamed or removed, and what is at its key is not ours to remove */
        code = upload_disown(u, u->key);
    if (code == 0 || code == -ENOENT) {
        upload_end(u);
        return;
    }
    error_set(&e, -ESTALE, "Somebody else changed %s in the cloud meanwhile, and there is no name to keep this version "
              "under (%s). Copy it to another name to keep both.", u->key, error_meaning(code)->text);
    upload_fail(u, &e);
}

/* Most services have the MD5 as the ETag of what came in one piece. Whose bytes are ours can be replaced by ours: only
 * the metadata changes. */
static void hashed(struct upload *u, const char *md5)
{
    if (same_etag(md5, upload_looked(u)->etag))
        next_turn(u, undoubt(u) < 0 ? -EIO : upload_own(u, u->key, upload_looked(u)));
    else
        upload_sync_file(u, keep_both);   /* the cloud's bytes that it was built on can be had no more */
}

/* Links, FIFOs and sockets have nothing that could differ but where a link leads. */
static bool is_same_special(const struct upload *u, const struct cloud_object *o)
{
    const struct index_inode *i = &u->inode;

    if (S_ISREG(i->mode) || S_ISDIR(i->mode) || !entry_same_type(i, o))
        return false;
    return !i->target || strcmp(i->target, o->meta.symlink) == 0;
}

static bool may_have_same_bytes(const struct upload *u, const struct cloud_object *o)
{
    return u->kind == UPLOAD_CONTENT && !u->seal && cache_file_whole(u->file) && o->size == u->size &&
        !o->meta.symlink &&
        o->etag && strlen(o->etag) == HASH_MD5_HEX - 1;
}

/* The name goes to them; but not to what another inode of ours has put there without hearing of it, and not when it
 * makes no difference. */
static void found_theirs(struct upload *u)
{
    const struct cloud_object *o = upload_looked(u);

    if (u->clone)
        upload_fail_code(u, -ESTALE);   /* that is for the upload of what the file becomes */
    else if (upload_reseals(u))
        upload_reseal_theirs(u);
    else if ((!upload_in_place(u) && upload_is_ours(u->volume, u->key, o)) || is_same_special(u, o))
        next_turn(u, upload_own(u, u->key, o));
    else if (may_have_same_bytes(u, o))
        upload_hash_file(u, 0, u->size, hashed);
    else if (u->file)
        upload_sync_file(u, keep_both);
    else
        keep_both(u, 0);
}

static void make_anew(struct upload *u, int code)
{
    next_turn(u, code == 0 ? upload_leave(u, false) : code);
}

/* The version we are based on was removed. */
static void found_nothing(struct upload *u)
{
    if (u->clone)
        upload_fail_code(u, -ESTALE);
    else if (upload_reseals(u) && upload_in_place(u))
        upload_reseal_gone(u);
    else if (!upload_in_place(u))
        next_turn(u, upload_own(u, u->key, &(struct cloud_object){ 0 }));
    else if (u->file)
        upload_sync_file(u, make_anew);
    else
        make_anew(u, 0);
}

/* --- before --------------------------------------------------------------------------------------- */

static void guarded(struct upload *u, enum upload_found found)
{
    if (found == UPLOAD_THEIRS || (found == UPLOAD_BASE && is_doubtful(u)))
        found_theirs(u);
    else if (found == UPLOAD_NOTHING && upload_in_place(u))
        found_nothing(u);
    else
        u->look->go(u);
}

/* Whether the request will say all that is to be checked. No service compares the target of a copy. */
static bool provider_checks(const struct upload *u)
{
    CLEANUP_FREE char *base = upload_base(u, u->key);
    unsigned can = cloud_capabilities(u->volume->cloud);

    if (u->kind == UPLOAD_COPY)
        return upload_in_place(u);
    if (base)
        return can & CLOUD_CAN_IF_MATCH;
    return upload_in_place(u) || can & CLOUD_CAN_IF_NONE_MATCH;   /* in place: no ETag to compare */
}

void upload_guard(struct upload *u, void (*go)(struct upload *u))
{
    struct index_upload sent = upload_sent(u);

    if (provider_checks(u) && !is_doubtful(u))
        go(u);
    else
        look(u, u->key, u->kind == UPLOAD_COPY ? &sent : NULL, guarded)->go = go;
}

/* --- after ---------------------------------------------------------------------------------------- */

static void seen_why(struct upload *u, enum upload_found found)
{
    CLEANUP_FREE char *base = upload_base(u, u->key);

    if (found == UPLOAD_OURS)
        upload_commit(u, upload_looked(u)->etag);
    else if (found == UPLOAD_NOTHING && base)
        found_nothing(u);
    else if (found == UPLOAD_THEIRS)
        found_theirs(u);
    else   /* the condition holds, by what we see */
        upload_fail(u, &u->look->refusal);
}

void upload_refused(struct upload *u, const struct index_upload *sent, const struct error *e)
{
    look(u, u->key, sent, seen_why)->refusal = *e;
}

/* Ours waits under its new name until somebody cuts it or writes what is missing. */
static void seen_what_took_them(struct upload *u, enum upload_found found)
{
    if (found == UPLOAD_OURS)
        next_turn(u, upload_own_sent(u, u->key, upload_looked(u)));
    else if (found == UPLOAD_THEIRS || (found == UPLOAD_BASE && is_doubtful(u)))
        found_theirs(u);   /* the version is there, and the power cut took the map that knew which bytes were of it */
    else
        upload_fail(u, &u->look->refusal);
}

/* What an earlier try has sent may have taken their place. */
void upload_incomplete(struct upload *u, const struct error *e)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    bool sent = index_upload_get(u->volume->index, u->inode.ino, &row) == 0 && strcmp(row.key, u->key) == 0;

    if (upload_in_place(u))
        look(u, u->key, sent ? &row : NULL, seen_what_took_them)->refusal = *e;
    else
        upload_fail(u, e);
}

/* --- metadata that a listing lacked ----------------------------------------------------------------- */

/* Somebody else may have asked meanwhile, and changed it then. */
static int take_metadata(struct upload *u, const struct cloud_object *o)
{
    struct index *x = u->volume->index;
    int r = upload_reload(u);

    if (r < 0 || u->inode.settled)
        return r;
    r = index_begin(x);
    return r < 0 ? r : index_end(x, entry_complete(u->volume, &u->inode, o));
}

static void metadata_seen(struct upload *u, enum upload_found found)
{
    int r = take_metadata(u, found == UPLOAD_NOTHING ? NULL : upload_looked(u));

    if (r == 0)
        volume_invalidate(u->volume, u->inode.ino, NULL, 0, CHANGED_ATTRIBUTES);
    next_turn(u, r == -ENOENT ? 0 : r);
}

/* A copy of content that is to be replaced, or of what is only moved, keeps the object's own. */
static bool sends_metadata(const struct upload *u)
{
    return u->kind == UPLOAD_MARK || u->kind == UPLOAD_CONTENT ||
        (u->kind == UPLOAD_COPY && (u->inode.pending & (INDEX_META | INDEX_CONTENT)) == INDEX_META);
}

bool upload_lacks_metadata(struct upload *u)
{
    CLEANUP_FREE char *key = NULL;

    if (!u->inode.settled && sends_metadata(u))
        key = settle_key(u->volume, &u->inode);
    if (key)
        upload_look(u, key, NULL, metadata_seen);
    return key;
}
