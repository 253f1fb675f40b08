/* Tells the kernel what it must forget: owns the notifications that are to be written, in their order, and which files
 * are another version by now.
 *
 * Must not know what a notification is written for, nor how (worker_notifier.c). */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "mountd/worker_internal.h"
#include "mountd/worker_notifier.h"

enum { NOTICES_MAX = 65536 };   /* as many as syncd keeps for the next worker */

struct notice {
    TAILQ_ENTRY(notice) next;
    struct op *op;           /* is answered with ESTALE once it is written; NULL: none */
    void (*written)(void *arg);   /* once it is; NULL: nobody */
    void *arg;
    uint64_t ino;
    size_t size;
    char bytes[NOTICE_MAX];
};

/* A file that became another version under its number. */
struct stale {
    SLIST_ENTRY(stale) next;
    uint64_t ino;
};

/* --- files that are another version by now ------------------------------------------------------------------- */

static struct stale *find_stale(const struct worker *w, uint64_t ino)
{
    struct stale *s;

    SLIST_FOREACH(s, &w->notify.stale, next)
        if (s->ino == ino)
            return s;
    return NULL;
}

static void remember_stale(struct worker *w, uint64_t ino)
{
    struct stale *s;

    if (find_stale(w, ino))
        return;
    s = xcalloc(1, sizeof(*s));
    s->ino = ino;
    SLIST_INSERT_HEAD(&w->notify.stale, s, next);
}

static void forget_stale(struct worker *w, uint64_t ino)
{
    struct stale *s = find_stale(w, ino);

    if (!s)
        return;
    SLIST_REMOVE(&w->notify.stale, s, stale, next);
    free(s);
}

/* --- the notifier --------------------------------------------------------------------------------------------- */

/* The next worker has another, and the kernel asks that one for what this one leaves. */
static void lost(struct worker *w)
{
    if (w->notify.lost)
        return;
    w->notify.lost = true;
    LOG(LOG_ERR, "notifier_lost", "pid=%d", (int)w->notify.pid);
    (void)event_del(w->notify.written);
    loop_exit(w->loop, EXIT_FAILURE);
}

