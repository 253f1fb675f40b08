/* Owns what a drive that is to be deleted still does in the cloud: it ends the uploads in parts that it has begun, of
 * which nobody else knows and which are paid for until somebody ends them. A cloud that does not answer holds nothing
 * up for long.
 *
 * Must not know why the drive goes. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/upload.h"

enum { PATIENCE_MS = 10 * 1000 };

struct upload_quit {
    struct uploader *uploader;
    void (*done)(void *arg);
    void *arg;
    uint64_t ino;                  /* whose row was looked at last */
    struct loop_timer *timer;      /* until it is over, whatever the cloud does */
};

void upload_quit_free(struct upload_quit *q)
{
    if (!q)
        return;
    loop_timer_free(q->timer);
    free(q);
}

/* If the drive stays after all it goes on as before. */
static void finish(void *arg)
{
    struct upload_quit q = *(struct upload_quit *)arg;

    q.uploader->quit = NULL;
    upload_quit_free(arg);
    uploader_kick(q.uploader);
    q.done(q.arg);
}

static void on_patience(void *arg)
{
    struct upload_quit *q = arg;

    LOG(LOG_NOTICE, "uploads_left_in_cloud", "drive=%s", q->uploader->volume->drive->id);
    finish(q);
}

/* The cloud's answer is still being given: whoever is told may close the volume. */
static void finish_soon(struct upload_quit *q)
{
    loop_timer_free(q->timer);
    q->timer = loop_timer(q->uploader->volume->loop, 0, finish, q);
}

static bool take(const struct index_upload *row, void *arg)
{
    struct index_upload *found = arg;

    if (!row->part_size)
        return true;
    *found = *row;
    found->key = xstrdup(row->key);
    found->upload_id = xstrdup(row->upload_id);
    return false;
}

static void forget(struct index *x, uint64_t ino)
{
    if (index_begin(x) == 0)
        (void)index_end(x, index_upload_remove(x, ino));
}

static upload_aborted_fn ended;

static void end_next(struct upload_quit *q)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    struct upload *up;

    if (index_uploads(q->uploader->volume->index, q->ino, take, &row) < 0 || !row.key) {
        finish_soon(q);
        return;
    }
    q->ino = row.ino;
    up = upload_new(q->uploader, UPLOAD_BURY);
    up->inode.ino = row.ino;
    upload_abort(up, &row, ended);
}

static void ended(struct upload *up, const struct error *e)
{
    struct upload_quit *q = up->uploader->quit;
    bool hopeless = upload_fails_all(e->code);

    if (e->code == 0)
        forget(up->volume->index, up->inode.ino);
    else
        LOG(LOG_NOTICE, "upload_left_in_cloud", "drive=%s", up->volume->drive->id, "error=%s", error_text(e));
    upload_end(up);
    if (q && hopeless)
        finish_soon(q);
    else if (q)
        end_next(q);
}

void volume_end_uploads(struct volume *v, void (*done)(void *arg), void *arg)
{
    struct uploader *u = v->uploader;
    struct upload_quit *q = xcalloc(1, sizeof(*q));
    struct upload *up;

    *q = (struct upload_quit){ .uploader = u, .done = done, .arg = arg };
    u->quit = q;
    while ((up = LIST_FIRST(&u->running)))
        upload_abandon(up);
    u->n_running = 0;
    u->burying = false;
    q->timer = loop_timer(v->loop, PATIENCE_MS, on_patience, q);
    end_next(q);
}
