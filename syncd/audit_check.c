/* Reading the audit log for those who ask: its lines, and whether they are the ones that were written. In the pool: a
 * log may be long. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/json_pb.h"
#include "common/loop.h"
#include "common/text.h"
#include "syncd/audit_internal.h"
#include "syncd/page.h"

enum { LINES_SHOWN = 100 };

/* The folder is the job's own descriptor: the log may be closed meanwhile. */
struct look {
    struct ipc_request *req;
    int dir;
    uint64_t since, until;          /* lines behind `since` are wanted; list alone */
    bool full;
    struct page page;
    Lf__AuditVerdict verdict;
    struct error error;
};

static struct look *look_new(struct ipc_request *req, void *daemon)
{
    const struct audit *a = ((struct syncd *)daemon)->audit;
    struct look *l = xcalloc(1, sizeof(*l));

    l->req = req;
    l->dir = fcntl(a->dir, F_DUPFD_CLOEXEC, 3);
    lf__audit_verdict__init(&l->verdict);
    return l;
}

static void look_free(struct look *l)
{
    if (l->dir >= 0)
        (void)close(l->dir);
    page_free(&l->page, true);
    free(l->verdict.problem);
    free(l->verdict.head);
    free(l);
}

/* --- lines ------------------------------------------------------------------------------------------------ */

static bool add(struct json_object *line, void *arg)
{
    struct look *l = arg;
    ProtobufCMessage *m;
    struct error e;

    if (json_to_message(line, &lf__audit_record__descriptor, &m, &e) < 0)
        return true;   /* a line of a newer version */
    if ((uint64_t)((Lf__AuditRecord *)m)->seq > l->since)
        l->full = l->page.n == LINES_SHOWN || !page_add(&l->page, m);
    if (l->full || (uint64_t)((Lf__AuditRecord *)m)->seq <= l->since)
        protobuf_c_message_free_unpacked(m, NULL);
    return !l->full;
}

/* Files that end before what is wanted are passed over by their names. */
static void read_lines(void *arg)
{
    struct look *l = arg;
    CLEANUP_FREE uint64_t *files = NULL;
    struct audit_found found;
    char name[AUDIT_NAME_SIZE];
    size_t n;
    int r = audit_files(l->dir, &files, &n);

    if (r < 0)
        error_set(&l->error, r, "The audit log cannot be read: %s.", strerror(-r));
    for (size_t i = 0; r == 0 && i < n && !l->full; i++) {
        if (i + 1 < n && files[i + 1] <= l->since + 1)
            continue;
        audit_name(files[i], name);
        audit_read(l->dir, name, add, l, &found);
    }
}

static void lines_read(void *arg)
{
    struct look *l = arg;
    Lf__AuditListed listed = LF__AUDIT_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(AUDIT_LISTED, audit_listed, &listed);
    char next[24] = "";

    listed.records = (Lf__AuditRecord **)l->page.items;
    listed.n_records = l->page.n;
    if (l->full)
        (void)snprintf(next, sizeof(next), "%" PRId64, listed.records[l->page.n - 1]->seq);
    listed.next_page = next;
    if (l->error.code)
        ipc_fail_error(l->req, &l->error);
    else
        ipc_reply(l->req, &reply, NULL, 0);
    look_free(l);
}

void audit_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__AuditList *ask = env->audit_list;
    struct look *l = look_new(req, daemon);

    (void)fds;
    l->since = ask->has_since && ask->since > 0 ? (uint64_t)ask->since : 0;
    if (ask->page && *ask->page)
        (void)text_number(ask->page, INT64_MAX, &l->since);
    loop_work(((struct syncd *)daemon)->loop, read_lines, lines_read, l);
}

/* --- whether they are all there --------------------------------------------------------------------------- */

static void fail(struct look *l, const char *problem)
{
    l->verdict.whole = false;
    if (!l->verdict.problem)
        l->verdict.problem = xstrdup(problem);
}

/* Files that were removed because there are too many leave a beginning, never a gap. */
static void check_file(struct look *l, uint64_t first, struct audit_head *head)
{
    char name[AUDIT_NAME_SIZE];
    struct audit_found found;
    struct error gap;

    audit_name(first, name);
    audit_read(l->dir, name, NULL, NULL, &found);
    if (head->seq && found.begun && (found.first != head->seq + 1 || strcmp(found.before, head->hash) != 0)) {
        error_set(&gap, -EUCLEAN, "%s does not begin where the file before it ends.", name);
        fail(l, error_text(&gap));
    } else if (found.begun && found.first != first) {
        error_set(&gap, -EUCLEAN, "%s begins with another line than its name says.", name);
        fail(l, error_text(&gap));
    }
    if (found.problem.code)
        fail(l, error_text(&found.problem));
    if (!l->verdict.first && found.lines)
        l->verdict.first = (int64_t)found.first;
    l->verdict.lines += (int64_t)found.lines;
    if (found.lines)
        *head = found.head;
}

static void check(void *arg)
{
    struct look *l = arg;
    CLEANUP_FREE uint64_t *files = NULL;
    struct audit_head head;
    size_t n;
    int r = audit_files(l->dir, &files, &n);

    audit_head_none(&head);
    l->verdict.has_whole = l->verdict.has_lines = l->verdict.has_first = l->verdict.has_last = true;
    l->verdict.whole = true;
    if (r < 0)
        fail(l, strerror(-r));
    for (size_t i = 0; r == 0 && i < n; i++)
        check_file(l, files[i], &head);
    l->verdict.last = (int64_t)head.seq;
    l->verdict.head = xstrdup(head.hash);
}

static void checked(void *arg)
{
    struct look *l = arg;
    Lf__AuditVerified verified = LF__AUDIT_VERIFIED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(AUDIT_VERIFIED, audit_verified, &verified);

    verified.verdict = &l->verdict;
    ipc_reply(l->req, &reply, NULL, 0);
    look_free(l);
}

void audit_verify(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)env;
    (void)fds;
    loop_work(((struct syncd *)daemon)->loop, check, checked, look_new(req, daemon));
}
