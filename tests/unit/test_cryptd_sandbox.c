/* cryptd under its real filter: a child that first proves that it still seals, then does what is
 * forbidden and must die of SIGSYS; and a child that serves a client over a socket. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "cryptd/aead.h"
#include "cryptd/filter.h"
#include "cryptd/seal.h"
#include "cryptd/serve.h"
#include "tests/unit/cryptd_fixture.h"
#include "tests/unit/forbidden.h"

enum { SURVIVED = 42, NOT_SEALED = 43, NOT_READY = 44 };

static struct secret *get_ready(void)
{
    struct error e;
    struct secret *s;

    if (aead_begin(&e) < 0 || secret_new(&s, &e) < 0)
        _exit(NOT_READY);
    secret_random(s->data_key, KEY_SIZE);
    return s;
}

#ifndef LANDFALL_SANITIZED

/* Seals and opens once, as it would for syncd. */
static bool seals(struct secret *s)
{
    struct error e;
    uint8_t *sealed, *plain;
    size_t sealed_n, n;
    bool same;

    if (seal_make(s, "account:1", "canary", 6, &sealed, &sealed_n, &e) < 0)
        return false;
    if (seal_open(s, "account:1", sealed, sealed_n, &plain, &n, &e) < 0)
        return false;
    same = n == 6 && memcmp(plain, "canary", 6) == 0;
    free(sealed);
    free(plain);
    return same;
}

