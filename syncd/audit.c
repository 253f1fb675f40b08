/* Appending to the audit log, and whose call it is. */
#include "syncd/audit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/config.h"
#include "common/json_pb.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/text.h"
#include "syncd/audit_internal.h"

enum { HEAD_SAID_EVERY = 256, CALL_DIGITS = 17, EXE_MAX = 4096 };

/* --- the file --------------------------------------------------------------------------------------------- */

static void say_head(const struct audit *a)
{
    LOG(LOG_NOTICE, "audit_head", "seq=%" PRIu64, a->head.seq, "hash=%s", a->head.hash);
}

static void remove_oldest(struct audit *a)
{
    CLEANUP_FREE uint64_t *files = NULL;
    char name[AUDIT_NAME_SIZE];
    size_t n;

    if (audit_files(a->dir, &files, &n) < 0)
        return;
    for (size_t i = 0; n - i > a->max_files; i++) {
        audit_name(files[i], name);
        (void)unlinkat(a->dir, name, 0);
    }
}

static struct json_object *new_line(void)
{
    struct json_object *line = json_object_new_object();
    char now[DATE_SIZE];

    date_iso(loop_wall_ns(), now);
    (void)json_object_object_add(line, "time", json_object_new_string(now));
    return line;
}

/* Nothing of a line that does not fit onto the disk stays. */
static int write_line(struct audit *a, struct json_object *record)
{
    struct audit_head before = a->head;
    CLEANUP_FREE char *text = audit_line(&a->head, record);
    size_t n = text ? strlen(text) : 0;
    ssize_t w = text ? write(a->fd, text, n) : -1;
    int r = text ? -errno : -E2BIG;

    if (w == (ssize_t)n) {
        a->bytes += n;
        return 0;
    }
    a->head = before;
    if (w > 0 && ftruncate(a->fd, (off_t)a->bytes) < 0)
        LOG(LOG_CRIT, "audit_cut_short", "error=%m");
    return w >= 0 ? -ENOSPC : r;
}

/* Without its first line it is none. */
static void give_up_file(struct audit *a, const char *name)
{
    if (a->fd < 0)
        return;
    (void)unlinkat(a->dir, name, 0);
    (void)close(take_fd(&a->fd));
}

/* A new file, which begins with what the last one ended with. */
static int begin_file(struct audit *a)
{
    struct json_object *line = new_line();
    char name[AUDIT_NAME_SIZE];
    int r;

    audit_name(a->head.seq + 1, name);
    if (a->fd >= 0)
        (void)close(a->fd);
    a->fd = openat(a->dir, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    a->bytes = 0;
    (void)json_object_object_add(line, "chain", json_object_new_string(a->head.hash));
    r = a->fd < 0 ? -errno : write_line(a, line);
    json_object_put(line);
    if (r < 0)
        give_up_file(a, name);
    remove_oldest(a);
    return r;
}

static void sync_file(void *arg)
{
    const struct audit_syncing *s = arg;

    (void)fdatasync(s->fd);
}

static void synced(void *arg)
{
    CLEANUP_FREE struct audit_syncing *s = arg;
    struct audit *a = s->audit;

    (void)close(s->fd);
    if (!a)
        return;
    a->syncing = NULL;
    if (a->synced_seq != a->head.seq)
        audit_sync(a);
}

void audit_sync(struct audit *a)
{
    if (a->syncing || a->fd < 0)
        return;
    a->synced_seq = a->head.seq;
    a->syncing = xcalloc(1, sizeof(*a->syncing));
    *a->syncing = (struct audit_syncing){ .audit = a, .fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 3) };
    loop_work(a->loop, sync_file, synced, a->syncing);
}

/* What cannot be written is in the log of syncd at least. */
static void append(struct audit *a, struct json_object *record)
{
    int r = a->fd < 0 || a->bytes > a->max_bytes ? begin_file(a) : 0;

    if (r == 0)
        r = write_line(a, record);
    if (r < 0)
        LOG(LOG_CRIT, "audit_not_written", "error=%s", strerror(-r), "line=%s", json_object_to_json_string(record));
    else if (a->head.seq % HEAD_SAID_EVERY == 0)
        say_head(a);
    audit_sync(a);
}

