/* Walks the route table and the descriptors. Knows no endpoint by name but those that answer no message. */
#include "frontd/openapi.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json_pb.h"
#include "frontd/call.h"
#include "frontd/metrics.h"
#include "frontd/stream.h"

enum { NAME_SIZE = 128 };

static void put(struct json_object *o, const char *key, struct json_object *value)
{
    (void)json_object_object_add(o, key, value);
}

static void put_text(struct json_object *o, const char *key, const char *value)
{
    put(o, key, json_object_new_string(value));
}

static struct json_object *one(const char *key, struct json_object *value)
{
    struct json_object *o = json_object_new_object();

    put(o, key, value);
    return o;
}

static struct json_object *ref(const char *kind, const char *name)
{
    char path[NAME_SIZE];

    (void)snprintf(path, sizeof(path), "#/components/%s/%s", kind, name);
    return one("$ref", json_object_new_string(path));
}

/* --- schemas ------------------------------------------------------------------------------- */

/* The schema of one field, by proto or JSON name; a string where the message has none of that name. */
static struct json_object *property(const ProtobufCMessageDescriptor *d, const char *name)
{
    char camel[NAME_SIZE];
    struct json_object *schema = d ? json_schema(d, JSON_CAMEL) : NULL, *found = NULL;

    json_name(name, JSON_CAMEL, camel, sizeof(camel));
    if (schema)
        found = json_object_get(json_object_object_get(json_object_object_get(schema, "properties"), camel));
    json_object_put(schema);
    return found ? found : one("type", json_object_new_string("string"));
}

/* Adds the message and all it refers to. */
static void add_schema(struct json_object *schemas, const ProtobufCMessageDescriptor *d)
{
    if (json_object_object_get_ex(schemas, d->short_name, NULL))
        return;
    put(schemas, d->short_name, json_schema(d, JSON_CAMEL));
    for (unsigned i = 0; i < d->n_fields; i++)
        if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            add_schema(schemas, d->fields[i].descriptor);
}

static void add_field_schema(struct json_object *schemas, const ProtobufCMessageDescriptor *d, const char *name)
{
    const ProtobufCFieldDescriptor *f = d && name ? protobuf_c_message_descriptor_get_field_by_name(d, name) : NULL;

    if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
        add_schema(schemas, f->descriptor);
}

static const ProtobufCMessageDescriptor *reply_message(const struct route *r)
{
    const struct message_row *row = message_row(r->request);

    return row ? route_message(row->reply) : NULL;
}

static struct json_object *problem_schema(void)
{
    struct json_object *o = one("type", json_object_new_string("object")), *properties = json_object_new_object(),
                       *errors = one("type", json_object_new_string("object")),
                       *texts = one("type", json_object_new_string("array"));

    put(texts, "items", one("type", json_object_new_string("string")));
    put(errors, "additionalProperties", texts);
    put(properties, "type", one("type", json_object_new_string("string")));
    put(properties, "status", one("type", json_object_new_string("integer")));
    put(properties, "errors", errors);
    put(o, "properties", properties);
    return o;
}

/* --- operations ---------------------------------------------------------------------------- */

static struct json_object *parameter(const ProtobufCMessageDescriptor *d, const char *name, const char *in,
                                     bool required)
{
    struct json_object *o = one("name", json_object_new_string(name));

    put_text(o, "in", in);
    put(o, "required", json_object_new_boolean(required));
    put(o, "schema", property(d, name));
    return o;
}

static bool is_required(const ProtobufCMessageDescriptor *d, const char *name)
{
    for (unsigned i = 0; d && i < d->n_fields; i++) {
        char camel[NAME_SIZE];

        json_name(d->fields[i].name, JSON_CAMEL, camel, sizeof(camel));
        if (strcmp(camel, name) == 0)
            return d->fields[i].label == PROTOBUF_C_LABEL_REQUIRED;
    }
    return false;
}

static void add_path_parameters(struct json_object *list, const struct route *r, const ProtobufCMessageDescriptor *d)
{
    for (const char *p = strchr(r->path, '{'); p; p = strchr(p + 1, '{')) {
        char name[ROUTE_NAME_SIZE];

        (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(p + 1, "}"), p + 1);
        (void)json_object_array_add(list, parameter(d, name, "path", true));
    }
}

static struct json_object *parameters(const struct route *r)
{
    const ProtobufCMessageDescriptor *d = route_request(r);
    struct json_object *list = json_object_new_array();

    add_path_parameters(list, r, d);
    for (const char *p = r->query ? r->query : ""; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        char name[ROUTE_NAME_SIZE];

        (void)snprintf(name, sizeof(name), "%.*s", (int)len, p);
        (void)json_object_array_add(list, parameter(d, name, "query", is_required(d, name)));
        p += len;
    }
    if (r->policy & ROUTE_TOKEN)
        (void)json_object_array_add(list, ref("parameters", "token"));
    return list;
}

static struct json_object *content(const char *type, struct json_object *schema)
{
    return one(type, one("schema", schema));
}

static struct json_object *response(const char *description, struct json_object *body)
{
    struct json_object *o = one("description", json_object_new_string(description));

    if (body)
        put(o, "content", body);
    return o;
}

static struct json_object *string_schema(void)
{
    return one("type", json_object_new_string("string"));
}

static struct json_object *bytes(void)
{
    struct json_object *schema = string_schema();

    put_text(schema, "format", "binary");
    return content("application/octet-stream", schema);
}

