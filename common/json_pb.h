/* JSON to protobuf message and back, by walking ProtobufCMessageDescriptor: the one converter of
 * the HTTP API.
 *
 * Names: proto snake_case <-> camelCase or PascalCase. Reading: keys match without regard to case,
 * unknown keys are ignored, null counts as absent, a wrong type or a number out of range names the
 * field ("transferOptions.chunkSize must be an integer."). Numbers are never taken from strings or
 * the other way round; int64 takes integers of full width. Writing: absent fields are left out,
 * `bytes` become base64, repeated fields are always there. */
#pragma once

#include <json-c/json.h>
#include <protobuf-c/protobuf-c.h>

#include "common/error.h"
#include "common/text.h"

enum json_case { JSON_CAMEL, JSON_PASCAL };

enum { JSON_DEPTH_MAX = 32 };

/* Parses `len` bytes of UTF-8 JSON text. 0 and *ret (json_object_put it; NULL for the text "null"),
 * -EBADMSG with a sentence (malformed, nested deeper than JSON_DEPTH_MAX, invalid UTF-8, trailing text, a name twice in
 * one object). */
int json_parse(const char *text, size_t len, struct json_object **ret, struct error *e);

/* Fills a new message of type `d` from `o`. 0 and *ret (protobuf_c_message_free_unpacked(, NULL)),
 * -EINVAL with a sentence that names the field. Missing `required` fields are an error that names them. */
int json_to_message(struct json_object *o, const ProtobufCMessageDescriptor *d,
                    ProtobufCMessage **ret, struct error *e);

/* Sets one field of `m`, found by its JSON or proto name, from text (a query or path parameter):
 * strings as they are, integers in decimal, booleans true/false/1/0. 0, -ENOENT (no such field), -EINVAL. */
int json_set_field(ProtobufCMessage *m, const char *name, const char *text, struct error *e);

/* Text of whatever origin as a JSON string: bytes that are no UTF-8 become U+FFFD. NULL without memory. */
struct json_object *json_string(const char *s);

/* Appends the message as a JSON object; its members, without braces, but for one by its proto name (NULL: all of them),
 * and says how many. */
void json_write(const ProtobufCMessage *m, enum json_case c, struct text *out);
size_t json_write_members(const ProtobufCMessage *m, const char *except, enum json_case c, struct text *out);

/* Appends one field's value by proto name, an array for a repeated field; false if it is absent. Of a repeated one
 * the elements, without brackets, and says how many. */
bool json_write_field(const ProtobufCMessage *m, const char *name, enum json_case c, struct text *out);
size_t json_write_elements(const ProtobufCMessage *m, const char *name, enum json_case c, struct text *out);

/* The message as a new JSON object, for who wants to add to it. */
struct json_object *json_from_message(const ProtobufCMessage *m, enum json_case c);

/* "service_url" -> "serviceUrl" / "ServiceUrl"; out has room for size bytes. */
void json_name(const char *proto_name, enum json_case c, char *out, size_t size);

/* JSON schema of a message for the OpenAPI document; messages it refers to as
 * "#/components/schemas/<Name>". */
struct json_object *json_schema(const ProtobufCMessageDescriptor *d, enum json_case c);
