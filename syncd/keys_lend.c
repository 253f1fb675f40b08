/* Owns the channels to cryptd that a drive's workers get. A channel is one end of a socket pair, of which cryptd has
 * the other one; it dies with cryptd, so each worker gets another one whenever the keys were opened anew. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/keys_internal.h"

struct loan {
    LIST_ENTRY(loan) next;
    struct keys *keys;
    struct ipc_peer *worker;
    int fd;                       /* the worker's end until cryptd has the other one; -1 */
    uint64_t call, handle;        /* 0: none under way */
};

static void withdraw(struct loan *l)
{
    if (l->call)
        ipc_cancel(l->keys->spec.cryptd, l->call);
    l->call = 0;
    cleanup_close(&l->fd);
    l->fd = -1;
}

static void hand_over(struct loan *l)
{
    Lf__FsCryptd msg = LF__FS_CRYPTD__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_CRYPTD, fs_cryptd, &msg);
    int r = ipc_peer_event(l->worker, &env, &l->fd, 1);

    if (r < 0)
        LOG(LOG_WARNING, "keys_not_handed_over", "drive=%s", l->keys->id, "error=%s", strerror(-r));
    cleanup_close(&l->fd);
    l->fd = -1;
}

/* When cryptd was restarted meanwhile the keys are opened anew, and then this comes again. */
static void lend_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct loan *l = arg;

    (void)reply;
    (void)fds;
    l->call = 0;
    if (!e) {
        hand_over(l);
        return;
    }
    withdraw(l);
    if (e->code == -ENOENT)
        keys_lose_handle(l->keys, l->handle);
    else if (e->code != -ECONNRESET)
        LOG(LOG_ERR, "keys_not_lent", "drive=%s", l->keys->id, "reason=%s", error_text(e));
}

static void lend(struct loan *l)
{
    Lf__DriveKeysLend msg = LF__DRIVE_KEYS_LEND__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_LEND, drive_keys_lend, &msg);
    int ends[2];

    withdraw(l);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
        LOG(LOG_ERR, "keys_not_lent", "drive=%s", l->keys->id, "reason=%s", strerror(errno));
        return;
    }
    l->fd = ends[0];
    l->handle = msg.handle = l->keys->handle;
    l->call = ipc_call(l->keys->spec.cryptd, &env, &ends[1], 1, 0, lend_done, l);
    (void)close(ends[1]);
}

void keys_lend_all(struct keys *k)
{
    struct loan *l;

    LIST_FOREACH(l, &k->loans, next)
        lend(l);
}

void keys_lend(struct keys *k, struct ipc_peer *worker)
{
    struct loan *l;

    if (k->phase == KEYS_STOPPED)
        return;
    l = xcalloc(1, sizeof(*l));
    *l = (struct loan){ .keys = k, .worker = worker, .fd = -1 };
    LIST_INSERT_HEAD(&k->loans, l, next);
    if (k->phase == KEYS_OPEN)
        lend(l);
}

static void forget(struct loan *l)
{
    withdraw(l);
    LIST_REMOVE(l, next);
    free(l);
}

void keys_worker_lost(struct keys *k, struct ipc_peer *worker)
{
    struct loan *l;

    LIST_FOREACH(l, &k->loans, next)
        if (l->worker == worker) {
            forget(l);
            return;
        }
}

void keys_lend_end(struct keys *k)
{
    struct loan *l;

    while ((l = LIST_FIRST(&k->loans)))
        forget(l);
}