/* As many as the channel takes. Who does not answer for so long that this many wait will not soon. */
static void send_more(struct worker *w)
{
    struct notice *n = w->notify.unsent;

    errno = 0;
    while (n && send(w->notify.channel, n->bytes, n->size, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        n = TAILQ_NEXT(n, next);
    w->notify.unsent = n;
    if (n && (errno != EAGAIN || w->notify.waiting > NOTICES_MAX))
        lost(w);
}

static void end(struct worker *w, struct notice *n)
{
    TAILQ_REMOVE(&w->notify.notices, n, next);
    w->notify.waiting--;
    if (n->op) {
        forget_stale(w, n->ino);
        op_error(n->op, ESTALE);
    }
    if (n->written)
        n->written(n->arg);
    free(n);
}

/* False: it answers what it was not told. */
static bool take_answer(struct worker *w)
{
    struct notice *n = TAILQ_FIRST(&w->notify.notices);
    bool told = n != w->notify.unsent;

    if (told)
        end(w, n);
    return told;
}

static void on_written(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    ssize_t r;
    char byte;

    (void)what;
    do
        r = recv(fd, &byte, 1, MSG_DONTWAIT);
    while (r == 1 && take_answer(w));
    if (r >= 0 || (errno != EAGAIN && errno != EINTR))
        lost(w);
    else
        send_more(w);
}

int notify_begin(struct worker *w)
{
    const void *memory;
    size_t size;

    TAILQ_INIT(&w->notify.notices);
    memory = crypt_memory(w->crypt, &size);
    w->notify.channel = notifier_start(memory, size, &w->notify.pid);
    if (w->notify.channel < 0)
        return w->notify.channel;
    w->notify.written = event_new(loop_base(w->loop), w->notify.channel, EV_READ | EV_PERSIST, on_written, w);
    return !w->notify.written || event_add(w->notify.written, NULL) < 0 ? -ENOMEM : 0;
}

int notify_connect(struct worker *w)
{
    return notifier_connect(w->notify.channel, w->fuse);
}

void notify_end(struct worker *w)
{
    struct notice *n;

    while ((n = TAILQ_FIRST(&w->notify.notices)))
        end(w, n);
    while (!SLIST_EMPTY(&w->notify.stale))
        forget_stale(w, SLIST_FIRST(&w->notify.stale)->ino);
    if (w->notify.written)
        event_free(w->notify.written);
    if (w->notify.channel < 0)
        return;
    (void)close(w->notify.channel);
    (void)waitpid(w->notify.pid, NULL, 0);
}

/* --- notifications ---------------------------------------------------------------------------------------------- */

static struct notice *add(struct worker *w, uint64_t ino, int code, const void *body, size_t size)
{
    struct fuse_out_header head = { .len = (uint32_t)(sizeof(head) + size), .error = code };
    struct notice *n = xcalloc(1, sizeof(*n));

    n->ino = ino;
    n->size = head.len;
    (void)memcpy(n->bytes, &head, sizeof(head));
    (void)memcpy(n->bytes + sizeof(head), body, size);
    TAILQ_INSERT_TAIL(&w->notify.notices, n, next);
    w->notify.waiting++;
    if (!w->notify.unsent)
        w->notify.unsent = n;
    return n;
}

/* fuse_notify_inval_inode_out: an offset below 0 spares the pages. */
static struct notice *drop_inode(struct worker *w, uint64_t ino, bool pages)
{
    const struct fuse_notify_inval_inode_out out = { .ino = ino, .off = pages ? 0 : -1 };

    return add(w, ino, FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out));
}

/* The name follows, with a 0 that does not count. */
static void drop_name(struct worker *w, uint64_t dir, const ProtobufCBinaryData *name)
{
    struct {
        struct fuse_notify_inval_entry_out head;
        char name[NAME_MAX + 1];
    } out = { .head = { .parent = dir, .namelen = (uint32_t)name->len } };

    (void)memcpy(out.name, name->data, name->len);
    (void)add(w, dir, FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof(out.head) + name->len + 1);
}

void notify_invalidate(struct worker *w, const Lf__FsInvalidate *what)
{
    ahead_drop(w);
    if (!w->session || (what->has_name && what->name.len > NAME_MAX))
        return;
    if (what->has_version && what->version)
        remember_stale(w, what->ino);
    if (what->data)
        push_stop(w, what->ino);
    if (what->has_name)
        drop_name(w, what->ino, &what->name);
    else
        (void)drop_inode(w, what->ino, what->data);
    send_more(w);
}

void notify_drop_pages(struct worker *w, uint64_t ino)
{
    if (!w->session)
        return;
    (void)drop_inode(w, ino, true);
    send_more(w);
}

void notify_store(struct worker *w, const struct notify_bytes *b)
{
    const struct notice_store store = {
        .out = { .nodeid = b->ino, .offset = b->offset, .size = b->size }, .at = b->at,
    };
    struct notice *n = add(w, b->ino, FUSE_NOTIFY_STORE, &store.out, sizeof(store) - sizeof(store.head));
    struct fuse_out_header head;

    (void)memcpy(&head, n->bytes, sizeof(head));
    head.len = (uint32_t)(offsetof(struct notice_store, at) + b->size);
    (void)memcpy(n->bytes, &head, sizeof(head));
    n->written = b->written;
    n->arg = b->arg;
    send_more(w);
}

void notify_refuse_stale(struct op *op)
{
    loop_timer_free(take_ptr(op->timer));
    drop_inode(op->worker, op->ino, true)->op = op;
    send_more(op->worker);
}

bool notify_refuses(const struct worker *w, uint64_t ino)
{
    const struct notice *n;

    if (find_stale(w, ino))
        return true;
    TAILQ_FOREACH(n, &w->notify.notices, next)
        if (n->op && n->ino == ino)
            return true;
    return false;
}
