/* Message to JSON, and the schema of a message: the writing half of common/json_pb.h.
 *
 * What it writes is always valid JSON, also where a message holds bytes that are no UTF-8 (a file
 * name may): those become U+FFFD. */
#include "common/json_pb.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/base64.h"
#include "common/cleanup.h"
#include "common/text.h"

enum { NAME_SIZE = 128 };

typedef void write_fn(const void *at, enum json_case c, struct text *out);

/* --- values -------------------------------------------------------------------------------- */

static void write_i64(int64_t v, struct text *out)
{
    (void)text_printf(out, "%" PRId64, v);
}

static void write_int32(const void *at, enum json_case c, struct text *out)
{
    (void)c;
    write_i64(*(const int32_t *)at, out);
}

static void write_uint32(const void *at, enum json_case c, struct text *out)
{
    (void)c;
    write_i64(*(const uint32_t *)at, out);
}

static void write_int64(const void *at, enum json_case c, struct text *out)
{
    (void)c;
    write_i64(*(const int64_t *)at, out);
}

static void write_uint64(const void *at, enum json_case c, struct text *out)
{
    (void)c;
    (void)text_printf(out, "%" PRIu64, *(const uint64_t *)at);
}

static void write_bool(const void *at, enum json_case c, struct text *out)
{
    (void)c;
    (void)text_puts(out, *(const protobuf_c_boolean *)at ? "true" : "false");
}

/* JSON has no infinity and no NaN; both become 0. What has no fraction is written as a number with one. */
static void write_number(double v, struct text *out)
{
    char number[64];

    (void)snprintf(number, sizeof(number), "%.17g", isfinite(v) ? v : 0);
    (void)text_puts(out, number);
    if (!strpbrk(number, ".e"))
        (void)text_puts(out, ".0");
}

static void write_float(const void *at, enum json_case c, struct text *out)
{
    (void)c;
    write_number((double)*(const float *)at, out);
}

static void write_double(const void *at, enum json_case c, struct text *out)
{
    (void)c;
    write_number(*(const double *)at, out);
}

/* What may not stand in a string as it is. */
static void write_escaped(unsigned char byte, struct text *out)
{
    static const char short_forms[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };

    if (byte == '"' || byte == '\\')
        (void)text_add(out, (const char[]){ '\\', (char)byte }, 2);
    else if (byte < sizeof(short_forms) && short_forms[byte])
        (void)text_add(out, (const char[]){ '\\', short_forms[byte] }, 2);
    else
        (void)text_printf(out, "\\u%04x", byte);
}

/* Bytes at s that can be written as they are. */
static size_t plain(const char *s, size_t len)
{
    size_t n = 0, more;

    while (n < len) {
        unsigned char byte = (unsigned char)s[n];

        if (byte < ' ' || byte == '"' || byte == '\\')
            break;
        more = byte < 0x80 ? 1 : utf8_sequence(s + n, len - n);
        if (!more)
            break;
        n += more;
    }
    return n;
}

static void write_text(const char *s, size_t len, struct text *out)
{
    (void)text_add(out, "\"", 1);
    while (len) {
        size_t n = plain(s, len);

        (void)text_add(out, s, n);
        s += n;
        len -= n;
        if (!len)
            break;
        if ((unsigned char)*s < 0x80)
            write_escaped((unsigned char)*s, out);
        else
            (void)text_puts(out, "\xef\xbf\xbd");
        s++;
        len--;
    }
    (void)text_add(out, "\"", 1);
}

static void write_string(const void *at, enum json_case c, struct text *out)
{
    const char *s = *(char *const *)at;

    (void)c;
    write_text(s ? s : "", s ? strlen(s) : 0, out);
}

static void write_bytes(const void *at, enum json_case c, struct text *out)
{
    const ProtobufCBinaryData *b = at;
    CLEANUP_FREE char *coded = xcalloc(1, BASE64_LENGTH(b->len) + 1);

    (void)c;
    base64_encode(b->data, b->len, coded);
    write_text(coded, strlen(coded), out);
}

static void write_object(const void *at, enum json_case c, struct text *out)
{
    json_write(*(const ProtobufCMessage *const *)at, c, out);
}

