/* A hostile peer of cryptd: every message that it takes, with fields at their extremes, with the handle of another
 * caller, with descriptors that are too few, too many or of another kind, from syncd's place and from a worker's. It gets
 * failures or is cut off, and whoever is honest is served as before. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/ipc_packet.h"
#include "tests/unit/cryptd_fixture.h"

enum { EXTREMES = 7, LONG = 40000, MANY = 200, KINDS = 3 };

static const uint64_t numbers[EXTREMES] = { 0, 1, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, 65536 };
static const size_t lengths[EXTREMES] = { 0, 1, 16, 104, 4096, LONG, 31 };
static const size_t counts[EXTREMES] = { 0, 1, 2, 128, 129, MANY, 8 };

static struct rig {
    struct cryptd_fixture *f;
    struct ipc_client *syncd;
    uint64_t handle;              /* the honest caller's */
    uint8_t key[WRAPPED_KEY_SIZE];
    int fds[KINDS];               /* a pipe, memory that may shrink, memory of odd size */
    int n_refused, n_served;
} rig;

/* --- messages ------------------------------------------------------------------------------------------ */

static alignas(16) uint8_t arena[16 << 20];
static size_t used;

static void *room(size_t n)
{
    void *p = arena + used;

    used += (n + 15) & ~(size_t)15;
    assert_true(used <= sizeof(arena));
    memset(p, 0, n);
    return p;
}

static void fill(ProtobufCMessage *m, size_t v);

static size_t width(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
        return 8;
    default:
        return 4;
    }
}

static void put_number(void *at, size_t n, uint64_t value)
{
    memcpy(at, &value, n);
}

static void *text(size_t n, int byte)
{
    return memset(room(n + 1), byte, n);
}

static void put(const ProtobufCFieldDescriptor *f, void *at, size_t v, bool in_list)
{
    size_t n = in_list ? lengths[v] % 128 : lengths[v];
    ProtobufCMessage *m;

    if (f->type == PROTOBUF_C_TYPE_STRING) {
        *(void **)at = text(n, v % 2 ? 'x' : '/');
    } else if (f->type == PROTOBUF_C_TYPE_BYTES) {
        *(ProtobufCBinaryData *)at = (ProtobufCBinaryData){ n, text(n, v % 2 ? 0xff : 0) };
    } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessageDescriptor *d = f->descriptor;

        m = room(d->sizeof_message);
        protobuf_c_message_init(d, m);
        fill(m, v);
        *(void **)at = m;
    } else {
        put_number(at, width(f), strcmp(f->name, "handle") == 0 ? rig.handle : numbers[v]);
    }
}

static void fill(ProtobufCMessage *m, size_t v)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;

    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        char *at = (char *)m + f->offset;

        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            char *list = room(counts[v] * width(f));

            *(size_t *)(void *)((char *)m + f->quantifier_offset) = counts[v];
            for (size_t k = 0; k < counts[v]; k++)
                put(f, list + k * width(f), (v + k) % EXTREMES, true);
            *(void **)(void *)at = list;
        } else {
            put(f, at, v, false);
            if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->quantifier_offset)
                *(protobuf_c_boolean *)(void *)((char *)m + f->quantifier_offset) = true;
        }
    }
}

/* An envelope with that body, all of its fields at extreme v. */
static Lf__Envelope *make_message(Lf__Envelope__BodyCase body, size_t v)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&lf__envelope__descriptor, body);
    Lf__Envelope *env;

    used = 0;
    env = room(sizeof(*env));
    lf__envelope__init(env);
    env->id = 1;
    env->body_case = body;
    put(f, (char *)env + f->offset, v, false);
    return env;
}

static bool names_a_handle(Lf__Envelope__BodyCase body)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&lf__envelope__descriptor, body);

    return protobuf_c_message_descriptor_get_field_by_name(f->descriptor, "handle") != NULL;
}

/* --- the peer -------------------------------------------------------------------------------------------- */

static int connect_as(enum role role)
{
    Lf__Hello hello = LF__HELLO__INIT;
    Lf__Envelope env = IPC_ENVELOPE(HELLO, hello, &hello);
    struct ipc_packet *p;
    struct ipc_peer *peer;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(ipc_server_adopt(rig.f->serve.server, fds[0], role, NULL, &peer), 0);
    hello.protocol = IPC_PROTOCOL;
    hello.role = role;
    hello.instance = 1;
    assert_int_equal(ipc_packet_new(&env, NULL, 0, &p), 0);
    assert_int_equal(ipc_packet_send(fds[1], p), 0);
    ipc_packet_unref(p);
    cryptd_idle(rig.f);
    return fds[1];
}

