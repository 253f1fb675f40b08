/* JSON to message: the reading half of common/json_pb.h. json_pb_write.c holds the other.
 *
 * Walks the descriptor and knows no message by name. What it reads comes from outside, so every
 * refusal is a sentence that names the field and nothing is taken half-way: a number that does not
 * fit, a string with a NUL or a name given twice refuse the whole text. */
#include "common/json_pb.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "common/text.h"

enum { NAME_SIZE = 128, PLACE_SIZE = 256 };

/* What of a field is in the text: null counts as absent, but not a second time. */
enum seen { NOT_GIVEN, GIVEN, FILLED };

/* Where in the message a value stands, for sentences. */
struct place {
    const struct place *up;
    const char *name;
};

typedef int read_fn(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o, void *out,
                    struct error *e);

/* --- parsing ------------------------------------------------------------------------------- */

static bool only_space(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!memchr(" \t\r\n", s[i], 4))
            return false;
    return true;
}

static void free_tokener(struct json_tokener **t)
{
    if (*t)
        json_tokener_free(*t);
}

/* Members as they are written: outside of strings, and in text that is JSON, a colon stands in nothing else. */
static size_t members_written(const char *text, size_t len)
{
    bool in_string = false;
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (text[i] == ':' && !in_string)
            n++;
    }
    return n;
}

static size_t members_kept(struct json_object *o)
{
    size_t n = 0;

    if (json_object_is_type(o, json_type_object)) {
        json_object_object_foreach (o, key, v) {
            (void)key;
            n += 1 + members_kept(v);
        }
    } else if (json_object_is_type(o, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(o); i++)
            n += members_kept(json_object_array_get_idx(o, i));
    }
    return n;
}

int json_parse(const char *text, size_t len, struct json_object **ret, struct error *e)
{
    CLEANUP(free_tokener) struct json_tokener *t = json_tokener_new_ex(JSON_DEPTH_MAX);
    struct json_object *o;
    size_t end;

    if (!t)
        return error_set(e, -ENOMEM, "There is no memory left.");
    if (only_space(text, len))
        return error_set(e, -EBADMSG, "The JSON text is empty.");
    if (len > INT32_MAX || memchr(text, '\0', len))
        return error_set(e, -EBADMSG, "The JSON text is too long or holds a NUL.");
    if (!utf8_valid(text, len)) /* json-c's own check lets surrogates through */
        return error_set(e, -EBADMSG, "The JSON text is not valid UTF-8.");
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    o = json_tokener_parse_ex(t, text, (int)len);
    end = json_tokener_get_parse_end(t);
    /* A number at the top ends with the text, which the tokener learns from a NUL. */
    if (json_tokener_get_error(t) == json_tokener_continue)
        o = json_tokener_parse_ex(t, "", 1);
    if (json_tokener_get_error(t) != json_tokener_success)
        return error_set(e, -EBADMSG, "The JSON text is malformed at byte %zu: %s.", end,
                         json_tokener_error_desc(json_tokener_get_error(t)));
    if (!only_space(text + end, len - end)) {
        json_object_put(o);
        return error_set(e, -EBADMSG, "Something follows the JSON text at byte %zu.", end);
    }
    if (members_written(text, len) != members_kept(o)) {   /* json-c keeps the last of a name */
        json_object_put(o);
        return error_set(e, -EBADMSG, "An object of the JSON text has a name twice.");
    }
    *ret = o;
    return 0;
}

/* --- names --------------------------------------------------------------------------------- */

void json_name(const char *proto_name, enum json_case c, char *out, size_t size)
{
    bool upper = c == JSON_PASCAL;
    size_t n = 0;

    for (const char *p = proto_name; *p && n + 1 < size; p++) {
        if (*p == '_') {
            upper = true;
            continue;
        }
        out[n++] = upper ? (char)toupper((unsigned char)*p) : *p;
        upper = false;
    }
    out[n] = '\0';
}

static bool names_field(const char *name, const ProtobufCFieldDescriptor *f)
{
    char camel[NAME_SIZE];

    json_name(f->name, JSON_CAMEL, camel, sizeof(camel));
    return strcasecmp(name, camel) == 0;
}