static void do_nothing(void) {}
static void do_openat(void) { (void)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY); }
static void do_openat2(void) { (void)syscall(SYS_openat2, AT_FDCWD, "/", NULL, 0); }
static void do_unix_socket(void) { (void)socket(AF_UNIX, SOCK_SEQPACKET, 0); }
static void do_socketpair(void) { (void)socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){ 0 }); }
static void do_connect(void) { (void)connect(0, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(struct sockaddr)); }
static void do_clone(void) { (void)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static void do_memfd(void) { (void)memfd_create("x", 0); }
static void do_chdir(void) { (void)syscall(SYS_chdir, "/"); }

static int under_the_filter(void (*act)(void))
{
    struct error e;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct secret *s = get_ready();

        if (cryptd_sandbox(&e) < 0)
            _exit(NOT_READY);
        if (!seals(s))
            _exit(NOT_SEALED);
        act();
        _exit(SURVIVED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void sealing_survives_the_filter(void **state)
{
    int status = under_the_filter(do_nothing);

    (void)state;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SURVIVED);
}

static void everything_else_kills(void **state)
{
    static const struct forbidden rows[] = {
        { "openat of a device", do_openat }, { "openat2", do_openat2 }, { "unix socket", do_unix_socket },
        { "socketpair", do_socketpair }, { "connect", do_connect }, { "clone", do_clone }, { "memfd", do_memfd },
        { "chdir", do_chdir },
    };

    (void)state;
    forbidden_kill(under_the_filter, rows, ARRAY_SIZE(rows));
}

static void the_list_is_short(void **state)
{
    size_t n;

    (void)state;
    assert_non_null(cryptd_calls(&n));
    assert_in_range(n, 10, 27);
}

#endif

/* --- serving -------------------------------------------------------------------------------------- */

/* A whole cryptd but for its main(): the real handlers, server and sandbox on a listening socket. */
static void serve_in_child(int listener)
{
    struct serve serve = { .loop = loop_new(2), .secret = get_ready() };
    const struct ipc_peer_uid peers[] = { { ROLE_SYNCD, getuid() }, { ROLE_FRONTD, getuid() } };
    struct ipc_server_spec spec = {
        .role = ROLE_CRYPTD, .peers = peers, .n_peers = 2, .max_connections = 4, .max_queue = 16,
        .peer_lost = serve_peer_lost, .arg = &serve,
    };
    struct error e;
    int status;

    spec.handlers = serve_handlers(&spec.n_handlers);
    (void)mallopt(M_ARENA_MAX, 1);   /* as its main() does */
    if (keyring_new(&serve.ring, &e) < 0 || bulk_new(serve.loop, 2, &serve.bulk, &e) < 0)
        _exit(NOT_READY);
    serve.server = ipc_server_new(serve.loop, &spec);
    if (!serve.server || ipc_server_listen(serve.server, listener) < 0 || cryptd_sandbox(&e) < 0)
        _exit(NOT_READY);
    status = loop_run(serve.loop);
    ipc_server_free(serve.server);
    bulk_free(serve.bulk);
    keyring_free(serve.ring);
    secret_free(serve.secret);
    aead_end();
    loop_free(serve.loop);
    exit(status == 0 ? SURVIVED : EXIT_FAILURE);   /* with all that runs at exit */
}

struct talk {
    struct loop *loop;
    struct ipc_client *syncd, *frontd;
    uint8_t sealed[256];
    size_t sealed_n;
    int step;           /* answers received as they should be */
};

static void on_shutdown_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct talk *t = arg;

    (void)fds;
    t->step += !e && reply->body_case == LF__ENVELOPE__BODY_DONE;
    loop_exit(t->loop, 0);
}

static void on_wrong_unsealed(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    Lf__Shutdown shutdown = LF__SHUTDOWN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(SHUTDOWN, shutdown, &shutdown);
    struct talk *t = arg;

    (void)reply;
    (void)fds;
    t->step += e && e->code == -EUCLEAN;
    (void)ipc_call(t->frontd, &env, NULL, 0, 60000, on_shutdown_done, t);
}

static void ask_unseal(struct talk *t, const char *purpose, ipc_answer_fn *done)
{
    Lf__Unseal unseal = LF__UNSEAL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(UNSEAL, unseal, &unseal);

    unseal.purpose = (char *)purpose;
    unseal.sealed.data = t->sealed;
    unseal.sealed.len = t->sealed_n;
    (void)ipc_call(t->syncd, &env, NULL, 0, 60000, done, t);
}

static void on_unsealed(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct talk *t = arg;

    (void)fds;
    t->step += !e && reply->unsealed->plain.len == 6 && memcmp(reply->unsealed->plain.data, "canary", 6) == 0;
    ask_unseal(t, "account:2", on_wrong_unsealed);
}

static void on_sealed(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct talk *t = arg;

    (void)fds;
    if (!e && reply->sealed->sealed.len <= sizeof(t->sealed)) {
        t->sealed_n = reply->sealed->sealed.len;
        memcpy(t->sealed, reply->sealed->sealed.data, t->sealed_n);
        t->step++;
    }
    ask_unseal(t, "account:1", on_unsealed);
}

static int listen_at(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    memcpy(sun.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

struct place {
    char dir[40], path[64];
    pid_t pid;
};

static void start(struct place *p)
{
    int fd;

    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/landfall-cryptd-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->path, sizeof(p->path), "%s/cryptd.sock", p->dir);
    fd = listen_at(p->path);
    (void)fflush(NULL);
    p->pid = fork();
    if (p->pid == 0)
        serve_in_child(fd);
    assert_true(p->pid > 0);
    (void)close(fd);
}

static void assert_ends_well(struct place *p)
{
    int status;

    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SURVIVED);
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->dir), 0);
}

static void a_confined_cryptd_serves_and_shuts_down(void **state)
{
    struct place p;
    struct ipc_client_spec spec = { .role = ROLE_SYNCD, .peer = ROLE_CRYPTD, .path = p.path, .max_queue = 4 };
    struct talk t = { 0 };
    Lf__Seal seal = LF__SEAL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(SEAL, seal, &seal);

    (void)state;
    start(&p);
    t.loop = loop_new(0);
    t.syncd = ipc_client_new(t.loop, &spec);
    spec.role = ROLE_FRONTD;
    t.frontd = ipc_client_new(t.loop, &spec);
    seal.purpose = (char *)"account:1";
    seal.plain.data = (uint8_t *)(char[]){ "canary" };
    seal.plain.len = 6;
    (void)ipc_call(t.syncd, &env, NULL, 0, 60000, on_sealed, &t);
    assert_int_equal(loop_run(t.loop), 0);
    assert_int_equal(t.step, 4);
    ipc_client_free(t.syncd);
    ipc_client_free(t.frontd);
    loop_free(t.loop);
    assert_ends_well(&p);
}

