/* The two messages about a call. Nobody waits for their answers: what syncd has not got when it is restarted is told
 * again, and a call that it does not hear of it cannot carry out either. */
#include "frontd/audit.h"

#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "frontd/exchange.h"

enum { QUERY_TEXT_MAX = 4096 };

static void told(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)e;
    (void)reply;
    (void)fds;
    (void)arg;
}

static void tell(struct exchange *x, Lf__Envelope *env)
{
    if (x->frontd->peers[ROLE_SYNCD])
        (void)ipc_call(x->frontd->peers[ROLE_SYNCD], env, NULL, 0, 0, told, NULL);
}

/* "path=/a b&force=true": decoded, without what opens doors. */
static void add_query(const struct query *q, struct text *out)
{
    for (size_t i = 0; i < q->n; i++) {
        if (strcasecmp(q->pairs[i].name, "token") == 0)
            continue;
        if (out->len)
            text_add(out, "&", 1);
        text_add(out, q->pairs[i].name, strlen(q->pairs[i].name));
        text_add(out, "=", 1);
        text_add(out, q->pairs[i].value, strlen(q->pairs[i].value));
    }
    text_add(out, "", 1);
}

void audit_begin(struct exchange *x)
{
    CLEANUP(text_free) struct text query = TEXT_INIT(QUERY_TEXT_MAX);
    const struct http_head *h = http_request_head(x->http);
    const struct peer *p = http_request_peer(x->http);
    Lf__AuditCall m = LF__AUDIT_CALL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AUDIT_CALL, audit_call, &m);

    if (!(x->match.route->policy & ROUTE_CHANGES))
        return;
    add_query(&x->query, &query);
    m.call = x->trace;
    m.uid = p->uid;
    m.has_pid = p->pid != 0;
    m.pid = (uint32_t)p->pid;
    m.has_socket = p->inode != 0;
    m.socket = p->inode;
    m.method = (char *)(uintptr_t)h->method_name;
    m.endpoint = (char *)(uintptr_t)h->path;
    m.query = query.data;
    x->audited = true;
    tell(x, &env);
}

void audit_end(struct exchange *x, const char *error)
{
    Lf__AuditResult m = LF__AUDIT_RESULT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AUDIT_RESULT, audit_result, &m);

    if (!x->audited)
        return;
    x->audited = false;
    m.call = x->trace;
    m.status = x->status;
    m.error = (char *)(uintptr_t)error;
    tell(x, &env);
}
