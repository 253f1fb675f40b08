/* Owns what people ask of uploads on their way: that one waits, goes on, or ends. What is under way of it is broken off
 * as by a crash, from which its next try knows how to go on, and the index says that the content is not to be sent.
 *
 *   paused     the transfer stays, and is taken over by the upload that begins when it is resumed
 *   canceled   the transfer has ended; what was begun in parts is ended in the cloud (upload_delete.c). The file is
 *              sent when it is written again, or when somebody has the drive synchronised
 *
 * While the cloud puts an object in place neither can be had: what comes of it would not be known.
 *
 * Must not know what is sent. */
#include "syncd/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/await.h"
#include "syncd/transfer.h"
#include "syncd/waits.h"

static const char CANCELED[] = "Its upload was canceled, so it is on this machine alone. It is sent when it is written "
                               "again, or when the drive is synchronised ('landfall drive sync').";

/* An upload that was paused, until the next one of its file takes its transfer over: when it was resumed. */
struct upload_hold {
    LIST_ENTRY(upload_hold) next;
    struct uploader *uploader;
    uint64_t ino;
    struct transfer *shown;
    uint64_t moved;                /* bytes by then */
};

/* --- what the index says ------------------------------------------------------------------------------ */

/* A file that is gone needs none. */
static int hold(struct volume *v, uint64_t ino, enum index_hold how, const char *reason, struct error *e)
{
    int r = index_begin(v->index);

    if (r == 0)
        r = index_end(v->index, index_hold(v->index, ino, how, reason));
    if (r == 0 || r == -ENOENT)
        return 0;
    return error_set(e, r, "That could not be stored: %s", error_meaning(r)->text);
}

/* Those who wait for its arrival wait in vain. */
static void tell_held(struct volume *v, uint64_t ino)
{
    await_failed(v, ino, WAITS_LASTING_S);
    uploader_kick(v->uploader);
}

static void end_shown(struct transfer *shown)
{
    transfer_end(shown, &(struct error){ -ECANCELED, "It was canceled." });
}

static void tell_canceled(struct volume *v, uint64_t ino)
{
    LOG(LOG_NOTICE, "upload_canceled", "drive=%s", v->drive->id, "ino=%" PRIu64, ino);
    show_state(v, ino, SHOW_ERROR);
    tell_held(v, ino);
}

/* --- one that is paused --------------------------------------------------------------------------------- */

static void hold_free(struct upload_hold *h)
{
    LIST_REMOVE(h, next);
    free(h);
}

static uint64_t held_moved(void *arg)
{
    return ((struct upload_hold *)arg)->moved;
}

static int held_resume(void *arg, struct error *e)
{
    struct upload_hold *h = arg;
    int r = hold(h->uploader->volume, h->ino, INDEX_FREE, NULL, e);

    uploader_kick(h->uploader);
    return r;
}

static int held_pause(void *arg, struct error *e)
{
    struct upload_hold *h = arg;

    return hold(h->uploader->volume, h->ino, INDEX_PAUSED, NULL, e);
}

static int held_cancel(void *arg, struct error *e)
{
    struct upload_hold *h = arg;
    struct volume *v = h->uploader->volume;
    uint64_t ino = h->ino;
    int r = hold(v, ino, INDEX_CANCELED, CANCELED, e);

    if (r < 0)
        return r;
    end_shown(h->shown);
    hold_free(h);
    tell_canceled(v, ino);
    return 0;
}

static const struct transfer_control held_control = {
    .pause = held_pause, .resume = held_resume, .cancel = held_cancel, .moved = held_moved,
};

/* --- one that is under way -------------------------------------------------------------------------------- */

static int refuse(const struct upload *u, const char *what, struct error *e)
{
    if (upload_reseals(u))
        return error_set(e, -EBADMSG, "This puts an object that the cloud has already into its encrypted form, which "
                         "cannot be %s alone. 'landfall encrypt --stop PATH' (object_encrypt_stop) ends it for what is "
                         "left.", what);
    if (u->placing)
        return error_set(e, -EBADMSG, "All of it is in the cloud and is being put in place, which cannot be %s any "
                         "more.", what);
    return 0;
}

static int pause_it(void *arg, struct error *e)
{
    struct upload *u = arg;
    struct upload_hold *h;
    int r = refuse(u, "paused", e);

    if (r == 0)
        r = hold(u->volume, u->inode.ino, INDEX_PAUSED, NULL, e);
    if (r < 0)
        return r;
    h = xcalloc(1, sizeof(*h));
    *h = (struct upload_hold){ .uploader = u->uploader, .ino = u->inode.ino, .shown = take_ptr(u->shown) };
    h->moved = upload_progress(u);
    transfer_hand_over(h->shown, &held_control, h);
    LIST_INSERT_HEAD(&u->uploader->holds, h, next);
    upload_break_off(u);
    tell_held(h->uploader->volume, h->ino);
    return 0;
}

static int cancel_it(void *arg, struct error *e)
{
    struct upload *u = arg;
    struct volume *v = u->volume;
    uint64_t ino = u->inode.ino;
    int r = refuse(u, "canceled", e);

    if (r == 0)
        r = hold(v, ino, INDEX_CANCELED, CANCELED, e);
    if (r < 0)
        return r;
    end_shown(take_ptr(u->shown));
    upload_break_off(u);
    tell_canceled(v, ino);
    return 0;
}

static uint64_t moved(void *arg)
{
    return upload_progress(arg);
}

const struct transfer_control upload_control = { .pause = pause_it, .cancel = cancel_it, .moved = moved };

/* --- for the uploader ----------------------------------------------------------------------------------- */

struct transfer *upload_resumed(struct upload *u)
{
    struct transfer *shown;
    struct upload_hold *h;

    LIST_FOREACH(h, &u->uploader->holds, next)
        if (h->ino == u->inode.ino)
            break;
    if (!h)
        return NULL;
    shown = h->shown;
    transfer_hand_over(shown, &upload_control, u);
    transfer_set_size(shown, u->inode.size);
    hold_free(h);
    return shown;
}

static void end_hold(struct upload_hold *h, const char *why)
{
    struct error e;

    (void)error_set(&e, -ECANCELED, "%s", why);
    transfer_end(h->shown, &e);
    hold_free(h);
}

/* Whether its content is still to be sent. */
static bool is_wanted(const struct upload_hold *h)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(h->uploader->volume->index, h->ino, &i);

    return r == 0 ? i.nlink && i.pending & INDEX_CONTENT : r != -ENOENT;
}

void uploader_look_at_holds(struct uploader *u)
{
    struct upload_hold *h, *next;

    for (h = LIST_FIRST(&u->holds); h; h = next) {
        next = LIST_NEXT(h, next);
        if (!is_wanted(h))
            end_hold(h, "It was removed.");
    }
}

void uploader_end_holds(struct uploader *u)
{
    while (!LIST_EMPTY(&u->holds))
        end_hold(LIST_FIRST(&u->holds), "The drive is being closed.");
}