/* All that threads, libcrypto and shared memory need passes the filter: for syncd and for a worker. */
static void a_confined_cryptd_does_bulk_work(void **state)
{
    enum { SIZE = 16 << 20, N = 64 };
    static struct bulk_chunk chunks[N];
    struct cryptd_fixture f = { 0 };
    uint8_t key[WRAPPED_KEY_SIZE], blob[DRIVE_BLOB_MAX], *memory;
    struct crypt_ask call = { 0, FORM_PLAIN, FORM_CACHE, NULL, key, chunks, N };
    struct ipc_client *syncd, *worker;
    struct place p;
    size_t n;
    int fd;

    (void)state;
    start(&p);
    f.serve.loop = loop_new(0);
    memory = shared_memory(SIZE, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, &fd);
    memcpy(f.path, p.path, sizeof(p.path));
    syncd = cryptd_client(&f, ROLE_SYNCD);
    call.handle = ask_drive(&f, syncd, FIXTURE_DRIVE, blob, &n);
    assert_int_equal(ask_region(&f, syncd, fd), 0);
    assert_int_equal(ask_cache_key(&f, syncd, call.handle, key), 0);
    for (size_t i = 0; i < N; i++)
        chunks[i] = (struct bulk_chunk){ .number = i, .length = BULK_CHUNK, .in_at = i * BULK_CHUNK,
                                         .out_at = SIZE / 2 + i * BULK_CHUNK };
    for (size_t i = 0; i < 8; i++)
        begin_crypt(&f, syncd, &call);
    assert_int_equal(ask_crypt(&f, syncd, &call), 0);
    worker = ask_lend(&f, syncd, call.handle);
    assert_int_equal(ask_region(&f, worker, fd), 0);
    ipc_client_free(syncd);
    call.handle = 0;
    assert_int_equal(ask_crypt(&f, worker, &call), 0);
    assert_int_equal(chunks[N - 1].code, 0);
    assert_int_equal(kill(p.pid, SIGTERM), 0);
    assert_ends_well(&p);
    ipc_client_free(worker);
    loop_free(f.serve.loop);
    lf__envelope__free_unpacked(f.reply, NULL);
    (void)munmap(memory, SIZE);
    (void)close(fd);
}

static void on_answer_stop(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct talk *t = arg;

    (void)reply;
    (void)fds;
    t->step += e && e->code == -EINVAL;
    loop_exit(t->loop, 0);
}

/* Its answer says that it is confined and serves; then the supervisor's way of ending it. */
static void a_confined_cryptd_obeys_a_signal(void **state)
{
    struct place p;
    struct ipc_client_spec spec = { .role = ROLE_SYNCD, .peer = ROLE_CRYPTD, .path = p.path, .max_queue = 4 };
    struct talk t = { 0 };

    (void)state;
    start(&p);
    t.loop = loop_new(0);
    t.syncd = ipc_client_new(t.loop, &spec);
    ask_unseal(&t, "no purpose", on_answer_stop);
    assert_int_equal(loop_run(t.loop), 0);
    assert_int_equal(t.step, 1);
    assert_int_equal(kill(p.pid, SIGTERM), 0);
    assert_ends_well(&p);
    ipc_client_free(t.syncd);
    loop_free(t.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef LANDFALL_SANITIZED
        cmocka_unit_test(sealing_survives_the_filter),
        cmocka_unit_test(everything_else_kills),
        cmocka_unit_test(the_list_is_short),
#endif
        cmocka_unit_test(a_confined_cryptd_serves_and_shuts_down),
        cmocka_unit_test(a_confined_cryptd_does_bulk_work),
        cmocka_unit_test(a_confined_cryptd_obeys_a_signal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
