/* Owns what follows when a change did not work: for how long it rests, and whether all others do. What is to be tried
 * when is in the table of troubles.
 *
 * Must not know what a change does (upload_run.c and the kinds). */
#include "syncd/upload.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/await.h"
#include "syncd/encrypt.h"
#include "syncd/waits.h"

/* --- later ---------------------------------------------------------------------------------------- */

static int put_off(struct upload *u, int64_t seconds, const char *reason)
{
    struct index *x = u->volume->index;
    int64_t settle = u->volume->config->settle_milliseconds * 1000000;
    int r = index_begin(x);

    if (index_held(x, u->inode.ino))   /* it is not put off, and what needs its key would have it tried at once */
        uploader_rest(u->uploader, -EIO);
    if (r < 0)
        return r;
    r = index_retry(x, u->inode.ino, loop_wall_ns() + (seconds ? seconds * 1000000000 : settle), reason);
    return index_end(x, r == -ENOENT ? 0 : r);
}

void upload_again(struct upload *u)
{
    (void)put_off(u, 0, NULL);
    upload_end(u);
}

/* Errors after which the cloud surely has nothing of this change. */
static bool came_to_nothing(int code)
{
    static const int sure[] = { -ESTALE, -EACCES, -EKEYREJECTED, -EBADE, -ENOENT };

    for (size_t n = 0; n < ARRAY_SIZE(sure); n++)
        if (sure[n] == code)
            return true;
    return false;
}

/* --- failures ------------------------------------------------------------------------------------- */

static const struct trouble {
    int code;
    int seconds;        /* until this change is tried again */
    bool everything;    /* others would fail alike: all rest, longer each time */
} troubles[] = {
    { -EIO, 30, false },
    { -EHOSTUNREACH, 1, true },
    { -ETIMEDOUT, 1, true },
    { -EAGAIN, 1, true },
    { -EKEYREJECTED, 60, true },
    { -EACCES, 300, false },
    { -ESTALE, 300, false },
    { -ENOSPC, 1, true },           /* here, where nothing can be noted, or there */
    { -EFBIG, 300, false },
    { -EBADE, 30, false },
    { -ECONNRESET, 1, true },      /* what hands out the keys restarts, */
    { -ENOTCONN, 1, true },        /* or does not run, */
    { -ENOKEY, 60, true },         /* or cannot open them */
    { -ENAMETOOLONG, 300, false },
};

static const struct trouble *trouble_of(int code)
{
    for (size_t n = 0; n < ARRAY_SIZE(troubles); n++)
        if (troubles[n].code == code)
            return &troubles[n];
    return &troubles[0];
}

bool upload_fails_lastingly(int code)
{
    return waits_lasting(trouble_of(code)->seconds);
}

bool upload_fails_all(int code)
{
    return code == -ECANCELED || (code && trouble_of(code)->everything);
}

static int withdraw(struct upload *u)
{
    int r = u->declared ? index_exhume(u->volume->index, u->key) : 0;

    return r == 0 && !u->parts ? upload_forget_row(u) : r;   /* an upload in parts goes on later */
}

/* Somebody writes: then what was sent is not what was hashed, and nothing is wrong. */
static bool was_written_meanwhile(const struct upload *u, const struct error *e)
{
    return e->code == -EBADE && u->kind == UPLOAD_CONTENT && u->file && !upload_unchanged(u);
}

static void rest(struct uploader *u, const struct error *why)
{
    u->trouble = *why;
    uploader_rest(u, why->code);
}

void upload_fail(struct upload *u, const struct error *e)
{
    const struct trouble *t = trouble_of(e->code);
    struct volume *v = u->volume;
    struct index *x = v->index;
    uint64_t ino = u->inode.ino;
    bool reseals = upload_reseals(u);

    if (u->clone) {
        upload_clone_failed(u, e);
        return;
    }
    if (was_written_meanwhile(u, e)) {
        upload_again(u);
        return;
    }
    if (e->code == -ECANCELED) {    /* paused, or the cloud is being closed */
        rest(u->uploader, e);
        upload_end(u);
        return;
    }
    show_uploaded(u, e);
    u->volume->tally->uploads[tally_kind(e->code)]++;
    LOG(LOG_WARNING, "upload_failed", "drive=%s", u->volume->drive->id, "key=%s", u->key, "error=%s", error_text(e),
        "again_in=%d", t->seconds);
    if (came_to_nothing(e->code) && index_begin(x) == 0)
        (void)index_end(x, withdraw(u));
    if (t->everything && !(reseals && e->code == -ENOSPC))   /* what others send is here already */
        rest(u->uploader, e);
    if (!reseals || !encrypter_gives_up(v, ino, e))
        (void)put_off(u, t->seconds, error_text(e));
    if (u->unreadable && u->file)
        cache_unreadable_alike(u->file, &u->inode);
    show_state(v, ino, SHOW_ERROR);
    upload_end(u);
    await_failed(v, ino, t->seconds);
}

void upload_fail_code(struct upload *u, int code)
{
    struct error e;

    error_set(&e, code, "%s", error_meaning(code)->text);
    upload_fail(u, &e);
}
