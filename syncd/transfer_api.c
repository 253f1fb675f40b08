/* /cloud/client_transfer: the transfers of this process, and what can be asked of them. */
#include "syncd/transfer_internal.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/number.h"
#include "syncd/page.h"
#include "syncd/syncd.h"

const struct transfer_word transfer_words[TRANSFER_STATUSES] = {
    [TRANSFER_RUNNING] = { "InProgress", "running" },
    [TRANSFER_PAUSED] = { "Paused", "paused" },
    [TRANSFER_COMPLETED] = { "Completed", "completed" },
    [TRANSFER_FAILED] = { "Failed", "failed" },
    [TRANSFER_CANCELED] = { "Canceled", "cancelled" },
};

/* --- as the API has them ---------------------------------------------------------------------------------- */

static char *date(int64_t ns)
{
    char text[DATE_SIZE];

    date_iso(ns, text);
    return xstrdup(text);
}

/* NULL: it never was. */
static char *paused(const struct transfer *t)
{
    int64_t ns = t->paused_ns + (t->status == TRANSFER_PAUSED ? loop_now_ns() - t->paused_since_ns : 0);
    char text[SPAN_SIZE];

    transfer_span(ns, text);
    return ns ? xstrdup(text) : NULL;
}

static int percent(const struct transfer *t)
{
    if (t->status == TRANSFER_COMPLETED)
        return 100;
    return t->size ? (int)((double)least(t->moved, t->size) * 100 / (double)t->size) : 0;
}

static bool is_from_cloud(const struct transfer *t)
{
    return t->mode == TRANSFER_DOWNLOAD || t->mode == TRANSFER_DECRYPT;
}

/* What is in the cloud is named by bucket and key, what is here by its path alone. */
static void fill_ends(Lf__ClientTransfer *m, const struct transfer *t)
{
    if (is_from_cloud(t)) {
        m->source_bucket = xstrdup(t->storage_name);
        m->source_path = xstrdup(t->key);
        m->target_path = xstrdup(t->path);
    } else {
        m->source_path = xstrdup(t->path);
        m->target_bucket = xstrdup(t->storage_name);
        m->target_path = xstrdup(t->key);
    }
}

static Lf__ClientTransfer *model(struct transfer *t)
{
    Lf__ClientTransfer *m = xcalloc(1, sizeof(*m));

    lf__client_transfer__init(m);
    transfer_look(t);
    m->transfer_id = xstrdup(t->id);
    m->status = xstrdup(transfer_words[t->status].api);
    m->has_transferred_bytes = m->has_total_bytes = m->has_progress = true;
    m->transferred_bytes = (int64_t)t->moved;
    m->total_bytes = (int64_t)t->size;
    m->progress = percent(t);
    m->start_time = date(t->begun_wall_ns);
    m->end_time = is_over(t) ? date(t->ended_wall_ns) : NULL;
    m->error_message = xstrdup(t->error);
    m->paused_duration = paused(t);
    fill_ends(m, t);
    return m;
}

/* --- asked ------------------------------------------------------------------------------------------------ */

static struct transfers *transfers_of(void *daemon)
{
    return ((struct syncd *)daemon)->transfers;
}

/* The first one behind that of the page's id; a page whose last one was dropped meanwhile begins with the oldest. */
static struct transfer *first_of(const struct transfers *all, const char *page)
{
    struct transfer *t = page && *page ? transfer_find(all, page) : NULL;

    return t ? TAILQ_NEXT(t, next) : TAILQ_FIRST(&all->list);
}

void transfer_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__TransferListed listed = LF__TRANSFER_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(TRANSFER_LISTED, transfer_listed, &listed);
    struct transfer *t = first_of(transfers_of(daemon), env->transfer_list->page);
    struct page page = { 0 };

    (void)fds;
    for (; t; t = TAILQ_NEXT(t, next)) {
        Lf__ClientTransfer *m = model(t);

        if (!page_add(&page, &m->base)) {
            lf__client_transfer__free_unpacked(m, NULL);
            listed.next_page = TAILQ_PREV(t, transfer_list_head, next)->id;
            break;
        }
    }
    listed.transfers = (Lf__ClientTransfer **)page.items;
    listed.n_transfers = page.n;
    ipc_reply(req, &reply, NULL, 0);
    page_free(&page, true);
}

/* NULL once the request has been failed. */
static struct transfer *asked_for(struct ipc_request *req, void *daemon, const char *id)
{
    struct transfer *t = transfer_find(transfers_of(daemon), id);

    if (!t)
        ipc_fail(req, -ENOENT, "There is no transfer %s; those of this run of the agent are known, and of the ones "
                 "that have ended the last %d.", id, TRANSFERS_KEPT);
    return t;
}

void transfer_get(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__TransferFound found = LF__TRANSFER_FOUND__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(TRANSFER_FOUND, transfer_found, &found);
    struct transfer *t = asked_for(req, daemon, env->transfer_get->transfer_id);

    (void)fds;
    if (!t)
        return;
    found.transfer = model(t);
    ipc_reply(req, &reply, NULL, 0);
    lf__client_transfer__free_unpacked(found.transfer, NULL);
}

typedef int ask_fn(void *arg, struct error *e);

/* True where it was done; else the request has been failed: 400, as the contract has it. */
static bool ask(struct ipc_request *req, const struct transfer *t, bool in_this_status, ask_fn *fn, const char *what)
{
    struct error e;
    int r;

    if (!in_this_status)
        r = error_set(&e, -EBADMSG, "The transfer is %s and cannot be %s.", transfer_words[t->status].api, what);
    else if (!fn)
        r = error_set(&e, -EBADMSG, "A transfer of this kind cannot be %s.", what);
    else
        r = fn(t->arg, &e);
    if (r < 0)
        ipc_fail_error(req, &e);
    return r == 0;
}

/* What was asked for may have ended it, and then it may be known no more. */
static void turn(struct ipc_request *req, void *daemon, const char *id, enum transfer_status status)
{
    struct transfer *t = transfer_find(transfers_of(daemon), id);

    if (t && !is_over(t))
        transfer_turn(t, status);
    ipc_done(req);
}

void transfer_pause(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct transfer *t = asked_for(req, daemon, env->transfer_pause->transfer_id);

    (void)fds;
    if (!t)
        return;
    transfer_look(t);
    if (ask(req, t, t->status == TRANSFER_RUNNING, t->control ? t->control->pause : NULL, "paused"))
        turn(req, daemon, env->transfer_pause->transfer_id, TRANSFER_PAUSED);
}

void transfer_resume(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct transfer *t = asked_for(req, daemon, env->transfer_resume->transfer_id);

    (void)fds;
    if (t && ask(req, t, t->status == TRANSFER_PAUSED, t->control ? t->control->resume : NULL, "resumed"))
        turn(req, daemon, env->transfer_resume->transfer_id, TRANSFER_RUNNING);
}

void transfer_cancel(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct transfer *t = asked_for(req, daemon, env->transfer_cancel->transfer_id);

    (void)fds;
    if (t && ask(req, t, !is_over(t), t->control ? t->control->cancel : NULL, "canceled"))
        ipc_done(req);
}
