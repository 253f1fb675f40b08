/* The two messages about a call. Nobody waits for their answers: what syncd has not got when it is restarted is told
 * again, and a call that it does not hear of it cannot carry out either. */
#include "frontd/audit.h"

#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/number.h"
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

/* A value that is too long is cut. */
static void add_pair(const char *name, const char *value, struct text *out)
{
    size_t used = out->len + strlen(name) + sizeof("&=");

    if (used < QUERY_TEXT_MAX)
        (void)text_printf(out, "%s%s=%.*s", out->len ? "&" : "", name, (int)least(strlen(value), QUERY_TEXT_MAX - used),
                          value);
}

static bool is_read(const struct route *r, const char *name)
{
    char one[ROUTE_NAME_SIZE];

    for (const char *p = r->query; route_take_name(&p, one);)
        if (strcasecmp(one, name) == 0)
            return true;
    return false;
}

/* What the row reads, in its order: the rest is the caller's and takes no place of that. */
static void add_read(const struct exchange *x, struct text *out)
{
    char name[ROUTE_NAME_SIZE];

    for (const char *p = x->match.route->query; route_take_name(&p, name);) {
        const char *value = query_get(&x->query, name);

        if (value)
            add_pair(name, value, out);
    }
}

/* "path=/a b&force=true": decoded, without what opens doors. */
static void add_query(const struct exchange *x, struct text *out)
{
    const struct query *q = &x->query;

    add_read(x, out);
    for (size_t i = 0; i < q->n; i++)
        if (strcasecmp(q->pairs[i].name, "token") != 0 && !is_read(x->match.route, q->pairs[i].name))
            add_pair(q->pairs[i].name, q->pairs[i].value, out);
    (void)text_add(out, "", 0);
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
    add_query(x, &query);
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
