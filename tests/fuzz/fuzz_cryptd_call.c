/* A hostile caller of cryptd: packets of any content, as syncd or as a worker (the first byte says which), with handles
 * that are its own where it guessed 1, and with descriptors that do not fit. Whatever it says, cryptd answers or
 * hangs up. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc_packet.h"
#include "tests/unit/cryptd_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cryptd_fixture *f;
static struct open_keys *keys;
static int memory_fd;

static void begin(void)
{
    struct error e;

    if (f)
        return;
    f = cryptd_fixture_new(0);
    (void)shared_memory(1 << 20, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, &memory_fd);
    keys = keyring_take(f->serve.ring, &e);
    if (!keys || drive_keys_make(keys->keys, FIXTURE_DRIVE, NULL, 0, &e) < 0)
        abort();
}

/* The far end of a new connection to cryptd, and its caller there. */
static int connect_syncd(struct caller **ret)
{
    struct ipc_peer *peer;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0 ||
        ipc_server_adopt(f->serve.server, fds[0], ROLE_SYNCD, NULL, &peer) < 0)
        abort();
    *ret = keyring_caller(f->serve.ring, peer);
    return fds[1];
}

static int connect_worker(struct handle *h, struct caller **ret)
{
    struct error e;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0 ||
        keyring_lend(h, f->serve.server, fds[0], &e) < 0)
        abort();
    *ret = LIST_FIRST(&h->lent);
    return fds[1];
}

static void send_packet(int fd, const Lf__Envelope *env)
{
    const struct message_row *row = message_row(env->body_case);
    const int fds[] = { memory_fd, memory_fd, memory_fd, memory_fd };
    struct ipc_packet *p;

    if (ipc_packet_new(env, fds, row ? row->fds : 0, &p) < 0)
        return;
    (void)ipc_packet_send(fd, p);
    ipc_packet_unref(p);
}

static void say_hello(int fd, enum role role)
{
    Lf__Hello hello = LF__HELLO__INIT;
    Lf__Envelope env = IPC_ENVELOPE(HELLO, hello, &hello);

    hello.protocol = IPC_PROTOCOL;
    hello.role = role;
    hello.instance = 1;
    send_packet(fd, &env);
}

/* The field `handle`, which a fuzzer would never guess. */
static void own_handle(Lf__Envelope *env, const struct handle *h)
{
    const ProtobufCFieldDescriptor *body =
        protobuf_c_message_descriptor_get_field(&lf__envelope__descriptor, env->body_case), *field;
    char *message;

    if (!body)
        return;
    message = *(char **)(void *)((char *)env + body->offset);
    field = protobuf_c_message_descriptor_get_field_by_name(body->descriptor, "handle");
    if (field && *(uint64_t *)(void *)(message + field->offset) == 1)
        *(uint64_t *)(void *)(message + field->offset) = h->number;
}

static void turn(void)
{
    for (int i = 0; i < 6; i++)
        (void)event_base_loop(loop_base(f->serve.loop), EVLOOP_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool worker = size > 0 && data[0] % 2;
    struct caller *syncd, *caller;
    struct handle *handle;
    struct error e;
    Lf__Envelope *env;
    int far, fd;

    begin();
    if (size < 2 || ipc_packet_unpack(data + 1, size - 1, &env))
        return 0;
    fd = far = connect_syncd(&syncd);
    caller = syncd;
    handle = keyring_handle(syncd, keyring_ref(keys), &e);
    if (worker)
        fd = connect_worker(handle, &caller);
    if (region_map(memory_fd, &caller->region, &e) < 0)
        abort();
    own_handle(env, handle);
    say_hello(fd, worker ? ROLE_WORKER : ROLE_SYNCD);
    send_packet(fd, env);
    lf__envelope__free_unpacked(env, NULL);
    turn();
    (void)close(fd);
    if (worker)
        (void)close(far);
    turn();
    return 0;
}
