/* Any bytes as JSON for any message: what is read writes valid JSON, and that reads as the same message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_pb.h"
#include "proto/ipc.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const messages[] = {
    &lf__cloud_drive__descriptor,    &lf__cloud_account__descriptor, &lf__drive_update__descriptor,
    &lf__cloud_object_list__descriptor, &lf__fs_xattr_names__descriptor, &lf__seal__descriptor,
    &lf__fs_attr__descriptor,        &lf__bucket_collection__descriptor, &lf__stream_open__descriptor,
};

static char *write_text(const ProtobufCMessage *m)
{
    struct json_object *o = json_from_message(m, JSON_CAMEL);
    char *text = o ? strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN)) : NULL;

    json_object_put(o);
    if (!text)
        abort();
    return text;
}

static ProtobufCMessage *read_text(const char *text, size_t len, const ProtobufCMessageDescriptor *d)
{
    struct json_object *o = NULL;
    ProtobufCMessage *m = NULL;
    struct error e = { 0 };
    int r = json_parse(text, len, &o, &e);

    if (r == 0)
        r = json_to_message(o, d, &m, &e);
    if ((r < 0) != (m == NULL) || (r < 0 && !e.text[0]))
        abort();
    json_object_put(o);
    return m;
}

static void check_round_trip(const char *text, size_t len, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = read_text(text, len, d), *again;
    char *first, *second;

    if (!m)
        return;
    first = write_text(m);
    again = read_text(first, strlen(first), d);
    if (!again)
        abort();
    second = write_text(again);
    if (strcmp(first, second) != 0)
        abort();
    free(first);
    free(second);
    protobuf_c_message_free_unpacked(m, NULL);
    protobuf_c_message_free_unpacked(again, NULL);
}

/* Each field from the text, as if it were a parameter. */
static void check_parameters(const uint8_t *data, size_t size, const ProtobufCMessageDescriptor *d)
{
    char *text = strndup((const char *)data, size);
    ProtobufCMessage *m = malloc(d->sizeof_message);
    struct error e;

    if (!text || !m)
        abort();
    protobuf_c_message_init(d, m);
    for (unsigned i = 0; i < d->n_fields; i++)
        (void)json_set_field(m, d->fields[i].name, text, &e);
    free(write_text(m));
    protobuf_c_message_free_unpacked(m, NULL);
    free(text);
}

/* One byte chooses the message, the rest is the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const ProtobufCMessageDescriptor *d;

    if (size < 1)
        return 0;
    d = messages[data[0] % (sizeof(messages) / sizeof(messages[0]))];
    check_round_trip((const char *)data + 1, size - 1, d);
    check_parameters(data + 1, size - 1, d);
    return 0;
}