/* A field of a oneof is no part of any API model and is not found. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *d, const char *name)
{
    for (unsigned i = 0; i < d->n_fields; i++)
        if (names_field(name, &d->fields[i]) && !(d->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            return &d->fields[i];
    return NULL;
}

static void write_place(const struct place *p, struct text *t)
{
    if (p->up) {
        write_place(p->up, t);
        text_puts(t, ".");
    }
    text_puts(t, p->name);
}

/* "transferOptions.chunkSize must be an integer." */
static int refuse(const struct place *p, const char *what, struct error *e)
{
    struct text t = TEXT_INIT(PLACE_SIZE);
    int r;

    write_place(p, &t);
    r = error_set(e, -EINVAL, "%s %s.", t.data ? t.data : p->name, what);
    text_free(&t);
    return r;
}

/* --- values -------------------------------------------------------------------------------- */

/* How a type is read: its reader, what it takes in the message, and the range of an integer. */
struct value {
    read_fn *read;
    size_t size;
    int64_t least;
    uint64_t most;
};

static read_fn read_integer, read_bool, read_real, read_string, read_bytes, read_object;

#define SIGNED(bits) { read_integer, (bits) / 8, INT##bits##_MIN, INT##bits##_MAX }
#define UNSIGNED(bits) { read_integer, (bits) / 8, 0, UINT##bits##_MAX }
static const struct value values[] = {
    [PROTOBUF_C_TYPE_INT32] = SIGNED(32),
    [PROTOBUF_C_TYPE_SINT32] = SIGNED(32),
    [PROTOBUF_C_TYPE_SFIXED32] = SIGNED(32),
    [PROTOBUF_C_TYPE_ENUM] = SIGNED(32),
    [PROTOBUF_C_TYPE_INT64] = SIGNED(64),
    [PROTOBUF_C_TYPE_SINT64] = SIGNED(64),
    [PROTOBUF_C_TYPE_SFIXED64] = SIGNED(64),
    [PROTOBUF_C_TYPE_UINT32] = UNSIGNED(32),
    [PROTOBUF_C_TYPE_FIXED32] = UNSIGNED(32),
    [PROTOBUF_C_TYPE_UINT64] = UNSIGNED(64),
    [PROTOBUF_C_TYPE_FIXED64] = UNSIGNED(64),
    [PROTOBUF_C_TYPE_FLOAT] = { read_real, sizeof(float), 0, 0 },
    [PROTOBUF_C_TYPE_DOUBLE] = { read_real, sizeof(double), 0, 0 },
    [PROTOBUF_C_TYPE_BOOL] = { read_bool, sizeof(protobuf_c_boolean), 0, 0 },
    [PROTOBUF_C_TYPE_STRING] = { read_string, sizeof(char *), 0, 0 },
    [PROTOBUF_C_TYPE_BYTES] = { read_bytes, sizeof(ProtobufCBinaryData), 0, 0 },
    [PROTOBUF_C_TYPE_MESSAGE] = { read_object, sizeof(ProtobufCMessage *), 0, 0 },
};

static int read_integer(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o, void *out,
                        struct error *e)
{
    const struct value *n = &values[f->type];
    int64_t v;
    uint64_t u;

    if (!json_object_is_type(o, json_type_int))
        return refuse(p, "must be an integer", e);
    v = json_object_get_int64(o);
    u = v < 0 ? 0 : json_object_get_uint64(o);
    /* json-c clamps what is wider than 64 bits to these two, so that they cannot be told from too much. */
    if (v == INT64_MIN || u == UINT64_MAX || v < n->least || u > n->most)
        return refuse(p, "is out of range", e);
    if (v < 0)
        u = (uint64_t)v;
    if (n->size == 4) {
        uint32_t narrow = (uint32_t)u;

        memcpy(out, &narrow, sizeof(narrow));
    } else {
        memcpy(out, &u, sizeof(u));
    }
    return 0;
}

