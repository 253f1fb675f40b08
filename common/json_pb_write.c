/* Message to JSON, and the schema of a message: the writing half of common/json_pb.h.
 *
 * What it writes is always valid JSON, also where a message holds bytes that are no UTF-8 (a file
 * name may): those become U+FFFD. */
#include "common/json_pb.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "common/text.h"

enum { NAME_SIZE = 128 };

typedef struct json_object *write_fn(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c);

/* --- values -------------------------------------------------------------------------------- */

static struct json_object *write_i32(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    (void)f;
    (void)c;
    return json_object_new_int(*(const int32_t *)at);
}

static struct json_object *write_u32(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    (void)f;
    (void)c;
    return json_object_new_int64(*(const uint32_t *)at);
}

static struct json_object *write_i64(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    (void)f;
    (void)c;
    return json_object_new_int64(*(const int64_t *)at);
}

static struct json_object *write_u64(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    (void)f;
    (void)c;
    return json_object_new_uint64(*(const uint64_t *)at);
}

static struct json_object *write_bool(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    (void)f;
    (void)c;
    return json_object_new_boolean(*(const protobuf_c_boolean *)at);
}

/* JSON has no infinity and no NaN; both become 0. */
static struct json_object *write_real(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    double v = f->type == PROTOBUF_C_TYPE_FLOAT ? (double)*(const float *)at : *(const double *)at;

    (void)c;
    return json_object_new_double(isfinite(v) ? v : 0);
}

/* Length of the UTF-8 character at s, 0 if there is none. */
static size_t character(const char *s, size_t len)
{
    for (size_t n = 1; n <= 4 && n <= len; n++)
        if (utf8_valid(s, n))
            return n;
    return 0;
}

static struct json_object *write_repaired(const char *s, size_t len)
{
    struct text t = TEXT_INIT(SIZE_MAX / 2);
    struct json_object *o;

    while (len) {
        size_t n = character(s, len);

        text_add(&t, n ? s : "\xef\xbf\xbd", n ? n : 3);
        s += n ? n : 1;
        len -= n ? n : 1;
    }
    o = t.error ? NULL : json_object_new_string_len(t.data ? t.data : "", (int)t.len);
    text_free(&t);
    return o;
}

struct json_object *json_string(const char *s)
{
    size_t len = strlen(s);

    return utf8_valid(s, len) ? json_object_new_string_len(s, (int)len) : write_repaired(s, len);
}

static struct json_object *write_string(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    const char *s = *(char *const *)at;

    (void)f;
    (void)c;
    return json_string(s ? s : "");
}

static struct json_object *write_bytes(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    const ProtobufCBinaryData *b = at;
    CLEANUP_FREE char *coded = malloc(BASE64_LENGTH(b->len) + 1);

    (void)f;
    (void)c;
    if (!coded)
        return NULL;
    base64_encode(b->data, b->len, coded);
    return json_object_new_string(coded);
}

static struct json_object *write_object(const ProtobufCFieldDescriptor *f, const void *at, enum json_case c)
{
    (void)f;
    return json_from_message(*(const ProtobufCMessage *const *)at, c);
}

/* How a type is written, and what OpenAPI calls it. */
static const struct value {
    write_fn *write;
    size_t size;
    const char *type, *format;
} values[] = {
    [PROTOBUF_C_TYPE_INT32] = { write_i32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_SINT32] = { write_i32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_SFIXED32] = { write_i32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_ENUM] = { write_i32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_INT64] = { write_i64, 8, "integer", "int64" },
    [PROTOBUF_C_TYPE_SINT64] = { write_i64, 8, "integer", "int64" },
    [PROTOBUF_C_TYPE_SFIXED64] = { write_i64, 8, "integer", "int64" },
    [PROTOBUF_C_TYPE_UINT32] = { write_u32, 4, "integer", "uint32" },
    [PROTOBUF_C_TYPE_FIXED32] = { write_u32, 4, "integer", "uint32" },
    [PROTOBUF_C_TYPE_UINT64] = { write_u64, 8, "integer", "uint64" },
    [PROTOBUF_C_TYPE_FIXED64] = { write_u64, 8, "integer", "uint64" },
    [PROTOBUF_C_TYPE_FLOAT] = { write_real, sizeof(float), "number", "float" },
    [PROTOBUF_C_TYPE_DOUBLE] = { write_real, sizeof(double), "number", "double" },
    [PROTOBUF_C_TYPE_BOOL] = { write_bool, sizeof(protobuf_c_boolean), "boolean", NULL },
    [PROTOBUF_C_TYPE_STRING] = { write_string, sizeof(char *), "string", NULL },
    [PROTOBUF_C_TYPE_BYTES] = { write_bytes, sizeof(ProtobufCBinaryData), "string", "byte" },
    [PROTOBUF_C_TYPE_MESSAGE] = { write_object, sizeof(ProtobufCMessage *), "object", NULL },
};

