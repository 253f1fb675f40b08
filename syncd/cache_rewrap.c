/* Owns the keys of sealed pairs on their way under the newest epoch of the drive: cryptd wraps the same key anew, and
 * it takes the old one's place in the file's head. No byte of the contents changes.
 *
 * Must not know which pairs there are, nor what a rotation is for. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_convert.h"
#include "syncd/sealed_head.h"

struct rewrap {
    struct cache *cache;          /* NULL: freed, when the last answer has come */
    size_t running;
    uint64_t done;
    struct error error;
    void (*ended)(void *arg);
    void *arg;
};

struct rewrapping {
    struct rewrap *all;
    uint64_t ino;
    uint8_t key[CRYPT_KEY];       /* as it was */
};

/* Whoever reads the key in between sees that chunks may have gone, and begins anew. */
static void tell_map(struct cache_file *f, const uint8_t key[CRYPT_KEY])
{
    (void)atomic_fetch_add(&f->map->lost_seq, 1);
    memcpy(f->map->sealed_key, key, CRYPT_KEY);
    (void)atomic_fetch_add(&f->map->lost_seq, 1);
}

/* 0 also when it has another key by now, or is gone. */
static int replace(const struct rewrapping *r, const uint8_t key[CRYPT_KEY])
{
    struct cache *c = r->all->cache;
    struct cache_file *f = cache_find(c, r->ino);
    char path[CACHE_PATH];
    CLEANUP_CLOSE int fd = openat(c->dir_fd, cache_file_path(path, r->ino, "seal"), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    uint8_t now[CRYPT_KEY];
    int code = fd < 0 ? -errno : sealed_head_read(fd, now);

    if (code == -ENOENT || (code == 0 && memcmp(now, r->key, sizeof(now)) != 0))
        return 0;
    if (code == 0)
        code = sealed_head_rewrap(fd, key);
    if (code == 0 && f && f->is_sealed)
        tell_map(f, key);
    return code;
}

static void note(struct rewrap *w, const struct error *e)
{
    if (w->error.code == 0)
        w->error = *e;
}

static void take(const struct rewrapping *r, const ProtobufCBinaryData *key)
{
    struct error e = { 0 };
    int code = key->len == CRYPT_KEY ? replace(r, key->data) : -EPROTO;

    if (code < 0)
        note(r->all, (error_set(&e, code, "A file of the cache could not be given its key under the new epoch: %s",
                                error_meaning(code)->text), &e));
    else
        r->all->done++;
}

static void answered(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    CLEANUP_FREE struct rewrapping *r = arg;
    struct rewrap *w = r->all;

    (void)fds;
    w->running--;
    if (!w->cache) {
        if (w->running == 0)
            free(w);
        return;
    }
    if (reply)
        take(r, &reply->cache_key->key);
    else
        note(w, e);
    w->ended(w->arg);
}

void rewrap_begin(struct rewrap *w, uint64_t ino, const uint8_t key[CRYPT_KEY])
{
    Lf__CacheKeyRenew msg = LF__CACHE_KEY_RENEW__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CACHE_KEY_RENEW, cache_key_renew, &msg);
    struct rewrapping *r = xcalloc(1, sizeof(*r));

    *r = (struct rewrapping){ .all = w, .ino = ino };
    memcpy(r->key, key, CRYPT_KEY);
    msg.key = (ProtobufCBinaryData){ CRYPT_KEY, r->key };
    w->running++;
    w->cache->io->asker.ask(w->cache->io->asker.arg, &env, answered, r);
}

size_t rewrap_running(const struct rewrap *w)
{
    return w->running;
}

uint64_t rewrap_take_count(struct rewrap *w, struct error *e)
{
    uint64_t done = w->done;

    *e = w->error;
    w->done = 0;
    w->error = (struct error){ 0 };
    return done;
}

struct rewrap *rewrap_new(struct cache *c, void (*ended)(void *arg), void *arg)
{
    struct rewrap *w = xcalloc(1, sizeof(*w));

    *w = (struct rewrap){ .cache = c, .ended = ended, .arg = arg };
    return w;
}

void rewrap_free(struct rewrap *w)
{
    if (!w)
        return;
    w->cache = NULL;
    if (w->running == 0)
        free(w);
}