static int read_bool(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o, void *out,
                     struct error *e)
{
    (void)f;
    if (!json_object_is_type(o, json_type_boolean))
        return refuse(p, "must be true or false", e);
    *(protobuf_c_boolean *)out = json_object_get_boolean(o);
    return 0;
}

static int read_real(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o, void *out,
                     struct error *e)
{
    double v;

    if (!json_object_is_type(o, json_type_double) && !json_object_is_type(o, json_type_int))
        return refuse(p, "must be a number", e);
    v = json_object_get_double(o);
    if (!isfinite(v)) /* json-c takes the word Infinity */
        return refuse(p, "is out of range", e);
    if (f->type == PROTOBUF_C_TYPE_FLOAT)
        *(float *)out = (float)v;
    else
        *(double *)out = v;
    return 0;
}

static int read_string(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o, void *out,
                       struct error *e)
{
    const char *s;

    (void)f;
    if (!json_object_is_type(o, json_type_string))
        return refuse(p, "must be a string", e);
    s = json_object_get_string(o);
    if (strlen(s) != (size_t)json_object_get_string_len(o))
        return refuse(p, "must not hold a NUL", e);
    *(char **)out = strdup(s);
    return *(char **)out ? 0 : error_set(e, -ENOMEM, "There is no memory left.");
}

static int read_bytes(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o, void *out,
                      struct error *e)
{
    ProtobufCBinaryData *b = out;

    (void)f;
    if (!json_object_is_type(o, json_type_string) ||
        base64_decode(json_object_get_string(o), (size_t)json_object_get_string_len(o), &b->data, &b->len) < 0)
        return refuse(p, "must be a base64 string", e);
    return 0;
}

static int read_message(const struct place *up, struct json_object *o, const ProtobufCMessageDescriptor *d,
                        ProtobufCMessage **ret, struct error *e);

static int read_object(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o, void *out,
                       struct error *e)
{
    return read_message(p, o, f->descriptor, out, e);
}

/* --- messages ------------------------------------------------------------------------------ */

static void *member(ProtobufCMessage *m, unsigned offset)
{
    return (char *)m + offset;
}

static int read_array(const struct place *p, const ProtobufCFieldDescriptor *f, struct json_object *o,
                      ProtobufCMessage *m, struct error *e)
{
    const struct value *v = &values[f->type];
    size_t *n = member(m, f->quantifier_offset), length;
    char *items;

    if (!json_object_is_type(o, json_type_array))
        return refuse(p, "must be an array", e);
    length = json_object_array_length(o);
    if (!length)
        return 0;
    items = calloc(length, v->size);
    if (!items)
        return error_set(e, -ENOMEM, "There is no memory left.");
    *(void **)member(m, f->offset) = items;
    for (size_t i = 0; i < length; i++) {
        int r = v->read(p, f, json_object_array_get_idx(o, i), items + i * v->size, e);

        if (r < 0)
            return r;
        *n = i + 1;
    }
    return 0;
}

/* Whether the field's presence stands in a flag of its own. */
static bool has_flag(const ProtobufCFieldDescriptor *f)
{
    return f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING &&
           f->type != PROTOBUF_C_TYPE_MESSAGE;
}

static int read_field(const struct place *up, const ProtobufCFieldDescriptor *f, struct json_object *o,
                      ProtobufCMessage *m, struct error *e)
{
    char name[NAME_SIZE];
    struct place p = { up, name };
    int r;

    json_name(f->name, JSON_CAMEL, name, sizeof(name));
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return read_array(&p, f, o, m, e);
    r = values[f->type].read(&p, f, o, member(m, f->offset), e);
    if (r == 0 && has_flag(f))
        *(protobuf_c_boolean *)member(m, f->quantifier_offset) = true;
    return r;
}

static int check_required(const struct place *up, const ProtobufCMessageDescriptor *d, const enum seen *seen,
                          struct error *e)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        char name[NAME_SIZE];
        struct place p = { up, name };

        json_name(d->fields[i].name, JSON_CAMEL, name, sizeof(name));
        if (d->fields[i].label == PROTOBUF_C_LABEL_REQUIRED && seen[i] != FILLED)
            return refuse(&p, "is missing", e);
    }
    return 0;
}

