/* The LocalFolder provider's operations. All access to the folder happens in pool threads, a slice at a time, so that
 * a large file keeps nobody else waiting; sinks are written from the loop, so that nothing is written after a cancel.
 */
#include "syncd/cloud_local.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/service_url.h"

static local_step *const steps[CLOUD_OP_COUNT] = {
    [CLOUD_BUCKETS] = local_buckets,
    [CLOUD_LIST] = local_list,
    [CLOUD_STAT] = local_stat,
    [CLOUD_GET] = local_get,
    [CLOUD_PUT] = local_put,
    [CLOUD_PART_BEGIN] = local_part_begin,
    [CLOUD_PART_PUT] = local_part_put,
    [CLOUD_PART_COPY] = local_part_copy,
    [CLOUD_PART_LIST] = local_part_list,
    [CLOUD_PART_END] = local_part_end,
    [CLOUD_PART_ABORT] = local_part_abort,
    [CLOUD_UPLOADS] = local_uploads,
    [CLOUD_COPY] = local_copy,
    [CLOUD_DELETE] = local_delete,
    [CLOUD_DELETE_BATCH] = local_delete_batch,
    [CLOUD_BUCKET_CREATE] = local_bucket_create,
    [CLOUD_SPACE] = local_space,
};

/* --- in the pool ------------------------------------------------------------------------------------ */

static void release(struct local_job *j)
{
    if (j->temp[0])
        (void)unlinkat(j->hidden, j->temp, 0);
    for (int *fds[] = { &j->source, &j->target, &j->changed, &j->hidden, &j->bucket }, i = 0; i < 5; i++)
        cleanup_close(fds[i]);
}

static void work(void *arg)
{
    struct local_job *j = arg;

    j->result = atomic_load(&j->stop) ? -ECANCELED : j->step(j);
    if (j->result <= 0)
        release(j);
}

/* --- in the loop ------------------------------------------------------------------------------------ */

static void on_worked(void *arg);

static void go_on(void *arg)
{
    struct local_job *j = arg;

    loop_timer_free(take_ptr(j->pause));
    j->idle = false;
    loop_work(j->local->cloud->loop, work, on_worked, j);
}

static void finish(struct local_job *j)
{
    struct cloud_request *r = j->r;
    struct error e = j->error;

    r->driver = NULL;
    if (atomic_load(&j->stop) && !e.code)
        (void)error_set(&e, -ECANCELED, "The request was canceled.");
    if (e.code)
        cloud_request_reset(r);
    cloud_finish(r, e.code ? &e : NULL);
    free(j->buffer);
    free(j);
}

/* What a step has read goes to whoever asked, who may cancel from inside. */
static void hand_over(struct local_job *j)
{
    int r = cloud_deliver(j->r, j->buffer, j->filled);

    j->filled = 0;
    j->paused = r > 0;
    if (r >= 0)
        return;
    (void)error_set(&j->error, r, "%s: the local copy cannot be written: %s.", j->r->key, strerror(-r));
    atomic_store(&j->stop, true);
}

static void on_worked(void *arg)
{
    struct local_job *j = arg;

    j->idle = true;
    if (j->filled && !atomic_load(&j->stop))
        hand_over(j);
    if (j->result <= 0)
        finish(j);
    else if (j->result == LOCAL_LATER && !atomic_load(&j->stop))
        j->pause = loop_timer(j->local->cloud->loop, j->pause_ms, go_on, j);
    else if (!j->paused || atomic_load(&j->stop))
        go_on(j);
}

static void local_submit(struct cloud *c, struct cloud_request *r)
{
    struct local_job *j = xcalloc(1, sizeof(*j));

    *j = (struct local_job){ .local = c->state, .r = r, .step = steps[r->op], .bucket = -1, .hidden = -1, .source = -1,
        .target = -1, .changed = -1 };
    r->driver = j;
    go_on(j);
}

/* The work under way ends by itself at the next slice. */
static void local_cancel(struct cloud *c, struct cloud_request *r)
{
    struct local_job *j = r->driver;

    (void)c;
    if (!j)
        return;
    atomic_store(&j->stop, true);
    if (j->idle && (j->paused || j->pause))
        go_on(j);
}

static void local_resume(struct cloud *c, struct cloud_request *r)
{
    struct local_job *j = r->driver;

    (void)c;
    if (!j || !j->paused)
        return;
    j->paused = false;
    if (j->idle)
        go_on(j);
}

static void local_presign(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg)
{
    struct error e = { 0 };

    (void)c;
    (void)error_set(&e, -EOPNOTSUPP, "%s/%s is in a local folder; there are no URLs for it.", url->bucket, url->key);
    done(&e, NULL, arg);
}

static int local_open(struct cloud *c, const struct cloud_spec *spec, struct error *e)
{
    struct local *l = xcalloc(1, sizeof(*l));
    int r = service_url_folder(spec->service_url ? spec->service_url : "", &l->root, e);

    if (r < 0) {
        free(l);
        return r;
    }
    l->cloud = c;
    c->state = l;
    return 0;
}

static void local_close(struct cloud *c)
{
    struct local *l = c->state;

    free(l->root);
    free(l);
}

const struct cloud_ops cloud_local_ops = {
    .name = "local",
    .capabilities = CLOUD_CAN_RANGE | CLOUD_CAN_MULTIPART | CLOUD_CAN_COPY | CLOUD_CAN_COPY_PART
        | CLOUD_CAN_BATCH_DELETE | CLOUD_CAN_IF_MATCH | CLOUD_CAN_IF_NONE_MATCH | CLOUD_CAN_METADATA
        | CLOUD_HAS_FOLDERS | CLOUD_HAS_SPACE,
    .limits = { 1, INT64_MAX, INT64_MAX, LOCAL_PARTS_MAX },
    .open = local_open,
    .close = local_close,
    .submit = local_submit,
    .cancel = local_cancel,
    .resume = local_resume,
    .presign = local_presign,
    .check_key = local_check_key,
};
