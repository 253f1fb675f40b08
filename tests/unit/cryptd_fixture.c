/* A cryptd in this process, with clients of it. */
#include "tests/unit/cryptd_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void must(bool it_is, const char *what)
{
    if (it_is)
        return;
    perror(what);
    abort();
}

/* --- cryptd --------------------------------------------------------------------------------------- */

static int listen_at(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    memcpy(sun.sun_path, path, strlen(path));
    must(bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(fd, 8) == 0, "listen");
    return fd;
}

struct cryptd_fixture *cryptd_fixture_new(unsigned threads)
{
    struct cryptd_fixture *f = calloc(1, sizeof(*f));
    struct serve *s = &f->serve;
    struct ipc_server_spec spec = {
        .role = ROLE_CRYPTD, .peers = f->peers, .n_peers = ARRAY_SIZE(f->peers), .max_connections = 16, .max_queue = 64,
        .peer_lost = serve_peer_lost, .arg = s,
    };

    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/landfall-cryptd-XXXXXX");
    must(mkdtemp(f->dir) != NULL, "mkdtemp");
    (void)snprintf(f->path, sizeof(f->path), "%s/cryptd.sock", f->dir);
    for (size_t i = 0; i < ARRAY_SIZE(f->peers); i++)
        f->peers[i] = (struct ipc_peer_uid){ (enum role[]){ ROLE_SYNCD, ROLE_FRONTD, ROLE_WORKER }[i], getuid() };
    s->loop = loop_new(threads);
    must(s->loop && aead_begin(&f->error) == 0 && secret_new(&s->secret, &f->error) == 0 &&
         keyring_new(&s->ring, &f->error) == 0 && bulk_new(s->loop, threads, &s->bulk, &f->error) == 0, "cryptd");
    secret_random(s->secret->data_key, KEY_SIZE);
    spec.handlers = serve_handlers(&spec.n_handlers);
    s->server = ipc_server_new(s->loop, &spec);
    must(s->server && ipc_server_listen(s->server, listen_at(f->path)) == 0, "server");
    return f;
}

void cryptd_fixture_free(struct cryptd_fixture *f)
{
    ipc_server_free(f->serve.server);
    bulk_free(f->serve.bulk);
    keyring_free(f->serve.ring);
    secret_free(f->serve.secret);
    loop_free(f->serve.loop);
    lf__envelope__free_unpacked(f->reply, NULL);
    (void)unlink(f->path);
    must(rmdir(f->dir) == 0, "rmdir");
    aead_end();
    free(f);
}

/* --- asking ---------------------------------------------------------------------------------------- */

struct ipc_client *cryptd_client(struct cryptd_fixture *f, enum role role)
{
    const struct ipc_client_spec spec = { .role = role, .peer = ROLE_CRYPTD, .path = f->path, .max_queue = 64 };

    return ipc_client_new(f->serve.loop, &spec);
}

struct ipc_client *cryptd_channel(struct cryptd_fixture *f, int fd)
{
    const struct ipc_client_spec spec = { .role = ROLE_WORKER, .peer = ROLE_CRYPTD, .max_queue = 64 };
    struct ipc_client *c = ipc_client_new(f->serve.loop, &spec);

    ipc_client_adopt(c, fd);
    return c;
}

/* The answer is gone after the call, so it is packed and unpacked. */
static void on_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct cryptd_fixture *f = arg;

    (void)fds;
    f->under_way--;
    f->code = e ? e->code : 0;
    if (e)
        f->error = *e;
    if (reply) {
        size_t n = lf__envelope__get_packed_size(reply);
        uint8_t *bytes = malloc(n);

        lf__envelope__free_unpacked(f->reply, NULL);
        f->reply = lf__envelope__unpack(NULL, lf__envelope__pack(reply, bytes), bytes);
        free(bytes);
    }
}

static void wait_for(struct cryptd_fixture *f)
{
    while (f->under_way > 0)
        (void)event_base_loop(loop_base(f->serve.loop), EVLOOP_ONCE);
}

static void begin(struct cryptd_fixture *f, struct ipc_client *c, Lf__Envelope *env, int fd)
{
    lf__envelope__free_unpacked(f->reply, NULL);
    f->reply = NULL;
    f->under_way++;
    (void)ipc_call(c, env, &fd, fd >= 0, 60000, on_answer, f);
}

int ask(struct cryptd_fixture *f, struct ipc_client *c, Lf__Envelope *env, int fd)
{
    begin(f, c, env, fd);
    wait_for(f);
    return f->code;
}

void cryptd_idle(struct cryptd_fixture *f)
{
    for (int i = 0; i < 50; i++)
        (void)event_base_loop(loop_base(f->serve.loop), EVLOOP_NONBLOCK);
}

/* --- shared memory ----------------------------------------------------------------------------------- */

uint8_t *shared_memory(size_t size, int seals, int *ret_fd)
{
    void *base;

    *ret_fd = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    must(*ret_fd >= 0 && ftruncate(*ret_fd, (off_t)size) == 0 && fcntl(*ret_fd, F_ADD_SEALS, seals) == 0, "memfd");
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
    must(base != MAP_FAILED, "mmap");
    return base;
}