/* A message of type `d` with nothing set. */
static ProtobufCMessage *new_message(const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = malloc(d->sizeof_message);

    if (m)
        protobuf_c_message_init(d, m);
    return m;
}

static void free_message(ProtobufCMessage **m)
{
    protobuf_c_message_free_unpacked(*m, NULL);
}

static int read_members(const struct place *up, struct json_object *o, const ProtobufCMessageDescriptor *d,
                        ProtobufCMessage *m, enum seen *seen, struct error *e)
{
    json_object_object_foreach (o, key, v) {
        const ProtobufCFieldDescriptor *f = find_field(d, key);
        struct place p = { up, key };
        int r;

        if (!f)
            continue;
        if (seen[f - d->fields])
            return refuse(&p, "is given twice", e);
        seen[f - d->fields] = v ? FILLED : GIVEN;
        if (v && (r = read_field(up, f, v, m, e)) < 0)
            return r;
    }
    return check_required(up, d, seen, e);
}

static int read_message(const struct place *up, struct json_object *o, const ProtobufCMessageDescriptor *d,
                        ProtobufCMessage **ret, struct error *e)
{
    CLEANUP(free_message) ProtobufCMessage *m = NULL;
    CLEANUP_FREE enum seen *seen = NULL;
    int r;

    if (!json_object_is_type(o, json_type_object))
        return up ? refuse(up, "must be an object", e) : error_set(e, -EINVAL, "The body must be a JSON object.");
    m = new_message(d);
    seen = calloc(d->n_fields + 1, sizeof(*seen));
    if (!m || !seen)
        return error_set(e, -ENOMEM, "There is no memory left.");
    if ((r = read_members(up, o, d, m, seen, e)) < 0)
        return r;
    *ret = take_ptr(m);
    return 0;
}

int json_to_message(struct json_object *o, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret,
                    struct error *e)
{
    return read_message(NULL, o, d, ret, e);
}

/* --- single fields ------------------------------------------------------------------------- */

/* Decimal only: no space, no plus sign, no hexadecimal; read_integer minds the range, strtoll(3)'s
 * clamping included. */
static bool is_decimal(const char *s)
{
    s += *s == '-';
    return *s && strspn(s, "0123456789") == strlen(s);
}

static struct json_object *integer_from_text(const char *text)
{
    if (!is_decimal(text))
        return json_object_new_string(text);
    return *text == '-' ? json_object_new_int64(strtoll(text, NULL, 10))
                        : json_object_new_uint64(strtoull(text, NULL, 10));
}

static struct json_object *bool_from_text(const char *text)
{
    bool yes = strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0;
    bool no = strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0;

    return yes || no ? json_object_new_boolean(yes) : json_object_new_string(text);
}

/* The text as the JSON value the field would want; a text that is none stays a string and is refused as one. */
static struct json_object *value_from_text(const ProtobufCFieldDescriptor *f, const char *text)
{
    if (values[f->type].read == read_integer)
        return integer_from_text(text);
    return f->type == PROTOBUF_C_TYPE_BOOL ? bool_from_text(text) : json_object_new_string(text);
}

static bool settable(ProtobufCType t)
{
    return values[t].read == read_integer || t == PROTOBUF_C_TYPE_BOOL || t == PROTOBUF_C_TYPE_STRING;
}

int json_set_field(ProtobufCMessage *m, const char *name, const char *text, struct error *e)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
    struct json_object *o;
    int r;

    if (!f)
        f = find_field(m->descriptor, name);
    if (!f || f->label == PROTOBUF_C_LABEL_REPEATED || !settable(f->type))
        return error_set(e, -ENOENT, "There is no parameter %s.", name);
    o = value_from_text(f, text);
    if (!o)
        return error_set(e, -ENOMEM, "There is no memory left.");
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        char **at = member(m, f->offset);

        if (*at != f->default_value)
            free(*at);
        *at = NULL;
    }
    r = read_field(NULL, f, o, m, e);
    json_object_put(o);
    return r;
}
