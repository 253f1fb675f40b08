/* Owns the answers about keys of cache files and objects. */
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "cryptd/age_object.h"
#include "cryptd/serve.h"

/* The keys behind a handle, or NULL after the request has failed. */
static const struct drive_keys *find_keys(struct serve *s, struct ipc_request *req, uint64_t handle)
{
    struct error e;
    struct handle *h = keyring_find(serve_caller(s, req), handle, &e);

    if (h)
        return h->open->keys;
    serve_fail(req, "file_key_refused", &e);
    return NULL;
}

/* --- cache files ------------------------------------------------------------------------------- */

enum { KEYS_MAX = 256 };

/* The first n. */
static void reply_cache_keys(struct ipc_request *req, const struct drive_keys *k, uint8_t (*wrapped)[WRAPPED_KEY_SIZE],
                             size_t n)
{
    Lf__CacheKey cache_key = LF__CACHE_KEY__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(CACHE_KEY, cache_key, &cache_key);
    ProtobufCBinaryData more[KEYS_MAX];

    for (size_t i = 1; i < n; i++)
        more[i - 1] = (ProtobufCBinaryData){ WRAPPED_KEY_SIZE, wrapped[i] };
    cache_key.key = (ProtobufCBinaryData){ WRAPPED_KEY_SIZE, wrapped[0] };
    cache_key.epoch = drive_keys_newest(k)->number;
    cache_key.more = more;
    cache_key.n_more = n - 1;
    ipc_reply(req, &reply, NULL, 0);
}

static int make_keys(const struct drive_keys *k, uint8_t (*wrapped)[WRAPPED_KEY_SIZE], size_t n, struct error *e)
{
    struct wrapped_key key;
    int r = 0;

    if (n < 1 || n > KEYS_MAX)
        return error_set(e, -EINVAL, "Of keys for files 1 to %d are made at once, not %zu.", KEYS_MAX, n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        cache_key_make(&key);
        r = wrapped_key_seal(k, &key, wrapped[i], e);
    }
    secret_wipe(&key, sizeof(key));
    return r;
}

void serve_file_cache_make(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__CacheKeyMake *make = env->cache_key_make;
    const struct drive_keys *k = find_keys(daemon, req, make->handle);
    uint8_t wrapped[KEYS_MAX][WRAPPED_KEY_SIZE];
    size_t n = make->has_count ? make->count : 1;
    struct error e;

    (void)fds;
    if (!k)
        return;
    if (make_keys(k, wrapped, n, &e) < 0)
        serve_fail(req, "file_key_refused", &e);
    else
        reply_cache_keys(req, k, wrapped, n);
}

void serve_file_cache_renew(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__CacheKeyRenew *renew = env->cache_key_renew;
    const struct drive_keys *k = find_keys(daemon, req, renew->handle);
    uint8_t wrapped[1][WRAPPED_KEY_SIZE];
    struct wrapped_key key;
    struct error e;
    int r;

    (void)fds;
    if (!k)
        return;
    r = wrapped_key_open(k, WRAPPED_CACHE, renew->key.data, renew->key.len, &key, &e);
    if (r == 0)
        r = wrapped_key_seal(k, &key, wrapped[0], &e);
    secret_wipe(&key, sizeof(key));
    if (r < 0)
        serve_fail(req, "file_key_refused", &e);
    else
        reply_cache_keys(req, k, wrapped, 1);
}

/* --- objects ----------------------------------------------------------------------------------- */

static struct object_name name_of(const ProtobufCBinaryData *name)
{
    return (struct object_name){ name->data, name->len };
}

void serve_file_object_make(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__ObjectMake *make = env->object_make;
    const struct drive_keys *k = find_keys(daemon, req, make->handle);
    const struct object_name name = name_of(&make->name);
    Lf__ObjectMade made = LF__OBJECT_MADE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_MADE, object_made, &made);
    uint8_t head[OBJECT_HEAD_MAX], wrapped[WRAPPED_KEY_SIZE];
    struct wrapped_key payload;
    struct error e;
    int r;

    (void)fds;
    if (!k)
        return;
    r = age_object_make(k, &name, make->version, head, &made.head.len, &payload, &e);
    if (r == 0)
        r = wrapped_key_seal(k, &payload, wrapped, &e);
    secret_wipe(&payload, sizeof(payload));
    if (r < 0) {
        serve_fail(req, "object_not_made", &e);
        return;
    }
    made.head.data = head;
    made.key.data = wrapped;
    made.key.len = sizeof(wrapped);
    ipc_reply(req, &reply, NULL, 0);
}

static int open_object(const struct drive_keys *k, const Lf__ObjectOpen *open, struct object_opened *ret,
                       uint8_t wrapped[WRAPPED_KEY_SIZE], struct error *e)
{
    const struct object_name name = name_of(&open->name);
    bool moved = open->has_moved && open->moved.len == OBJECT_BINDING_SIZE;
    int r = age_object_open(k, &name, open->head.data, open->head.len, moved ? open->moved.data : NULL, ret, e);

    return r == 0 ? wrapped_key_seal(k, &ret->payload, wrapped, e) : r;
}

void serve_file_object_open(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const struct drive_keys *k = find_keys(daemon, req, env->object_open->handle);
    Lf__ObjectOpened opened = LF__OBJECT_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_OPENED, object_opened, &opened);
    uint8_t wrapped[WRAPPED_KEY_SIZE];
    struct object_opened object;
    struct error e;
    int r;

    (void)fds;
    if (!k)
        return;
    r = open_object(k, env->object_open, &object, wrapped, &e);
    secret_wipe(&object.payload, sizeof(object.payload));
    if (r < 0) {
        serve_fail(req, "object_not_opened", &e);
        return;
    }
    opened.key.data = wrapped;
    opened.key.len = sizeof(wrapped);
    opened.head_size = (uint32_t)object.head_size;
    opened.bound = object.bound;
    opened.version = object.version;
    ipc_reply(req, &reply, NULL, 0);
}

void serve_file_object_bind(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__ObjectBind *bind = env->object_bind;
    const struct drive_keys *k = find_keys(daemon, req, bind->handle);
    const struct object_name name = name_of(&bind->name);
    Lf__ObjectBound bound = LF__OBJECT_BOUND__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_BOUND, object_bound, &bound);
    uint8_t binding[OBJECT_BINDING_SIZE];
    struct error e;

    (void)fds;
    if (!k)
        return;
    if (age_object_bind(k, &name, bind->head.data, bind->head.len, binding, &e) < 0) {
        serve_fail(req, "object_not_bound", &e);
        return;
    }
    bound.binding.data = binding;
    bound.binding.len = sizeof(binding);
    ipc_reply(req, &reply, NULL, 0);
}