static bool is_success(const uint8_t *data, size_t n)
{
    Lf__Envelope *env;
    bool served;

    assert_null(ipc_packet_unpack(data, n, &env));
    served = env->id == 1 && !env->failure && env->body_case != LF__ENVELOPE__BODY_HELLO;
    lf__envelope__free_unpacked(env, NULL);
    return served;
}

/* Whether any answer was a success. */
static bool hear(int fd)
{
    static uint8_t data[IPC_MESSAGE_MAX];
    int fds[IPC_FDS_MAX];
    bool served = false;
    size_t n, n_fds;

    while (ipc_packet_receive(fd, data, &n, fds, &n_fds) == 0) {
        served |= is_success(data, n);
        ipc_packet_close_fds(fds, IPC_FDS_MAX);
    }
    return served;
}

static bool say(enum role role, const Lf__Envelope *env, const int *fds, size_t n)
{
    int fd = connect_as(role);
    struct ipc_packet *p;
    bool served = false;

    if (ipc_packet_new(env, fds, n, &p) == 0) {
        (void)ipc_packet_send(fd, p);
        ipc_packet_unref(p);
        cryptd_idle(rig.f);
        served = hear(fd);
    }
    (void)close(fd);
    cryptd_idle(rig.f);
    rig.n_served += served;
    rig.n_refused += !served;
    return served;
}

static void honest_are_served(void)
{
    uint8_t key[WRAPPED_KEY_SIZE];

    assert_int_equal(ask_cache_key(rig.f, rig.syncd, rig.handle, key), 0);
}

/* --- tests ----------------------------------------------------------------------------------------------- */

static void each_with(void (*test)(const struct message_row *row, enum role role, size_t v))
{
    static const enum role roles[] = { ROLE_SYNCD, ROLE_WORKER, ROLE_FRONTD, ROLE_MOUNTD };
    size_t n;
    const struct message_row *rows = message_rows(&n);

    for (size_t i = 0; i < n; i++) {
        if (!(rows[i].receivers & ROLE_BIT(ROLE_CRYPTD)) || rows[i].body == LF__ENVELOPE__BODY_SHUTDOWN)
            continue;
        for (size_t r = 0; r < ARRAY_SIZE(roles); r++)
            for (size_t v = 0; v < EXTREMES; v++)
                test(&rows[i], roles[r], v);
        honest_are_served();
    }
}

static void extreme(const struct message_row *row, enum role role, size_t v)
{
    int fds[IPC_FDS_MAX];
    bool served;

    for (size_t kind = 0; kind < KINDS; kind++) {
        for (size_t k = 0; k < IPC_FDS_MAX; k++)
            fds[k] = rig.fds[kind];
        served = say(role, make_message(row->body, v), fds, row->fds);
        assert_false(served && (names_a_handle(row->body) || row->fds));
        assert_false(served && !(row->senders & ROLE_BIT(role)));
    }
}

static void extremes_with_handles_of_others(void **state)
{
    (void)state;
    each_with(extreme);
    assert_true(rig.n_refused > 1000);
}

static void miscounted(const struct message_row *row, enum role role, size_t v)
{
    int fds[IPC_FDS_MAX];

    for (size_t k = 0; k < IPC_FDS_MAX; k++)
        fds[k] = rig.fds[k % KINDS];
    for (size_t n = 0; n <= IPC_FDS_MAX; n++)
        if (n != row->fds)
            assert_false(say(role, make_message(row->body, v), fds, n));
}

static void descriptors_too_many_or_too_few(void **state)
{
    (void)state;
    each_with(miscounted);
}

/* --- rig ------------------------------------------------------------------------------------------------- */

static int make(void **state)
{
    int ends[2];

    (void)state;
    memset(&rig, 0, sizeof(rig));
    rig.f = cryptd_fixture_new(1);
    rig.syncd = cryptd_client(rig.f, ROLE_SYNCD);
    rig.handle = ask_drive(rig.f, rig.syncd, FIXTURE_DRIVE, NULL, NULL);
    if (pipe(ends) < 0)
        return -1;
    (void)close(ends[1]);
    rig.fds[0] = ends[0];
    (void)munmap(shared_memory(1 << 20, F_SEAL_GROW | F_SEAL_SEAL, &rig.fds[1]), 1 << 20);
    (void)munmap(shared_memory(100, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, &rig.fds[2]), 100);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++)
        (void)close(rig.fds[k]);
    ipc_client_free(rig.syncd);
    cryptd_fixture_free(rig.f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(extremes_with_handles_of_others, make, drop),
        cmocka_unit_test_setup_teardown(descriptors_too_many_or_too_few, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