static void add_success(struct json_object *responses, const struct route *r)
{
    if (r->policy & ROUTE_SOCKET) {
        put(responses, "101", response("A WebSocket (RFC 6455), which sends texts of JSON.", NULL));
        put(responses, "426", ref("responses", "Problem"));
    } else if (r->serve == stream_serve) {
        put(responses, "200", response("The whole object.", bytes()));
        put(responses, "206", response("The span asked for.", bytes()));
    } else if (r->serve == metrics_serve) {
        put(responses, "200", response("OK", content("text/plain", string_schema())));
    } else if (r->serve == openapi_serve) {
        put(responses, "200",
            response("OK", content("application/json", one("type", json_object_new_string("object")))));
    } else if (r->view) {
        put(responses, "200", response("OK", content("application/json", property(reply_message(r), r->view))));
    } else if (!r->missing) {
        put(responses, "200", response("OK", NULL));
    }
}

static struct json_object *request_body(const struct route *r)
{
    const ProtobufCMessageDescriptor *d = route_request(r);
    struct json_object *o = one("required", json_object_new_boolean(true));

    put(o, "content", content(r->policy & ROUTE_FORM ? "multipart/form-data" : "application/json",
                              strcmp(r->body, "*") == 0 ? ref("schemas", d->short_name) : property(d, r->body)));
    return o;
}

/* "get_management_clouddrive", of what stands in the path but for the braces. */
static void put_id(struct json_object *o, const struct route *r)
{
    char id[2 * NAME_SIZE];
    size_t n = 0;

    for (const char *p = http_method_name(r->method); *p; p++)
        id[n++] = (char)tolower((unsigned char)*p);
    for (const char *p = r->path; *p && n + 1 < sizeof(id); p++)
        if (*p != '{' && *p != '}')
            id[n++] = isalnum((unsigned char)*p) ? *p : '_';
    id[n] = '\0';
    put_text(o, "operationId", id);
}

/* What the guard asks for, for those who generate clients and tests. */
static struct json_object *policy(const struct route *r)
{
    static const struct {
        enum route_policy bit;
        const char *name;
    } bits[] = {
        { ROUTE_READS, "reads" },   { ROUTE_CHANGES, "changes" },    { ROUTE_TOKEN, "token" },
        { ROUTE_LOCAL, "local" },   { ROUTE_SOCKET, "websocket" },
    };
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
        if (r->policy & bits[i].bit)
            (void)json_object_array_add(list, json_object_new_string(bits[i].name));
    if (r->missing)
        (void)json_object_array_add(list, json_object_new_string("missing"));
    return list;
}

static struct json_object *operation(const struct route *r)
{
    struct json_object *o = json_object_new_object(), *responses = json_object_new_object();

    put_text(o, "summary", r->summary ? r->summary : r->missing);
    put_id(o, r);
    put(o, "x-policy", policy(r));
    put(o, "parameters", parameters(r));
    if (r->body)
        put(o, "requestBody", request_body(r));
    add_success(responses, r);
    put(responses, "default", ref("responses", "Problem"));
    put(o, "responses", responses);
    return o;
}

/* --- the document -------------------------------------------------------------------------- */

static void add_operation(struct json_object *paths, const struct route *r)
{
    struct json_object *path = NULL;
    char method[16];
    size_t i = 0;

    for (const char *p = http_method_name(r->method); *p; p++)
        method[i++] = (char)tolower((unsigned char)*p);
    method[i] = '\0';
    if (!json_object_object_get_ex(paths, r->path, &path)) {
        path = json_object_new_object();
        put(paths, r->path, path);
    }
    put(path, method, operation(r));
}

static void add_schemas_of(struct json_object *schemas, const struct route *r)
{
    const ProtobufCMessageDescriptor *d = route_request(r);

    if (r->body && strcmp(r->body, "*") == 0)
        add_schema(schemas, d);
    else
        add_field_schema(schemas, d, r->body);
    add_field_schema(schemas, reply_message(r), r->view);
}

static struct json_object *components(struct json_object *schemas)
{
    struct json_object *o = one("schemas", schemas), *token = parameter(NULL, "token", "query", false);

    put(schemas, "Problem", problem_schema());
    put_text(token, "description", "Session of a user; the owner of this machine needs none.");
    put(o, "responses", one("Problem", response("Refused or failed; the error-code field repeats the type.",
                                                content("application/problem+json", ref("schemas", "Problem")))));
    put(o, "parameters", one("token", token));
    return o;
}

struct json_object *openapi_document(const char *url)
{
    size_t n;
    const struct route *all = routes(&n);
    struct json_object *o = one("openapi", json_object_new_string("3.0.3")), *servers = json_object_new_array(),
                       *info = one("title", json_object_new_string("Landfall")), *paths = json_object_new_object(),
                       *schemas = json_object_new_object();

    put_text(info, "version", PACKAGE_VERSION);
    put(o, "info", info);
    (void)json_object_array_add(servers, one("url", json_object_new_string(url)));
    put(o, "servers", servers);
    for (size_t i = 0; i < n; i++) {
        add_operation(paths, &all[i]);
        add_schemas_of(schemas, &all[i]);
    }
    put(o, "paths", paths);
    put(o, "components", components(schemas));
    return o;
}

void openapi_serve(struct exchange *x)
{
    exchange_json(x, openapi_document(x->frontd->config->host_url));
}
