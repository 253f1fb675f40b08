/* Owns the keys that wait for a file, and who waits for a key. Must not know what files there are. */
#include "syncd/key_stock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/alloc.h"
#include "common/log.h"

enum { MOST = 1024, BATCH = 256, RETRY_MS = 1000, AT_ONCE = 2 /* one for a new file, one for what is cut off it */ };

struct waiter {
    STAILQ_ENTRY(waiter) next;
    key_stock_fn *done;
    void *arg;
};

struct key_stock {
    struct loop *loop;
    const struct sealed_io *io;
    uint8_t (*keys)[CRYPT_KEY];
    size_t n;
    bool asking, freed;
    unsigned renewed;              /* how often: what was asked for before is thrown away */
    unsigned asked;                /* `renewed` as of the question */
    struct loop_timer *retry;
    STAILQ_HEAD(, waiter) waiters;
};

static void ask(struct key_stock *s);

static void release(struct key_stock *s)
{
    loop_timer_free(s->retry);
    free(s->keys);
    free(s);
}

static void tell(struct key_stock *s, const struct error *e)
{
    struct waiter *w;

    while ((w = STAILQ_FIRST(&s->waiters)) && (e->code || !key_stock_empty(s))) {
        struct waiter told = *w;

        STAILQ_REMOVE_HEAD(&s->waiters, next);
        free(w);
        told.done(e, told.arg);
    }
}

static void on_retry(void *arg)
{
    struct key_stock *s = arg;

    loop_timer_free(s->retry);
    s->retry = NULL;
    ask(s);
}

static void add(struct key_stock *s, const ProtobufCBinaryData *key)
{
    if (s->n < MOST && key->len == CRYPT_KEY)
        memcpy(s->keys[s->n++], key->data, CRYPT_KEY);
}

static void take_in(struct key_stock *s, const Lf__CacheKey *reply)
{
    if (s->asked != s->renewed)
        return;
    add(s, &reply->key);
    for (size_t i = 0; i < reply->n_more; i++)
        add(s, &reply->more[i]);
}

static void made(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct key_stock *s = arg;
    struct error why = reply ? (struct error){ 0 } : *e;

    (void)fds;
    s->asking = false;
    if (s->freed) {
        release(s);
        return;
    }
    if (reply) {
        take_in(s, reply->cache_key);
    } else {
        LOG(LOG_WARNING, "no_keys_for_files", "error=%s", error_text(e));
        s->retry = loop_timer(s->loop, RETRY_MS, on_retry, s);
    }
    tell(s, &why);
    if (reply && s->n < MOST - BATCH)
        ask(s);
}

static void ask(struct key_stock *s)
{
    Lf__CacheKeyMake msg = LF__CACHE_KEY_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CACHE_KEY_MAKE, cache_key_make, &msg);

    if (s->asking || s->retry)
        return;
    s->asking = true;
    s->asked = s->renewed;
    msg.has_count = true;
    msg.count = BATCH;
    s->io->asker.ask(s->io->asker.arg, &env, made, s);
}

/* --- the contract -------------------------------------------------------------------------------------- */

struct key_stock *key_stock_new(struct loop *l, const struct sealed_io *io)
{
    struct key_stock *s = xcalloc(1, sizeof(*s));

    s->loop = l;
    s->io = io;
    s->keys = xcalloc(MOST, sizeof(*s->keys));
    STAILQ_INIT(&s->waiters);
    ask(s);
    return s;
}

void key_stock_free(struct key_stock *s)
{
    if (!s)
        return;
    tell(s, &(struct error){ .code = -ECANCELED });
    s->freed = true;
    if (!s->asking)
        release(s);
}

int key_stock_take(struct key_stock *s, uint8_t key[CRYPT_KEY])
{
    if (s->n < MOST - BATCH)
        ask(s);
    if (s->n == 0)
        return -EAGAIN;
    memcpy(key, s->keys[--s->n], CRYPT_KEY);
    return 0;
}

bool key_stock_empty(const struct key_stock *s)
{
    return s->n < AT_ONCE;
}

void key_stock_wait(struct key_stock *s, key_stock_fn *done, void *arg)
{
    struct waiter *w;

    if (!key_stock_empty(s)) {
        done(&(struct error){ 0 }, arg);
        return;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct waiter){ .done = done, .arg = arg };
    STAILQ_INSERT_TAIL(&s->waiters, w, next);
    ask(s);
}

void key_stock_forget(struct key_stock *s, const void *arg)
{
    struct waiter *w, *next;

    for (w = s ? STAILQ_FIRST(&s->waiters) : NULL; w; w = next) {
        next = STAILQ_NEXT(w, next);
        if (w->arg != arg)
            continue;
        STAILQ_REMOVE(&s->waiters, w, waiter, next);
        free(w);
    }
}

void key_stock_renew(struct key_stock *s)
{
    s->renewed++;
    s->n = 0;
    ask(s);
}