/* --- messages ------------------------------------------------------------------------------ */

static const void *member(const ProtobufCMessage *m, unsigned offset)
{
    return (const char *)m + offset;
}

static bool present(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)member(m, f->quantifier_offset) == f->id;
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)member(m, f->offset) != NULL;
    return f->label != PROTOBUF_C_LABEL_OPTIONAL ||
           *(const protobuf_c_boolean *)member(m, f->quantifier_offset);
}

static struct json_object *write_array(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, enum json_case c)
{
    const struct value *v = &values[f->type];
    size_t n = *(const size_t *)member(m, f->quantifier_offset);
    const char *items = *(char *const *)member(m, f->offset);
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; array && i < n; i++) {
        struct json_object *item = v->write(f, items + i * v->size, c);

        if (!item || json_object_array_add(array, item) < 0) {
            json_object_put(item);
            json_object_put(array);
            return NULL;
        }
    }
    return array;
}

static struct json_object *write_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, enum json_case c)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return write_array(m, f, c);
    return values[f->type].write(f, member(m, f->offset), c);
}

static bool written(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return f->label == PROTOBUF_C_LABEL_REPEATED || present(m, f);
}

/* Adds `value`, whatever becomes of it. False if it is NULL or there is no memory. */
static bool add(struct json_object *o, const char *key, struct json_object *value)
{
    if (value && json_object_object_add(o, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

struct json_object *json_from_message(const ProtobufCMessage *m, enum json_case c)
{
    struct json_object *o = json_object_new_object();

    for (unsigned i = 0; o && i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        char name[NAME_SIZE];

        json_name(f->name, c, name, sizeof(name));
        if (written(m, f) && !add(o, name, write_field(m, f, c))) {
            json_object_put(o);
            return NULL;
        }
    }
    return o;
}

struct json_object *json_from_field(const ProtobufCMessage *m, const char *name, enum json_case c)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);

    return f && written(m, f) ? write_field(m, f, c) : NULL;
}

/* --- schemas ------------------------------------------------------------------------------- */

static struct json_object *value_schema(const ProtobufCFieldDescriptor *f)
{
    const struct value *v = &values[f->type];
    struct json_object *o = json_object_new_object();
    char ref[NAME_SIZE];

    if (!o)
        return NULL;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessageDescriptor *d = f->descriptor;

        (void)snprintf(ref, sizeof(ref), "#/components/schemas/%s", d->short_name);
        (void)add(o, "$ref", json_object_new_string(ref));
        return o;
    }
    (void)add(o, "type", json_object_new_string(v->type));
    if (v->format)
        (void)add(o, "format", json_object_new_string(v->format));
    return o;
}

static struct json_object *field_schema(const ProtobufCFieldDescriptor *f)
{
    struct json_object *value = value_schema(f), *array;

    if (!value || f->label != PROTOBUF_C_LABEL_REPEATED)
        return value;
    array = json_object_new_object();
    if (!array || !add(array, "type", json_object_new_string("array"))) {
        json_object_put(value);
        return array;
    }
    (void)add(array, "items", value);
    return array;
}

static void add_field_schema(const ProtobufCFieldDescriptor *f, enum json_case c, struct json_object *properties,
                             struct json_object *required)
{
    char name[NAME_SIZE];

    json_name(f->name, c, name, sizeof(name));
    (void)add(properties, name, field_schema(f));
    if (f->label == PROTOBUF_C_LABEL_REQUIRED)
        (void)json_object_array_add(required, json_object_new_string(name));
}

struct json_object *json_schema(const ProtobufCMessageDescriptor *d, enum json_case c)
{
    struct json_object *o = json_object_new_object(), *properties = json_object_new_object(),
                       *required = json_object_new_array();

    if (!o || !properties || !required) {
        json_object_put(o);
        json_object_put(properties);
        json_object_put(required);
        return NULL;
    }
    for (unsigned i = 0; i < d->n_fields; i++)
        add_field_schema(&d->fields[i], c, properties, required);
    (void)add(o, "type", json_object_new_string("object"));
    (void)add(o, "properties", properties);
    if (json_object_array_length(required) > 0)
        (void)add(o, "required", required);
    else
        json_object_put(required);
    return o;
}