int ask_region(struct cryptd_fixture *f, struct ipc_client *c, int fd)
{
    Lf__CryptRegion region = LF__CRYPT_REGION__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CRYPT_REGION, crypt_region, &region);

    return ask(f, c, &env, fd);
}

/* --- drives ------------------------------------------------------------------------------------------ */

int ask_open(struct cryptd_fixture *f, struct ipc_client *c, const char *drive, const uint8_t *blob, size_t n,
             uint64_t replace, uint64_t *ret)
{
    Lf__DriveKeysOpen open = LF__DRIVE_KEYS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_OPEN, drive_keys_open, &open);

    open.drive_id = (char *)(uintptr_t)drive;
    open.blob.data = (uint8_t *)(uintptr_t)blob;
    open.blob.len = n;
    open.has_handle = replace != 0;
    open.handle = replace;
    if (ask(f, c, &env, -1) == 0)
        *ret = f->reply->drive_keys_opened->handle;
    return f->code;
}

uint64_t ask_drive(struct cryptd_fixture *f, struct ipc_client *c, const char *drive, uint8_t *blob, size_t *ret_n)
{
    Lf__DriveKeysMake make = LF__DRIVE_KEYS_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_MAKE, drive_keys_make, &make);
    uint8_t copy[DRIVE_BLOB_MAX];
    uint64_t handle = 0;
    size_t n;

    make.drive_id = (char *)(uintptr_t)drive;
    must(ask(f, c, &env, -1) == 0, "drive_keys_make");
    n = f->reply->drive_keys_sealed->blob.len;
    memcpy(copy, f->reply->drive_keys_sealed->blob.data, n);
    must(ask_open(f, c, drive, copy, n, 0, &handle) == 0, "drive_keys_open");
    if (blob) {
        memcpy(blob, copy, n);
        *ret_n = n;
    }
    return handle;
}

struct ipc_client *ask_lend(struct cryptd_fixture *f, struct ipc_client *c, uint64_t handle)
{
    Lf__DriveKeysLend lend = LF__DRIVE_KEYS_LEND__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_KEYS_LEND, drive_keys_lend, &lend);
    int fds[2];

    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
    lend.handle = handle;
    (void)ask(f, c, &env, fds[0]);
    (void)close(fds[0]);
    if (f->code == 0)
        return cryptd_channel(f, fds[1]);
    (void)close(fds[1]);
    return NULL;
}

int ask_cache_key(struct cryptd_fixture *f, struct ipc_client *c, uint64_t handle, uint8_t *out)
{
    Lf__CacheKeyMake make = LF__CACHE_KEY_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CACHE_KEY_MAKE, cache_key_make, &make);

    make.handle = handle;
    if (ask(f, c, &env, -1) == 0)
        memcpy(out, f->reply->cache_key->key.data, WRAPPED_KEY_SIZE);
    return f->code;
}

/* --- bulk ------------------------------------------------------------------------------------------- */

static void fill(Lf__CryptChunk *m, struct bulk_chunk *c, enum form from)
{
    lf__crypt_chunk__init(m);
    m->number = c->number;
    m->length = c->length;
    m->in_at = c->in_at;
    m->out_at = c->out_at;
    m->has_record = from == FORM_CACHE;
    m->record.data = (uint8_t *)&c->record;
    m->record.len = sizeof(c->record);
    m->has_expected = c->has_expected;
    m->expected = c->expected;
    m->has_generation = true;
    m->generation = c->generation;
    m->has_last = true;
    m->last = c->last;
    m->has_zeros = m->zeros = c->zeros;
}

void begin_crypt(struct cryptd_fixture *f, struct ipc_client *c, const struct crypt_ask *call)
{
    Lf__Crypt crypt = LF__CRYPT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CRYPT, crypt, &crypt);
    Lf__CryptChunk *chunks = calloc(call->n + 1, sizeof(*chunks)), **list = calloc(call->n + 1, sizeof(Lf__CryptChunk *));

    for (size_t i = 0; i < call->n; i++) {
        fill(&chunks[i], &call->chunks[i], call->from);
        list[i] = &chunks[i];
    }
    crypt.has_handle = call->handle != 0;
    crypt.handle = call->handle;
    crypt.from = call->from;
    crypt.to = call->to;
    crypt.has_from_key = call->from_key != NULL;
    crypt.from_key = (ProtobufCBinaryData){ WRAPPED_KEY_SIZE, (uint8_t *)(uintptr_t)call->from_key };
    crypt.has_to_key = call->to_key != NULL;
    crypt.to_key = (ProtobufCBinaryData){ WRAPPED_KEY_SIZE, (uint8_t *)(uintptr_t)call->to_key };
    crypt.chunks = list;
    crypt.n_chunks = call->n;
    begin(f, c, &env, -1);
    free(chunks);
    free(list);
}

int ask_crypt(struct cryptd_fixture *f, struct ipc_client *c, const struct crypt_ask *call)
{
    begin_crypt(f, c, call);
    wait_for(f);
    for (size_t i = 0; f->code == 0 && i < call->n; i++) {
        const Lf__CryptedChunk *done = f->reply->crypted->chunks[i];

        call->chunks[i].code = -done->code;
        if (done->has_record)
            memcpy(&call->chunks[i].record, done->record.data, sizeof(call->chunks[i].record));
    }
    return f->code;
}
