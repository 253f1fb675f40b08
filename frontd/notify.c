/* What comes here is shown by other programs, perhaps in a browser: it is bounded, has no controls where a name or an
 * address is expected, and an address is none that a browser would run. */
#include "frontd/notify.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/json_pb.h"
#include "frontd/call.h"
#include "frontd/feeds.h"

enum { TEXT_MAX = 4096, METHOD_MAX = 16 };

static const char *const operations[] = { [1] = "AppExit", [2] = "EndpointExecution" };

static void free_message(ProtobufCMessage **m)
{
    protobuf_c_message_free_unpacked(*m, NULL);
}

static int check_text(const char *name, const char *s, size_t max, bool is_line, struct error *e)
{
    if (s && strlen(s) > max)
        return error_set(e, -EINVAL, "%s must have at most %zu bytes.", name, max);
    if (s && is_line && text_has_control(s))
        return error_set(e, -EINVAL, "%s must not have control characters.", name);
    return 0;
}

/* A path, or an address of the web: no "javascript:" and the like. */
static int check_address(const char *s, struct error *e)
{
    size_t len = s ? strcspn(s, ":/?#") : 0;

    if (!s || s[len] != ':' || (len == 4 && strncasecmp(s, "http", len) == 0) ||
        (len == 5 && strncasecmp(s, "https", len) == 0))
        return 0;
    return error_set(e, -EINVAL, "endpointAddress must be a path or an address of http or https.");
}

static int check(const Lf__NotifyRequest *n, struct error *e)
{
    int r;

    if (!n->has_operation || n->operation < 1 || n->operation >= (int)ARRAY_SIZE(operations))
        return error_set(e, -EINVAL, "operation must be 1 (AppExit) or 2 (EndpointExecution).");
    if ((r = check_text("endpointAddress", n->endpoint_address, TEXT_MAX, true, e)) < 0 ||
        (r = check_text("httpMethod", n->http_method, METHOD_MAX, true, e)) < 0 ||
        (r = check_text("origion", n->origion, TEXT_MAX, true, e)) < 0 ||
        (r = check_text("data", n->data, TEXT_MAX, false, e)) < 0)
        return r;
    return check_address(n->endpoint_address, e);
}

void notify_serve(struct exchange *x)
{
    CLEANUP(free_message) ProtobufCMessage *m = NULL;
    const Lf__NotifyRequest *n;
    struct error e = { 0 };

    if (call_message(x, &m, &e) < 0 || check(n = (const Lf__NotifyRequest *)(const void *)m, &e) < 0) {
        exchange_fail(x, &e);
        return;
    }
    feeds_tell_app(x->frontd->feeds, &(struct feeds_app){ .operation = operations[n->operation],
                                                          .address = n->endpoint_address,
                                                          .method = n->http_method,
                                                          .origin = n->origion,
                                                          .data = n->data ? json_string(n->data) : NULL,
                                                          .has_data = true });
    exchange_empty(x);
}
