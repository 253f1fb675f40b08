/* Owns what is kept: one list, the last one. Requests that have named it hold it until they are answered. */
#include "frontd/kept.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "frontd/frontd.h"

/* An optional fixed64 of that name. */
static const ProtobufCFieldDescriptor *number_of(const ProtobufCMessage *m, const char *name)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);

    return f && f->type == PROTOBUF_C_TYPE_FIXED64 && f->label == PROTOBUF_C_LABEL_OPTIONAL ? f : NULL;
}

static void set_known(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, uint64_t state)
{
    memcpy((char *)m + f->offset, &state, sizeof(state));
    *(protobuf_c_boolean *)(void *)((char *)m + f->quantifier_offset) = true;
}

/* False where the message has none. */
static bool get_state(const ProtobufCMessage *m, uint64_t *ret)
{
    const ProtobufCFieldDescriptor *f = number_of(m, "state");

    if (!f || !*(const protobuf_c_boolean *)(const void *)((const char *)m + f->quantifier_offset))
        return false;
    memcpy(ret, (const char *)m + f->offset, sizeof(*ret));
    return true;
}

struct kept *kept_name(const struct frontd *f, const struct route *row, ProtobufCMessage *request)
{
    const ProtobufCFieldDescriptor *known = number_of(request, "known");

    if (!known || !f->kept || f->kept->route != row)
        return NULL;
    set_known(request, known, f->kept->state);
    f->kept->refs++;
    return f->kept;
}

bool kept_holds(const struct kept *k, const ProtobufCMessage *reply)
{
    uint64_t state;

    return k && get_state(reply, &state) && state == k->state;
}

void kept_put(struct frontd *f, const struct route *row, const ProtobufCMessage *reply, const void *json, size_t n)
{
    uint64_t state;

    if (n > KEPT_MOST || !get_state(reply, &state))
        return;
    kept_unref(take_ptr(f->kept));
    f->kept = xcalloc(1, sizeof(*f->kept) + n);
    *f->kept = (struct kept){ .route = row, .state = state, .refs = 1, .n = n };
    memcpy(f->kept->json, json, n);
}

void kept_unref(struct kept *k)
{
    if (k && --k->refs == 0)
        free(k);
}
