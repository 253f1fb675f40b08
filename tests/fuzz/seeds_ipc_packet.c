/* Seeds for fuzz_ipc_packet: one packet for every request, event and reply of the message table, with all members
 * set. `seeds_ipc_packet DIR` writes them there; in any case each must pass the checks that it is a seed for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/ipc_packet.h"

enum { DEPTH_MAX = 3 };

/* --- messages ---------------------------------------------------------------------------------- */

static ProtobufCMessage *make(const ProtobufCMessageDescriptor *d, unsigned depth);

static void set(void *at, const ProtobufCFieldDescriptor *f, unsigned depth)
{
    ProtobufCBinaryData bytes = { 1, NULL };

    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        *(ProtobufCMessage **)at = make(f->descriptor, depth + 1);
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        *(char **)at = xstrdup("a");
    } else if (f->type == PROTOBUF_C_TYPE_BYTES) {
        bytes.data = (uint8_t *)xstrdup("b");
        *(ProtobufCBinaryData *)at = bytes;
    } else if (f->type == PROTOBUF_C_TYPE_INT64 || f->type == PROTOBUF_C_TYPE_UINT64) {
        *(uint64_t *)at = 1;
    } else {
        *(uint32_t *)at = 1;   /* a boolean as well */
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : sizeof(uint64_t);
}

static void fill(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, unsigned depth)
{
    char *base = (char *)m;
    bool pointer = f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING;

    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        *(size_t *)(void *)(base + f->quantifier_offset) = 1;
        *(void **)(void *)(base + f->offset) = xcalloc(1, size_of(f));
        set(*(void **)(void *)(base + f->offset), f, depth);
        return;
    }
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL && !pointer)
        *(protobuf_c_boolean *)(void *)(base + f->quantifier_offset) = true;
    set(base + f->offset, f, depth);
}

static ProtobufCMessage *make(const ProtobufCMessageDescriptor *d, unsigned depth)
{
    ProtobufCMessage *m = xcalloc(1, d->sizeof_message);

    protobuf_c_message_init(d, m);
    for (unsigned i = 0; i < d->n_fields; i++)
        if (d->fields[i].label == PROTOBUF_C_LABEL_REQUIRED || depth < DEPTH_MAX)
            fill(m, &d->fields[i], depth);
    return m;
}

/* --- packets ------------------------------------------------------------------------------------- */

static enum role first_of(unsigned roles)
{
    return (enum role)(__builtin_ffs((int)roles) - 1);
}

static void fail(const char *name, const char *why)
{
    (void)fprintf(stderr, "the seed %s does not pass: %s\n", name, why);
    exit(EXIT_FAILURE);
}

static void check(const char *name, const struct ipc_packet *p, const struct message_row *row, bool reply)
{
    const struct message_row *found = NULL;
    Lf__Envelope *env = NULL;
    const char *wrong = ipc_packet_unpack(p->data, p->len, &env);

    if (!wrong && reply)
        wrong = ipc_packet_check_reply(env, row, row->reply_fds);
    else if (!wrong)
        wrong = ipc_packet_check_call(env, first_of(row->senders), first_of(row->receivers), row->fds, &found);
    if (wrong)
        fail(name, wrong);
    lf__envelope__free_unpacked(env, NULL);
}

/* Before the packet the byte that the target reads roles and descriptors from. */
static void write_seed(const char *dir, const char *name, const struct message_row *row, const struct ipc_packet *p)
{
    CLEANUP_FREE char *path = NULL;
    unsigned fds = row->fds, choice = first_of(row->senders) + first_of(row->receivers) * ROLE_COUNT;
    FILE *f = asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : fopen(path, "we");

    if (f) {
        (void)fputc((int)(choice + fds * ROLE_COUNT * ROLE_COUNT), f);
        (void)fwrite(p->data, p->len, 1, f);
    }
    if (!f || fclose(f) != 0)
        fail(name, "it cannot be written");
}

/* The members of a oneof share one place. */
static void make_seed(const char *dir, const struct message_row *row, bool reply)
{
    Lf__Envelope__BodyCase body = reply ? row->reply : row->body;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(&lf__envelope__descriptor, body);
    CLEANUP(ipc_packet_unrefp) struct ipc_packet *p = NULL;
    Lf__Envelope env = LF__ENVELOPE__INIT;

    env.id = reply || row->reply ? 7 : 0;
    env.body_case = body;
    env.hello = (Lf__Hello *)(void *)make(f->descriptor, 0);
    if (ipc_packet_new(&env, NULL, 0, &p) < 0)
        fail(f->name, "it cannot be packed");
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(void *)env.hello, NULL);
    check(f->name, p, row, reply);
    if (dir)
        write_seed(dir, f->name, row, p);
}

int main(int argc, char **argv)
{
    size_t n;
    const struct message_row *rows = message_rows(&n);

    for (size_t i = 0; i < n; i++) {
        make_seed(argc > 1 ? argv[1] : NULL, &rows[i], false);
        if (rows[i].reply)
            make_seed(argc > 1 ? argv[1] : NULL, &rows[i], true);
    }
    return EXIT_SUCCESS;
}
