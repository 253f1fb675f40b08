/* See fake_seal.h. */
#include "tests/unit/fake_seal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "tests/unit/cryptd_process.h"
#include "tests/unit/ipc_fixture.h"

enum { REGION = 8 << 20 };
static const char drive[] = "01234567-89ab-4def-8123-456789abcdef";

/* --- asking -------------------------------------------------------------------------------------- */

static void take(struct fake_seal *s, const Lf__Envelope *reply)
{
    if (reply->body_case == LF__ENVELOPE__BODY_DRIVE_KEYS_SEALED) {
        s->blob_size = reply->drive_keys_sealed->blob.len;
        assert_true(s->blob_size <= sizeof(s->blob));
        memcpy(s->blob, reply->drive_keys_sealed->blob.data, s->blob_size);
    } else if (reply->body_case == LF__ENVELOPE__BODY_DRIVE_KEYS_OPENED) {
        s->handle = reply->drive_keys_opened->handle;
    } else if (reply->body_case == LF__ENVELOPE__BODY_CACHE_KEY) {
        memcpy(s->keys[s->n_keys], reply->cache_key->key.data, CRYPT_KEY);
    }
}

static void on_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct fake_seal *s = arg;

    (void)fds;
    s->answered = true;
    s->code = reply ? 0 : e->code;
    if (reply)
        take(s, reply);
}

static void ask(struct fake_seal *s, Lf__Envelope *env, const int *fd)
{
    s->answered = false;
    (void)ipc_call(s->client, env, fd, fd != NULL, 0, on_answer, s);
    wait_until(s, s->answered);
    assert_int_equal(s->code, 0);
}

/* A call of the fake_syncd's, which is asked again when cryptd has come back without its handle. */
struct call {
    struct call *next;
    struct fake_seal *seal;
    Lf__Envelope *request;
    ipc_answer_fn *done;
    void *arg;
};

static void call(struct call *c);

static void on_crypted(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct call *c = arg;

    if (!reply && e->code == -ENOENT && c->request->crypt->handle != c->seal->handle) {
        call(c);
        return;
    }
    if (!reply && e->code == -ENOENT) {
        c->next = c->seal->again;
        c->seal->again = c;
        return;
    }
    c->done(e, reply, fds, c->arg);
    lf__envelope__free_unpacked(c->request, NULL);
    free(c);
}

static void call(struct call *c)
{
    c->request->crypt->has_handle = true;
    c->request->crypt->handle = c->seal->handle;
    (void)ipc_call(c->seal->client, c->request, NULL, 0, 0, on_crypted, c);
}

static Lf__Envelope *copy(const Lf__Envelope *env)
{
    size_t n = lf__envelope__get_packed_size(env);
    CLEANUP_FREE uint8_t *packed = xcalloc(1, n);

    (void)lf__envelope__pack(env, packed);
    return lf__envelope__unpack(NULL, n, packed);
}

static void ask_crypt(void *arg, Lf__Envelope *request, ipc_answer_fn *done, void *done_arg)
{
    struct call *c = xcalloc(1, sizeof(*c));

    *c = (struct call){ .seal = arg, .request = copy(request), .done = done, .arg = done_arg };
    call(c);
}

static void call_again(struct fake_seal *s)
{
    struct call *c;

    while ((c = s->again)) {
        s->again = c->next;
        call(c);
    }
}

static void on_connected(void *arg)
{
    struct fake_seal *s = arg;

    crypt_share(s->crypt, s->client);
}

/* --- life ------------------------------------------------------------------------------------------ */

static void make_keys(struct fake_seal *s)
{
    Lf__DriveKeysMake make = LF__DRIVE_KEYS_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_MAKE, drive_keys_make, &make);

    make.drive_id = (char *)(uintptr_t)drive;
    ask(s, &env, NULL);
}

static void open_keys(struct fake_seal *s)
{
    Lf__DriveKeysOpen open = LF__DRIVE_KEYS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_OPEN, drive_keys_open, &open);

    open.drive_id = (char *)(uintptr_t)drive;
    open.blob = (ProtobufCBinaryData){ s->blob_size, s->blob };
    ask(s, &env, NULL);
}

struct fake_seal *fake_seal_new(struct loop *l)
{
    struct fake_seal *s = xcalloc(1, sizeof(*s));
    struct ipc_client_spec spec = {
        .role = ROLE_SYNCD, .peer = ROLE_CRYPTD, .path = s->path, .max_queue = 256, .connected = on_connected, .arg = s,
    };
    struct error e;

    s->loop = l;
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/landfall-seal-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof(s->path), "%s/cryptd.sock", s->dir);
    s->cryptd = cryptd_process_start(s->path, CRYPTD_OURS);
    assert_int_equal(crypt_new(l, REGION, REGION, &s->crypt, &e), 0);
    s->io = (struct sealed_io){ .crypt = s->crypt, .asker = { ask_crypt, s } };
    s->client = ipc_client_new(l, &spec);
    make_keys(s);
    open_keys(s);
    return s;
}

void fake_seal_kill(struct fake_seal *s)
{
    cryptd_process_kill(s->cryptd);
    s->cryptd = 0;
}

void fake_seal_start(struct fake_seal *s)
{
    s->cryptd = cryptd_process_start(s->path, CRYPTD_OURS);
    open_keys(s);
    call_again(s);
}

void fake_seal_free(struct fake_seal *s)
{
    fake_seal_kill(s);
    ipc_client_free(s->client);
    crypt_free(s->crypt);
    (void)unlink(s->path);
    (void)rmdir(s->dir);
    free(s);
}

int fake_seal_lend(struct fake_seal *s)
{
    Lf__DriveKeysLend lend = LF__DRIVE_KEYS_LEND__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_LEND, drive_keys_lend, &lend);
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    lend.handle = s->handle;
    ask(s, &env, &fds[0]);
    (void)close(fds[0]);
    return fds[1];
}

const uint8_t *fake_seal_key(struct fake_seal *s)
{
    Lf__CacheKeyMake make = LF__CACHE_KEY_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CACHE_KEY_MAKE, cache_key_make, &make);

    assert_true(s->n_keys < FAKE_SEAL_KEYS);
    make.handle = s->handle;
    ask(s, &env, NULL);
    return s->keys[s->n_keys++];
}

/* --- looking ------------------------------------------------------------------------------------------ */

struct look {
    bool done;
    int code;
};

static void opened(struct sealed_job *j, const struct error *e)
{
    struct look *l = j->arg;

    l->done = true;
    l->code = e->code;
}

static void placed(struct sealed_job *j, const struct error *e)
{
    (void)j;
    (void)e;
}

int fake_seal_open(struct fake_seal *s, struct sealed *file, uint64_t c, uint64_t end, uint8_t *out)
{
    struct sealed_job *j = sealed_job_new(&s->io, file, c, 1);
    struct look l = { 0 };

    j->arg = &l;
    sealed_job_begin(j, placed);
    sealed_open(j, end, opened);
    wait_until(s, l.done);
    memcpy(out, j->outer, CRYPT_CHUNK);
    sealed_job_end(j);
    return l.code;
}
