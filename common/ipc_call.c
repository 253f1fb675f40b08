/* Owns the calls of a client until they are answered.
 *
 * A call is in `calls`, in order of its id, until its answer is delivered; one that failed by itself
 * waits in `failed` for the loop's next turn, so that nobody hears back from inside a call.
 * Must not know how a connection comes about.
 */
#include "common/ipc_call.h"

#include <errno.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/random.h"

uint64_t ipc_trace_new(void)
{
    return random_id();
}

struct ipc_call *ipc_call_find(struct ipc_client *c, uint64_t id)
{
    struct ipc_call *call;

    LIST_FOREACH(call, &c->buckets[id % IPC_CALL_BUCKETS], same_bucket)
        if (call->id == id)
            return call;
    return NULL;
}

bool ipc_call_failed(const struct ipc_call *call)
{
    return call->error.code != 0;
}

/* Takes the call off its list and frees it. */
static void call_forget(struct ipc_call *call)
{
    struct ipc_client *c = call->client;

    if (ipc_call_failed(call)) {
        TAILQ_REMOVE(&c->failed, call, next);
    } else {
        TAILQ_REMOVE(&c->calls, call, next);
        c->n_calls--;
    }
    LIST_REMOVE(call, same_bucket);
    loop_timer_free(call->deadline);
    ipc_packet_unref(call->packet);
    free(call);
}

/* The call is over before its owner hears of it: the owner may cancel others, or free the client. */
void ipc_call_finish(struct ipc_call *call, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    ipc_answer_fn *done = call->done;
    void *arg = call->arg;

    call_forget(call);
    done(e, reply, fds, arg);
}

void ipc_call_fail(struct ipc_call *call, const struct error *e)
{
    struct ipc_client *c = call->client;

    TAILQ_REMOVE(&c->calls, call, next);
    c->n_calls--;
    loop_timer_free(call->deadline);
    call->deadline = NULL;
    call->error = *e;
    TAILQ_INSERT_TAIL(&c->failed, call, next);
    event_active(c->failing, EV_TIMEOUT, 0);
}

void ipc_call_deliver_failed(struct ipc_client *c, size_t n)
{
    struct ipc_call *call;

    c->refs++;
    while (n-- > 0 && (call = TAILQ_FIRST(&c->failed))) {
        struct error e = call->error;

        ipc_call_finish(call, &e, NULL, NULL);
    }
    ipc_client_unref(c);
}

static void on_deadline(void *arg)
{
    struct ipc_call *call = arg;
    struct error e;

    (void)error_set(&e, -ETIMEDOUT, "%s did not answer in time.", role_name(call->client->spec.peer));
    ipc_call_finish(call, &e, NULL, NULL);
}

/* What may not be repeated needs no copy once it is on its way. */
void ipc_call_send(struct ipc_call *call)
{
    struct error e;
    int r = ipc_conn_send(call->client->conn, call->packet);

    if (r < 0) {
        (void)error_set(&e, r, "A request to %s could not be sent.", role_name(call->client->spec.peer));
        ipc_call_fail(call, &e);
        return;
    }
    call->sent = true;
    if (!call->row->repeat) {
        ipc_packet_unref(call->packet);
        call->packet = NULL;
    }
}

static uint64_t done_below(const struct ipc_client *c)
{
    const struct ipc_call *first = TAILQ_FIRST(&c->calls);

    return first ? first->id : c->next_id;
}

/* Everything about a call that can be wrong before it is sent. */
static int call_prepare(struct ipc_call *call, Lf__Envelope *request, const int *fds, size_t n, uint64_t deadline_ms)
{
    struct ipc_client *c = call->client;
    int r;

    if (c->freed)
        return -ECANCELED;
    if (c->n_calls > c->spec.max_queue || (c->conn && ipc_conn_queued(c->conn) > c->spec.max_queue))
        return -EAGAIN;
    if (ipc_packet_check_call(request, c->spec.role, c->spec.peer, n, &call->row))
        return -EPROTO;
    r = ipc_packet_new(request, fds, n, &call->packet);
    if (r == 0 && (call->row->repeat || !c->conn))
        r = ipc_packet_keep(call->packet);
    if (r == 0 && deadline_ms > 0) {
        call->deadline = loop_timer(c->loop, deadline_ms, on_deadline, call);
        r = call->deadline ? 0 : -ENOMEM;
    }
    return r;
}

static struct ipc_call *call_new(struct ipc_client *c, ipc_answer_fn *done, void *arg)
{
    struct ipc_call *call = xcalloc(1, sizeof(*call));

    call->client = c;
    call->id = c->next_id++;
    call->done = done;
    call->arg = arg;
    TAILQ_INSERT_TAIL(&c->calls, call, next);
    LIST_INSERT_HEAD(&c->buckets[call->id % IPC_CALL_BUCKETS], call, same_bucket);
    c->n_calls++;
    return call;
}

uint64_t ipc_call(struct ipc_client *c, Lf__Envelope *request, const int *fds, size_t n,
                  uint64_t deadline_ms, ipc_answer_fn *done, void *arg)
{
    struct ipc_call *call = call_new(c, done, arg);
    uint64_t id = call->id;
    struct error e;
    int r;

    request->id = id;
    request->has_trace = 1;
    request->trace = request->trace != 0 ? request->trace : ipc_trace_new();
    request->has_done_below = 1;
    request->done_below = done_below(c);
    r = call_prepare(call, request, fds, n, deadline_ms);
    if (r < 0) {
        (void)error_set(&e, r, "A request to %s could not be made.", role_name(c->spec.peer));
        ipc_call_fail(call, &e);
    } else if (c->conn) {
        ipc_call_send(call);
    }
    return id;
}

void ipc_cancel(struct ipc_client *c, uint64_t handle)
{
    struct ipc_call *call = ipc_call_find(c, handle);

    if (call)
        call_forget(call);
}

