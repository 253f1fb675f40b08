/* frontd's routes: the table is held against the schema, the permissions and the OpenAPI document; and
 * how paths, queries and ranges are read. */
#include "frontd/route.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/json_pb.h"
#include "frontd/agent.h"
#include "frontd/call.h"
#include "frontd/openapi.h"
#include "frontd/query.h"
#include "frontd/range.h"
#include "frontd/stream.h"

/* --- the table ----------------------------------------------------------------------------- */

static const struct route *row_at(size_t i)
{
    size_t n;
    const struct route *all = routes(&n);

    return i < n ? &all[i] : NULL;
}

#define EACH_ROUTE(r) \
    const struct route *r = row_at(0); r; r = row_at((size_t)(r - row_at(0)) + 1)

static const ProtobufCFieldDescriptor *field_named(const ProtobufCMessageDescriptor *d, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(d, name);
}

static bool is_parameter(const struct route *r, const char *name)
{
    char braces[ROUTE_NAME_SIZE + 2];
    const char *at;
    size_t len = strlen(name);

    (void)snprintf(braces, sizeof(braces), "{%s}", name);
    if (strstr(r->path, braces))
        return true;
    for (at = r->query ? strstr(r->query, name) : NULL; at; at = strstr(at + 1, name))
        if ((at == r->query || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
            return true;
    return false;
}

static void every_row_has_a_policy_and_a_handler(void **state)
{
    (void)state;
    for (EACH_ROUTE(r)) {
        unsigned kind = r->policy & (ROUTE_READS | ROUTE_CHANGES);

        if (kind != ROUTE_READS && kind != ROUTE_CHANGES)
            fail_msg("%s has no policy", r->path);
        if ((r->method == HTTP_PUT || r->method == HTTP_DELETE) && kind != ROUTE_CHANGES)
            fail_msg("%s changes something", r->path);
        if (!r->serve || !(r->summary || r->missing) || r->path[0] != '/')
            fail_msg("%s is incomplete", r->path);
        assert_int_equal(r->serve == missing_serve, r->missing != NULL);
        assert_true(r->method != HTTP_HEAD && r->method != HTTP_OPTIONS && r->method != HTTP_OTHER);
    }
}

static void every_question_may_be_asked(void **state)
{
    (void)state;
    for (EACH_ROUTE(r)) {
        const struct message_row *row = message_row(r->request);

        if (r->role == ROLE_NONE) {
            assert_int_equal(r->request, LF__ENVELOPE__BODY__NOT_SET);
            continue;
        }
        if (!row || !(row->receivers & ROLE_BIT(r->role)) || !(row->senders & ROLE_BIT(ROLE_FRONTD)))
            fail_msg("%s asks what frontd may not ask %s", r->path, role_name(r->role));
        assert_non_null(route_message(row->reply));
    }
}

/* Requests that call_message() fills: each name of the row is a field, and each required field has a name. */
static void every_parameter_has_its_field(void **state)
{
    (void)state;
    for (EACH_ROUTE(r)) {
        const ProtobufCMessageDescriptor *d = route_request(r);
        bool whole = r->body && strcmp(r->body, "*") == 0;

        if (!d || r->serve == command_serve)
            continue;
        if (r->body && !whole)
            assert_int_equal(field_named(d, r->body)->type, PROTOBUF_C_TYPE_MESSAGE);
        for (unsigned i = 0; i < d->n_fields; i++) {
            char name[ROUTE_NAME_SIZE];

            json_name(d->fields[i].name, JSON_CAMEL, name, sizeof(name));
            if (d->fields[i].label == PROTOBUF_C_LABEL_REQUIRED && (whole || !is_parameter(r, name)))
                fail_msg("%s cannot fill %s", r->path, name);
        }
    }
}

static void every_parameter_can_be_set(void **state)
{
    (void)state;
    for (EACH_ROUTE(r)) {
        const ProtobufCMessageDescriptor *d = route_request(r);
        char names[256];

        if (!d || r->serve == command_serve)
            continue;
        (void)snprintf(names, sizeof(names), "%s %s", r->query ? r->query : "", r->path + strcspn(r->path, "{"));
        for (char *rest = names, *name = strtok_r(rest, " {}", &rest); name; name = strtok_r(NULL, " {}", &rest)) {
            ProtobufCMessage *m = calloc(1, d->sizeof_message);
            struct error e;

            protobuf_c_message_init(d, m);
            if (*name != '/' && json_set_field(m, name, "1", &e) != 0)
                fail_msg("%s has no field for %s", r->path, name);
            protobuf_c_message_free_unpacked(m, NULL);
        }
    }
}

static void every_view_is_in_the_reply(void **state)
{
    (void)state;
    for (EACH_ROUTE(r)) {
        const struct message_row *row = message_row(r->request);
        const ProtobufCFieldDescriptor *f, *list;

        if (!r->view)
            continue;
        f = field_named(route_message(row->reply), r->view);
        assert_non_null(f);
        if (r->serve != list_serve)
            continue;
        list = f->label == PROTOBUF_C_LABEL_REPEATED ? f : field_named(f->descriptor, "data");
        assert_int_equal(list->label, PROTOBUF_C_LABEL_REPEATED);
        assert_int_equal(field_named(route_message(r->request), "page")->type, PROTOBUF_C_TYPE_STRING);
        assert_int_equal(field_named(route_message(row->reply), "next_page")->type, PROTOBUF_C_TYPE_STRING);
    }
}

/* Lists that come in pages are served as such: otherwise a client would see the first page only. */
static void every_paged_reply_is_served_in_pages(void **state)
{
    (void)state;
    for (EACH_ROUTE(r)) {
        const struct message_row *row = message_row(r->request);

        if (row && field_named(route_message(row->reply), "next_page"))
            assert_ptr_equal(r->serve, list_serve);
    }
}

static void no_row_stands_twice(void **state)
{
    (void)state;
    for (EACH_ROUTE(a))
        for (const struct route *b = row_at(0); b < a; b++)
            if (a->method == b->method && strcasecmp(a->path, b->path) == 0)
                fail_msg("%s stands twice", a->path);
}

/* Every row is found under its own path, and under a literal path only itself. */
static void every_row_is_reachable(void **state)
{
    (void)state;
    for (EACH_ROUTE(r)) {
        struct route_match m;
        char path[128], allow[ALLOW_SIZE];

        (void)snprintf(path, sizeof(path), "%s", r->path);
        for (char *p = strpbrk(path, "{}"); p; p = strpbrk(p, "{}"))
            *p = '-';
        assert_int_equal(route_find(path, r->method, &m), 0);
        assert_ptr_equal(m.route, r);
        assert_int_equal(m.n_params, strchr(r->path, '{') != NULL);
        route_allow(m.methods, allow);
        assert_non_null(strstr(allow, http_method_name(r->method)));
        route_match_free(&m);
    }
}

/* --- finding ------------------------------------------------------------------------------- */

static void paths_are_found(void **state)
{
    static const struct {
        const char *path;
        enum http_method method;
        int r;
        const char *row, *allow, *param;
    } rows[] = {
        { "/management/agent_status", HTTP_GET, 0, "/management/agent_status", "GET, HEAD, OPTIONS", NULL },
        { "/Management/AGENT_status/", HTTP_GET, 0, "/management/agent_status", "GET, HEAD, OPTIONS", NULL },
        { "/management/agent_status", HTTP_HEAD, 0, "/management/agent_status", "GET, HEAD, OPTIONS", NULL },
        { "/management/%61gent_status", HTTP_GET, 0, "/management/agent_status", "GET, HEAD, OPTIONS", NULL },
        { "/management/agent_status", HTTP_POST, 0, NULL, "GET, HEAD, OPTIONS", NULL },
        { "/management/agent_status", HTTP_OTHER, 0, NULL, "GET, HEAD, OPTIONS", NULL },
        { "/management/clouddrive", HTTP_POST, 0, "/management/clouddrive", "GET, HEAD, POST, OPTIONS", NULL },
        { "/management/clouddrive/a%2Fb%20c", HTTP_PUT, 0, "/management/clouddrive/{id}", "PUT, DELETE, OPTIONS",
          "a/b c" },
        { "/management/clouddrive/sync/x", HTTP_GET, 0, "/management/clouddrive/sync/{id}", "GET, HEAD, OPTIONS", "x" },
        { "/cloud/server_transfer/all", HTTP_GET, 0, "/cloud/server_transfer/all", "GET, HEAD, DELETE, OPTIONS", NULL },
        { "/management/command/Start", HTTP_POST, 0, "/management/command/{cmd}", "POST, OPTIONS", "Start" },
        { "/management/command/", HTTP_POST, 0, NULL, "", NULL },
        { "/management/command//", HTTP_POST, 0, NULL, "", NULL },
        { "/management//agent_status", HTTP_GET, 0, NULL, "", NULL },
        { "//management/agent_status", HTTP_GET, 0, NULL, "", NULL },
        { "/management/agent_status//", HTTP_GET, 0, NULL, "", NULL },
        { "/management%2Fagent_status", HTTP_GET, 0, NULL, "", NULL },
        { "/management/../management/agent_status", HTTP_GET, 0, NULL, "", NULL },
        { "/management/agent_statusx", HTTP_GET, 0, NULL, "", NULL },
        { "/management/agent_statu", HTTP_GET, 0, NULL, "", NULL },
        { "/management", HTTP_GET, 0, NULL, "", NULL },
        { "/", HTTP_GET, 0, NULL, "", NULL },
        { "*", HTTP_OPTIONS, 0, NULL, "", NULL },
        { "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t", HTTP_GET, 0, NULL, "", NULL },
        { "/management/%zz", HTTP_GET, -EINVAL, NULL, "", NULL },
        { "/management/%", HTTP_GET, -EINVAL, NULL, "", NULL },
        { "/management/command/%00", HTTP_POST, -EINVAL, NULL, "", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct route_match m;
        char allow[ALLOW_SIZE];

        assert_int_equal(route_find(rows[i].path, rows[i].method, &m), rows[i].r);
        route_allow(m.methods, allow);
        if ((m.route ? strcmp(m.route->path, rows[i].row ? rows[i].row : "") : rows[i].row != NULL) ||
            strcmp(allow, rows[i].allow) != 0)
            fail_msg("%s -> %s, %s", rows[i].path, m.route ? m.route->path : "nothing", allow);
        assert_int_equal(m.n_params, m.route && rows[i].param ? 1 : 0);
        if (m.n_params)
            assert_string_equal(m.params[0].value, rows[i].param);
        route_match_free(&m);
    }
}

/* --- the search, held against a walk through the table ------------------------------------- */

/* Whether a path without escapes fits the row's. */
static bool fits(const char *row, const char *path)
{
    while (*row && *path) {
        size_t len = strcspn(row + 1, "/"), given = strcspn(path + 1, "/");

        if (row[1] == '{' ? !given : len != given || strncasecmp(row + 1, path + 1, len) != 0)
            return false;
        row += len + 1;
        path += given + 1;
    }
    return !*row && !*path;
}

/* What a row offers, HEAD and OPTIONS among it. */
static unsigned methods_of(const struct route *r)
{
    return 1u << r->method | 1u << HTTP_OPTIONS | (r->method == HTTP_GET ? 1u << HTTP_HEAD : 0);
}

static void check_search(const char *path, enum http_method method)
{
    const struct route *first = NULL;
    struct route_match m;
    unsigned methods = 0;

    for (EACH_ROUTE(r))
        if (fits(r->path, path)) {
            methods |= methods_of(r);
            first = first || r->method != (method == HTTP_HEAD ? HTTP_GET : method) ? first : r;
        }
    assert_int_equal(route_find(path, method, &m), 0);
    if (m.route != first || m.methods != methods)
        fail_msg("%s %s -> %s", http_method_name(method), path, m.route ? m.route->path : "nothing");
    route_match_free(&m);
}

/* The row's path; in capitals; with a value in place of a parameter, another row's word among them; with a segment
 * more, less, and changed. */
static void write_variant(const struct route *r, unsigned variant, char out[256])
{
    char *last;

    (void)snprintf(out, 256, "%s%s", r->path, variant == 4 ? "/more" : "");
    for (char *p = out; variant == 1 && *p; p++)
        *p = (char)toupper((unsigned char)*p);
    for (char *p = strchr(out, '{'); (variant == 2 || variant == 3) && p; p = strchr(p, '{'))
        memcpy(p, variant == 2 ? "all" : "x/y", 3);
    last = strrchr(out, '/');
    if (variant == 5 && last > out)
        *last = '\0';
    if (variant == 6)
        last[1] = last[1] == 'q' ? 'r' : 'q';
}

static void the_search_finds_what_a_walk_finds(void **state)
{
    char path[256];

    (void)state;
    for (EACH_ROUTE(r))
        for (unsigned variant = 0; variant <= 6; variant++)
            for (enum http_method m = HTTP_GET; m <= HTTP_OTHER; m++) {
                write_variant(r, variant, path);
                check_search(path, m);
            }
}

static void queries_are_decoded(void **state)
{
    static const char text[] = "path=%2Fa%20b+c%2B&Start=1&path=second&&empty=&flag&token=x=y&%70ath=third";
    struct query q;

    (void)state;
    assert_int_equal(query_parse(text, &q), 0);
    assert_string_equal(query_get(&q, "path"), "/a b c+");
    assert_string_equal(query_get(&q, "PATH"), "/a b c+");
    assert_string_equal(query_get(&q, "start"), "1");
    assert_string_equal(query_get(&q, "empty"), "");
    assert_string_equal(query_get(&q, "flag"), "");
    assert_string_equal(query_get(&q, "token"), "x=y");
    assert_null(query_get(&q, "other"));
    assert_int_equal(q.n, 7);
    query_free(&q);
}

static void queries_are_refused(void **state)
{
    static const char *const wrong[] = { "a=%", "a=%4", "a=%zz", "%00=1", "a=%00", "ok=1&b=%g0" };
    char many[4 * (QUERY_MAX + 1) + 1] = "";
    struct query q;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(query_parse(wrong[i], &q), -EINVAL);
        query_free(&q);
    }
    for (int i = 0; i < QUERY_MAX; i++)
        strcat(many, "a=1&");
    assert_int_equal(query_parse(many, &q), 0);
    query_free(&q);
    strcat(many, "a=1");
    assert_int_equal(query_parse(many, &q), -E2BIG);
    query_free(&q);
    assert_int_equal(query_parse(NULL, &q), 0);
    assert_int_equal(q.n, 0);
    query_free(&q);
}

static void ranges_are_read(void **state)
{
    static const struct {
        const char *field;
        struct range range;
    } rows[] = {
        { "bytes=0-99", { RANGE_SPAN, 0, 99 } },
        { "Bytes=5-5", { RANGE_SPAN, 5, 5 } },
        { "bytes=5-", { RANGE_FROM, 5, 0 } },
        { "bytes=-5", { RANGE_SUFFIX, 5, 5 } },
        { "bytes=-0", { RANGE_SUFFIX, 0, 0 } },
        { "bytes=0-99999999999999999999", { RANGE_SPAN, 0, INT64_MAX } },
        { "bytes=99999999999999999999-", { RANGE_FROM, INT64_MAX, 0 } },
        { "bytes=5-4", { RANGE_ALL, 0, 0 } },
        { "bytes=-", { RANGE_ALL, 0, 0 } },
        { "bytes=", { RANGE_ALL, 0, 0 } },
        { "", { RANGE_ALL, 0, 0 } },
        { "bytes=0-1,3-4", { RANGE_ALL, 0, 0 } },
        { "bytes=0-1x", { RANGE_ALL, 0, 0 } },
        { "bytes= 0-1", { RANGE_ALL, 0, 0 } },
        { "bytes=--1", { RANGE_ALL, 0, 0 } },
        { "bytes=+1-2", { RANGE_ALL, 0, 0 } },
        { "lines=0-1", { RANGE_ALL, 0, 0 } },
    };
    char out[CONTENT_RANGE_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct range r = range_parse(rows[i].field), expected = rows[i].range;

        if (r.kind != expected.kind || (r.kind != RANGE_ALL && r.first != expected.first) ||
            (r.kind == RANGE_SPAN && r.last != expected.last))
            fail_msg("%s -> %d %ld %ld", rows[i].field, (int)r.kind, (long)r.first, (long)r.last);
    }
    range_content(0, 99, 1000, out);
    assert_string_equal(out, "bytes 0-99/1000");
    range_content(0, -1, INT64_MAX, out);
    assert_string_equal(out, "bytes */9223372036854775807");
    range_content(INT64_MAX - 1, INT64_MAX, INT64_MAX, out);
    assert_string_equal(out, "bytes 9223372036854775806-9223372036854775807/9223372036854775807");
}

/* --- the document -------------------------------------------------------------------------- */

/* Every "$ref" in the document leads to something in it. */
static void check_refs(struct json_object *o, struct json_object *document)
{
    if (json_object_is_type(o, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(o); i++)
            check_refs(json_object_array_get_idx(o, i), document);
        return;
    }
    if (!json_object_is_type(o, json_type_object))
        return;
    json_object_object_foreach (o, key, value) {
        struct json_object *found = NULL;

        check_refs(value, document);
        if (strcmp(key, "$ref") == 0 && json_pointer_get(document, json_object_get_string(value) + 1, &found) != 0)
            fail_msg("%s leads nowhere", json_object_get_string(value));
    }
}

static void document_has_every_route(void **state)
{
    struct json_object *document = openapi_document("http://localhost:1"),
                       *paths = json_object_object_get(document, "paths");

    (void)state;
    for (EACH_ROUTE(r)) {
        char method[16] = "";
        struct json_object *path = json_object_object_get(paths, r->path), *operation, *responses;

        for (size_t i = 0; http_method_name(r->method)[i]; i++)
            method[i] = http_method_name(r->method)[i] | 0x20;
        operation = json_object_object_get(path, method);
        assert_non_null(json_object_object_get(operation, "summary"));
        responses = json_object_object_get(operation, "responses");
        assert_non_null(json_object_object_get(responses, "default"));
        assert_int_equal(json_object_object_get(responses, "200") != NULL, !r->missing && !(r->policy & ROUTE_SOCKET));
        assert_int_equal(json_object_object_get(responses, "101") != NULL, (r->policy & ROUTE_SOCKET) != 0);
        assert_int_equal(json_object_object_get(operation, "requestBody") != NULL, r->body != NULL);
    }
    check_refs(document, document);
    json_object_put(document);
}

static void document_names_what_a_route_takes(void **state)
{
    struct json_object *document = openapi_document("http://localhost:1"), *value = NULL;

    (void)state;
    assert_int_equal(json_pointer_get(document, "/paths/~1management~1get_object_stream/get/parameters/1", &value), 0);
    assert_string_equal(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN),
                        "{\"name\":\"start\",\"in\":\"query\",\"required\":false,"
                        "\"schema\":{\"type\":\"integer\",\"format\":\"int64\"}}");
    assert_int_equal(json_pointer_get(document, "/components/schemas/CloudDrive/properties/account/$ref", &value), 0);
    assert_string_equal(json_object_get_string(value), "#/components/schemas/CloudAccount");
    assert_int_equal(json_pointer_get(document, "/servers/0/url", &value), 0);
    assert_string_equal(json_object_get_string(value), "http://localhost:1");
    json_object_put(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_a_policy_and_a_handler),
        cmocka_unit_test(every_question_may_be_asked),
        cmocka_unit_test(every_parameter_has_its_field),
        cmocka_unit_test(every_parameter_can_be_set),
        cmocka_unit_test(every_view_is_in_the_reply),
        cmocka_unit_test(every_paged_reply_is_served_in_pages),
        cmocka_unit_test(no_row_stands_twice),
        cmocka_unit_test(every_row_is_reachable),
        cmocka_unit_test(paths_are_found),
        cmocka_unit_test(the_search_finds_what_a_walk_finds),
        cmocka_unit_test(queries_are_decoded),
        cmocka_unit_test(queries_are_refused),
        cmocka_unit_test(ranges_are_read),
        cmocka_unit_test(document_has_every_route),
        cmocka_unit_test(document_names_what_a_route_takes),
    };

    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