/* --- who it was ------------------------------------------------------------------------------------------- */

/* A call that is under way. Who makes it is found out by the pool. */
struct audit_call {
    LIST_ENTRY(audit_call) next;
    struct audit *audit;          /* NULL: it is closed */
    struct ipc_request *req;      /* answered when its line is written: who hears nothing asks again */
    uint64_t call;
    Lf__AuditCall *asked;
    uint32_t pid;
    char exe[EXE_MAX];
    struct json_object *result;   /* came before that was known; NULL: not yet */
};

static bool has_socket(uint64_t pid, uint32_t inode)
{
    char path[64], wanted[32], target[64];
    DIR *fds;
    bool found = false;

    (void)snprintf(path, sizeof(path), "/proc/%" PRIu64 "/fd", pid);
    (void)snprintf(wanted, sizeof(wanted), "socket:[%u]", inode);
    fds = opendir(path);
    for (struct dirent *e = fds ? readdir(fds) : NULL; e && !found; e = readdir(fds)) {
        ssize_t n = readlinkat(dirfd(fds), e->d_name, target, sizeof(target) - 1);

        target[n > 0 ? n : 0] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    if (fds)
        (void)closedir(fds);
    return found;
}

/* Who has that end of a TCP connection, of those we may look into. */
static uint32_t pid_of(uint32_t inode)
{
    DIR *proc = opendir("/proc");
    uint64_t pid = 0, found = 0;

    for (struct dirent *e = proc ? readdir(proc) : NULL; e && !found; e = readdir(proc))
        if (text_number(e->d_name, UINT32_MAX, &pid) && has_socket(pid, inode))
            found = pid;
    if (proc)
        (void)closedir(proc);
    return (uint32_t)found;
}

static void find_out(void *arg)
{
    struct audit_call *c = arg;
    char path[32];
    ssize_t n;

    c->pid = c->asked->pid ? c->asked->pid : c->asked->socket ? pid_of(c->asked->socket) : 0;
    if (!c->pid)
        return;
    (void)snprintf(path, sizeof(path), "/proc/%u/exe", c->pid);
    n = readlink(path, c->exe, sizeof(c->exe) - 1);
    c->exe[n > 0 ? n : 0] = '\0';
}

static void add_text(struct json_object *line, const char *name, const char *text)
{
    if (text && *text)
        (void)json_object_object_add(line, name, json_string(text));
}

static void add_call(struct json_object *line, uint64_t call)
{
    char digits[CALL_DIGITS];

    (void)snprintf(digits, sizeof(digits), "%016" PRIx64, call);
    (void)json_object_object_add(line, "call", json_object_new_string(digits));
}

static void write_call(struct audit_call *c, bool found_out)
{
    struct json_object *line = new_line();

    add_call(line, c->call);
    (void)json_object_object_add(line, "uid", json_object_new_int64(c->asked->uid));
    if (found_out && c->pid)
        (void)json_object_object_add(line, "pid", json_object_new_int64(c->pid));
    add_text(line, "exe", found_out ? c->exe : NULL);
    add_text(line, "method", c->asked->method);
    add_text(line, "endpoint", c->asked->endpoint);
    add_text(line, "query", c->asked->query);
    append(c->audit, line);
    json_object_put(line);
    ipc_done(take_ptr(c->req));
    if (c->result)
        append(c->audit, c->result);
}

static void call_free(struct audit_call *c)
{
    lf__audit_call__free_unpacked(c->asked, NULL);
    json_object_put(c->result);
    free(c);
}

static void found_out(void *arg)
{
    struct audit_call *c = arg;

    if (c->audit) {
        LIST_REMOVE(c, next);
        write_call(c, true);
    }
    call_free(c);
}

/* --- what is asked ---------------------------------------------------------------------------------------- */

void audit_call(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct audit *a = ((struct syncd *)daemon)->audit;
    struct audit_call *c = xcalloc(1, sizeof(*c));

    (void)fds;
    c->audit = a;
    c->req = req;
    c->call = env->audit_call->call;
    c->asked = message_copy(&env->audit_call->base);
    LIST_INSERT_HEAD(&a->calls, c, next);
    loop_work(a->loop, find_out, found_out, c);
}

static struct json_object *result_line(const Lf__AuditResult *m)
{
    struct json_object *line = new_line();

    add_call(line, m->call);
    (void)json_object_object_add(line, "status", json_object_new_int(m->status));
    add_text(line, "error", m->error);
    return line;
}

/* Never before the line of its call. */
void audit_result(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct audit *a = ((struct syncd *)daemon)->audit;
    struct json_object *line = result_line(env->audit_result);
    struct audit_call *c;

    (void)fds;
    LIST_FOREACH(c, &a->calls, next)
        if (c->call == env->audit_result->call)
            break;
    if (c && !c->result) {
        c->result = line;
    } else {
        append(a, line);
        json_object_put(line);
    }
    ipc_done(req);
}

/* --- life ------------------------------------------------------------------------------------------------- */

/* Behind what a crash has cut off, or in a new file behind one that is not as it was written. -ENODATA: no line of that
 * one came to the disk, and it is no more. */
static int go_on(struct audit *a, uint64_t last)
{
    char name[AUDIT_NAME_SIZE];
    struct audit_found found;

    audit_name(last, name);
    audit_read(a->dir, name, NULL, NULL, &found);
    if (!found.lines && !found.problem.code)
        return unlinkat(a->dir, name, 0) < 0 ? -errno : -ENODATA;
    a->head = found.head;
    a->bytes = found.bytes;
    if (found.problem.code) {
        LOG(LOG_CRIT, "audit_damaged", "file=%s", name, "reason=%s", error_text(&found.problem), "then=%s",
            "It is left as it is, and another file is begun.");
        a->head.seq = most(found.head.seq, last) + SKIPPED;
        return 0;
    }
    a->fd = openat(a->dir, name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (a->fd < 0)
        return -errno;
    if (found.torn)
        LOG(LOG_NOTICE, "audit_line_torn", "file=%s", name);
    return found.torn && ftruncate(a->fd, (off_t)found.bytes) < 0 ? -errno : 0;
}

static int open_log(struct audit *a, const char *dir)
{
    CLEANUP_FREE uint64_t *files = NULL;
    size_t n = 0;
    int r;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    a->dir = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (a->dir < 0)
        return -errno;
    r = audit_files(a->dir, &files, &n);
    if (r < 0)
        return r;
    do
        r = n ? go_on(a, files[--n]) : 0;
    while (r == -ENODATA);
    return r;
}

int audit_open(struct loop *l, const struct config *config, const char *dir, struct audit **ret, struct error *e)
{
    struct audit *a = xcalloc(1, sizeof(*a));
    int r;

    *a = (struct audit){
        .loop = l, .dir = -1, .fd = -1, .max_bytes = (uint64_t)config->audit_file_bytes,
        .max_files = (size_t)config->audit_files,
    };
    LIST_INIT(&a->calls);
    audit_head_none(&a->head);
    r = open_log(a, dir);
    if (r < 0) {
        audit_close(a);
        return error_set(e, r, "The audit log in %s cannot be opened: %s.", dir, strerror(-r));
    }
    if (a->head.seq)
        say_head(a);
    *ret = a;
    return 0;
}

/* Whose calls were under way is not found out any more. */
void audit_close(struct audit *a)
{
    struct audit_call *c;

    if (!a)
        return;
    while ((c = LIST_FIRST(&a->calls))) {
        LIST_REMOVE(c, next);
        write_call(c, false);
        c->audit = NULL;
    }
    if (a->head.seq && a->fd >= 0)
        say_head(a);
    if (a->syncing)
        a->syncing->audit = NULL;
    if (a->fd >= 0)
        (void)close(a->fd);
    if (a->dir >= 0)
        (void)close(a->dir);
    free(a);
}