/* How a type is written, and what OpenAPI calls it. */
static const struct value {
    write_fn *write;
    size_t size;
    const char *type, *format;
} values[] = {
    [PROTOBUF_C_TYPE_INT32] = { write_int32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_SINT32] = { write_int32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_SFIXED32] = { write_int32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_ENUM] = { write_int32, 4, "integer", "int32" },
    [PROTOBUF_C_TYPE_INT64] = { write_int64, 8, "integer", "int64" },
    [PROTOBUF_C_TYPE_SINT64] = { write_int64, 8, "integer", "int64" },
    [PROTOBUF_C_TYPE_SFIXED64] = { write_int64, 8, "integer", "int64" },
    [PROTOBUF_C_TYPE_UINT32] = { write_uint32, 4, "integer", "uint32" },
    [PROTOBUF_C_TYPE_FIXED32] = { write_uint32, 4, "integer", "uint32" },
    [PROTOBUF_C_TYPE_UINT64] = { write_uint64, 8, "integer", "uint64" },
    [PROTOBUF_C_TYPE_FIXED64] = { write_uint64, 8, "integer", "uint64" },
    [PROTOBUF_C_TYPE_FLOAT] = { write_float, sizeof(float), "number", "float" },
    [PROTOBUF_C_TYPE_DOUBLE] = { write_double, sizeof(double), "number", "double" },
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

static bool written(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    return f->label == PROTOBUF_C_LABEL_REPEATED || present(m, f);
}

static size_t write_items(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, enum json_case c,
                          struct text *out)
{
    const struct value *v = &values[f->type];
    size_t n = *(const size_t *)member(m, f->quantifier_offset);
    const char *items = *(char *const *)member(m, f->offset);

    for (size_t i = 0; i < n; i++) {
        if (i)
            (void)text_add(out, ",", 1);
        v->write(items + i * v->size, c, out);
    }
    return n;
}

static void write_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, enum json_case c,
                        struct text *out)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        values[f->type].write(member(m, f->offset), c, out);
        return;
    }
    (void)text_add(out, "[", 1);
    (void)write_items(m, f, c, out);
    (void)text_add(out, "]", 1);
}

static const ProtobufCFieldDescriptor *field(const ProtobufCMessage *m, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
}

/* --- the contract -------------------------------------------------------------------------- */

size_t json_write_members(const ProtobufCMessage *m, const char *except, enum json_case c, struct text *out)
{
    size_t n = 0;

    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        char name[NAME_SIZE];

        if (!written(m, f) || (except && strcmp(f->name, except) == 0))
            continue;
        json_name(f->name, c, name, sizeof(name));
        (void)text_puts(out, n++ ? ",\"" : "\"");
        (void)text_puts(out, name);
        (void)text_puts(out, "\":");
        write_field(m, f, c, out);
    }
    return n;
}

void json_write(const ProtobufCMessage *m, enum json_case c, struct text *out)
{
    (void)text_add(out, "{", 1);
    (void)json_write_members(m, NULL, c, out);
    (void)text_add(out, "}", 1);
}

bool json_write_field(const ProtobufCMessage *m, const char *name, enum json_case c, struct text *out)
{
    const ProtobufCFieldDescriptor *f = field(m, name);

    if (!f || !written(m, f))
        return false;
    write_field(m, f, c, out);
    return true;
}

size_t json_write_elements(const ProtobufCMessage *m, const char *name, enum json_case c, struct text *out)
{
    const ProtobufCFieldDescriptor *f = field(m, name);

    return f && f->label == PROTOBUF_C_LABEL_REPEATED ? write_items(m, f, c, out) : 0;
}

struct json_object *json_from_message(const ProtobufCMessage *m, enum json_case c)
{
    CLEANUP(text_free) struct text text = TEXT_INIT(INT32_MAX);
    struct json_object *o = NULL;
    struct error e;

    json_write(m, c, &text);
    if (text.error || json_parse(text.data, text.len, &o, &e) < 0)
        abort();
    return o;
}

struct json_object *json_string(const char *s)
{
    size_t len = strlen(s);
    CLEANUP(text_free) struct text text = TEXT_INIT(INT32_MAX);
    struct json_object *o = NULL;
    struct error e;

    if (utf8_valid(s, len))
        return json_object_new_string_len(s, (int)len);
    write_text(s, len, &text);
    if (text.error || json_parse(text.data, text.len, &o, &e) < 0)
        abort();
    return o;
}

/* --- schemas ------------------------------------------------------------------------------- */

/* Adds `value`, whatever becomes of it. False if it is NULL or there is no memory. */
static bool add(struct json_object *o, const char *key, struct json_object *value)
{
    if (value && json_object_object_add(o, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

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
