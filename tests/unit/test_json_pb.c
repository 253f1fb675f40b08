/* common/json_pb and common/base64: JSON to message and back, over the real schema. */
#include "common/json_pb.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "proto/ipc.pb-c.h"

static int read_text(const char *text, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret, struct error *e)
{
    struct json_object *o = NULL;
    int r = json_parse(text, strlen(text), &o, e);

    if (r == 0)
        r = json_to_message(o, d, ret, e);
    json_object_put(o);
    return r;
}

static char *write_text(struct json_object *o)
{
    char *s = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));

    json_object_put(o);
    assert_non_null(s);
    return s;
}

static void text_is_parsed_strictly(void **state)
{
    static const struct {
        const char *text;
        int r;
    } rows[] = {
        { "{}", 0 },
        { " {\"a\": [1, 2.5, true, null, \"x\"]}\r\n", 0 },
        { "null", 0 },
        { "17", 0 },
        { "\"text\"", 0 },
        { "", -EBADMSG },
        { "  ", -EBADMSG },
        { "{", -EBADMSG },
        { "{}x", -EBADMSG },
        { "{} {}", -EBADMSG },
        { "{\"a\": 1,}", -EBADMSG },
        { "{a: 1}", -EBADMSG },
        { "{\"a\": 01}", -EBADMSG },
        { "{\"a\": \"\xff\"}", -EBADMSG },
        { "{\"a\": \"\xed\xa0\x80\"}", -EBADMSG },
        { "/* c */ {}", -EBADMSG },
        { "tru", -EBADMSG },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct json_object *o = NULL;
        struct error e = { 0 };
        int r = json_parse(rows[i].text, strlen(rows[i].text), &o, &e);

        if (r != rows[i].r)
            fail_msg("%s: %d %s", rows[i].text, r, e.text);
        if (r < 0)
            assert_true(e.text[0] != '\0');
        json_object_put(o);
    }
}

static void text_with_nul_is_refused(void **state)
{
    struct json_object *o = NULL;
    struct error e;

    (void)state;
    assert_int_equal(json_parse("{}\0x", 4, &o, &e), -EBADMSG);
    assert_null(o);
}

static void depth_is_bounded(void **state)
{
    char text[2 * 64 + 1] = "";
    struct error e;

    (void)state;
    for (size_t depth = 1; depth <= 64; depth++) {
        struct json_object *o = NULL;

        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(json_parse(text, 2 * depth, &o, &e), depth <= JSON_DEPTH_MAX ? 0 : -EBADMSG);
        json_object_put(o);
    }
}

static void names_change_their_case(void **state)
{
    char name[32];

    (void)state;
    json_name("service_url", JSON_CAMEL, name, sizeof(name));
    assert_string_equal(name, "serviceUrl");
    json_name("service_url", JSON_PASCAL, name, sizeof(name));
    assert_string_equal(name, "ServiceUrl");
    json_name("name", JSON_CAMEL, name, sizeof(name));
    assert_string_equal(name, "name");
    json_name("service_url", JSON_CAMEL, name, 4);
    assert_string_equal(name, "ser");
}

static void model_goes_in_and_out(void **state)
{
    static const char in[] = "{\"NAME\": \"Team\", \"unknown\": {\"deep\": [1]}, \"driveType\": 1, \"prefix\": null,"
                             " \"maximumCacheSize\": 9007199254740993, \"ALLOWDELETE\": true,"
                             " \"transferOptions\": {\"chunkSize\": 5242880, \"retryCount\": -5},"
                             " \"account\": {\"id\": \"a\\u00e4\", \"secretKey\": \"\"}}";
    static const char out[] = "{\"name\":\"Team\",\"maximumCacheSize\":9007199254740993,\"allowDelete\":true,"
                              "\"driveType\":1,\"transferOptions\":{\"chunkSize\":5242880,\"retryCount\":-5},"
                              "\"account\":{\"id\":\"a\xc3\xa4\",\"secretKey\":\"\"}}";
    ProtobufCMessage *m = NULL;
    struct error e = { 0 };
    Lf__CloudDrive *d;
    CLEANUP_FREE char *text = NULL;

    (void)state;
    assert_int_equal(read_text(in, &lf__cloud_drive__descriptor, &m, &e), 0);
    d = (Lf__CloudDrive *)m;
    assert_string_equal(d->name, "Team");
    assert_null(d->prefix);
    assert_true(d->has_maximum_cache_size && d->maximum_cache_size == INT64_C(9007199254740993));
    assert_false(d->has_sync_type);
    assert_int_equal(d->transfer_options->retry_count, -5);
    text = write_text(json_from_message(m, JSON_CAMEL));
    assert_string_equal(text, out);
    protobuf_c_message_free_unpacked(m, NULL);
}

static void refusals_name_the_field(void **state)
{
    static const struct {
        const ProtobufCMessageDescriptor *d;
        const char *text, *sentence;
    } rows[] = {
        { &lf__cloud_drive__descriptor, "[]", "The body must be a JSON object." },
        { &lf__cloud_drive__descriptor, "null", "The body must be a JSON object." },
        { &lf__cloud_drive__descriptor, "{\"name\": 7}", "name must be a string." },
        { &lf__cloud_drive__descriptor, "{\"name\": \"a\\u0000b\"}", "name must not hold a NUL." },
        { &lf__cloud_drive__descriptor, "{\"driveType\": \"1\"}", "driveType must be an integer." },
        { &lf__cloud_drive__descriptor, "{\"driveType\": 1.0}", "driveType must be an integer." },
        { &lf__cloud_drive__descriptor, "{\"driveType\": 2147483648}", "driveType is out of range." },
        { &lf__cloud_drive__descriptor, "{\"driveType\": -2147483649}", "driveType is out of range." },
        { &lf__cloud_drive__descriptor, "{\"maximumCacheSize\": 9223372036854775808}",
          "maximumCacheSize is out of range." },
        { &lf__cloud_drive__descriptor, "{\"maximumCacheSize\": 99999999999999999999999}",
          "maximumCacheSize is out of range." },
        { &lf__cloud_drive__descriptor, "{\"maximumCacheSize\": -99999999999999999999999}",
          "maximumCacheSize is out of range." },
        { &lf__cloud_drive__descriptor, "{\"active\": 1}", "active must be true or false." },
        { &lf__cloud_drive__descriptor, "{\"transferOptions\": {\"chunkSize\": true}}",
          "transferOptions.chunkSize must be an integer." },
        { &lf__cloud_drive__descriptor, "{\"transferOptions\": 3}", "transferOptions must be an object." },
        { &lf__cloud_drive__descriptor, "{\"name\": \"a\", \"Name\": \"b\"}", "Name is given twice." },
        { &lf__drive_update__descriptor, "{\"drive\": {}}", "id is missing." },
        { &lf__fs_xattr_names__descriptor, "{\"names\": \"a\"}", "names must be an array." },
        { &lf__fs_xattr_names__descriptor, "{\"names\": [\"a\", 2]}", "names must be a string." },
        { &lf__seal__descriptor, "{\"purpose\": \"p\", \"plain\": \"?\"}", "plain must be a base64 string." },
        { &lf__fs_forget__descriptor, "{\"ino\": -1}", "ino is out of range." },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        ProtobufCMessage *m = NULL;
        struct error e = { 0 };

        assert_int_equal(read_text(rows[i].text, rows[i].d, &m, &e), -EINVAL);
        assert_null(m);
        assert_string_equal(e.text, rows[i].sentence);
    }
}

static void lists_and_bytes_go_both_ways(void **state)
{
    ProtobufCMessage *m = NULL;
    struct error e = { 0 };
    CLEANUP_FREE char *names = NULL, *sealed = NULL;
    struct text field = TEXT_INIT(100);

    (void)state;
    assert_int_equal(read_text("{\"names\": [\"a\", \"b\"]}", &lf__fs_xattr_names__descriptor, &m, &e), 0);
    names = write_text(json_from_message(m, JSON_PASCAL));
    assert_string_equal(names, "{\"Names\":[\"a\",\"b\"]}");
    assert_true(json_write_field(m, "names", JSON_CAMEL, &field));
    assert_string_equal(field.data, "[\"a\",\"b\"]");
    text_reset(&field);
    assert_int_equal(json_write_elements(m, "names", JSON_CAMEL, &field), 2);
    assert_string_equal(field.data, "\"a\",\"b\"");
    text_free(&field);
    protobuf_c_message_free_unpacked(m, NULL);

    assert_int_equal(read_text("{\"purpose\": \"p\", \"plain\": \"AAH/\"}", &lf__seal__descriptor, &m, &e), 0);
    assert_int_equal(((Lf__Seal *)m)->plain.len, 3);
    assert_memory_equal(((Lf__Seal *)m)->plain.data, "\0\1\xff", 3);
    sealed = write_text(json_from_message(m, JSON_CAMEL));
    assert_string_equal(sealed, "{\"purpose\":\"p\",\"plain\":\"AAH/\"}");
    protobuf_c_message_free_unpacked(m, NULL);
}

static void absent_and_empty_differ(void **state)
{
    Lf__DriveListed listed = LF__DRIVE_LISTED__INIT;
    CLEANUP_FREE char *text = NULL;
    struct text nothing = TEXT_INIT(100);

    (void)state;
    assert_false(json_write_field(&listed.base, "next_page", JSON_CAMEL, &nothing));
    assert_false(json_write_field(&listed.base, "no_such_field", JSON_CAMEL, &nothing));
    assert_int_equal(json_write_elements(&listed.base, "drives", JSON_CAMEL, &nothing), 0);
    assert_int_equal(json_write_members(&listed.base, "drives", JSON_CAMEL, &nothing), 0);
    assert_int_equal(nothing.len, 0);
    text = write_text(json_from_message(&listed.base, JSON_CAMEL));
    assert_string_equal(text, "{\"drives\":[]}");
}

static void odd_bytes_become_valid_json(void **state)
{
    char odd[] = "a\xff\xc3\xa4\xed\xa0\x80\n\"z";
    Lf__ObjectInfo info = LF__OBJECT_INFO__INIT;
    struct json_object *again = NULL;
    CLEANUP_FREE char *text = NULL;
    struct error e;

    (void)state;
    info.path = odd;
    text = write_text(json_from_message(&info.base, JSON_CAMEL));
    assert_int_equal(json_parse(text, strlen(text), &again, &e), 0);
    assert_string_equal(json_object_get_string(json_object_object_get(again, "path")),
                        "a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n\"z");
    json_object_put(again);
}

static void wide_numbers_keep_their_width(void **state)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    struct json_object *o;

    (void)state;
    attr.ino = UINT64_MAX;
    attr.mode = UINT32_MAX;
    attr.mtime_ns = INT64_MIN;
    o = json_from_message(&attr.base, JSON_CAMEL);
    assert_string_equal(json_object_get_string(json_object_object_get(o, "ino")), "18446744073709551615");
    assert_string_equal(json_object_get_string(json_object_object_get(o, "mode")), "4294967295");
    assert_string_equal(json_object_get_string(json_object_object_get(o, "mtimeNs")), "-9223372036854775808");
    json_object_put(o);
}

static void fields_are_set_from_text(void **state)
{
    static const struct {
        const char *name, *text;
        int r;
    } rows[] = {
        { "path", "/a b", 0 },          { "PATH", "", 0 },           { "start", "0", 0 },
        { "start", "-1", 0 },           { "end", "12345678901", 0 }, { "start", "", -EINVAL },
        { "start", "1x", -EINVAL },     { "start", "+1", -EINVAL },  { "start", " 1", -EINVAL },
        { "start", "0x1", -EINVAL },    { "start", "-", -EINVAL },   { "start", "99999999999999999999", -EINVAL },
        { "start", "-99999999999999999999", -EINVAL },               { "nothing", "1", -ENOENT },
    };
    Lf__StreamOpen *m = malloc(sizeof(*m));
    struct error e;

    (void)state;
    lf__stream_open__init(m);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int r = json_set_field(&m->base, rows[i].name, rows[i].text, &e);

        if (r != rows[i].r)
            fail_msg("%s=%s: %d", rows[i].name, rows[i].text, r);
    }
    assert_string_equal(m->path, "");
    assert_true(m->has_start && m->start == -1);
    assert_true(m->has_end && m->end == INT64_C(12345678901));
    protobuf_c_message_free_unpacked(&m->base, NULL);
}

static void flags_are_set_from_text(void **state)
{
    static const struct {
        const char *text;
        int r;
        bool force;
    } rows[] = {
        { "true", 0, true },   { "True", 0, true },    { "1", 0, true },       { "false", 0, false },
        { "0", 0, false },     { "yes", -EINVAL, false },  { "", -EINVAL, false },     { "2", -EINVAL, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Lf__DriveDelete m = LF__DRIVE_DELETE__INIT;
        struct error e;

        assert_int_equal(json_set_field(&m.base, "force", rows[i].text, &e), rows[i].r);
        if (rows[i].r == 0)
            assert_int_equal(m.force, rows[i].force);
        else
            assert_string_equal(e.text, "force must be true or false.");
    }
}

static void messages_are_no_parameters(void **state)
{
    Lf__DriveUpdate m = LF__DRIVE_UPDATE__INIT;
    struct error e;

    (void)state;
    assert_int_equal(json_set_field(&m.base, "drive", "{}", &e), -ENOENT);
    assert_null(m.drive);
}

static void schema_describes_a_message(void **state)
{
    CLEANUP_FREE char *text = write_text(json_schema(&lf__drive_update__descriptor, JSON_CAMEL)),
                      *list = write_text(json_schema(&lf__bucket_collection__descriptor, JSON_CAMEL));

    (void)state;
    assert_string_equal(text, "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},"
                              "\"drive\":{\"$ref\":\"#/components/schemas/CloudDrive\"}},\"required\":[\"id\"]}");
    assert_string_equal(list, "{\"type\":\"object\",\"properties\":{\"data\":{\"type\":\"array\",\"items\":"
                              "{\"$ref\":\"#/components/schemas/Bucket\"}},\"continuationToken\":{\"type\":"
                              "\"string\"}}}");
}

static void base64_has_one_form(void **state)
{
    static const struct {
        const char *plain, *coded;
    } rows[] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg==" } };
    static const char *const wrong[] = { "=",    "====", "Zg=",    "Zg",   "Zh==",
                                         "Zm9=", "Z===", "Zm9v\n", "Z g=", "Zg==Zg==" };
    uint8_t *data = NULL;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char coded[BASE64_LENGTH(8) + 1];

        base64_encode(rows[i].plain, strlen(rows[i].plain), coded);
        assert_string_equal(coded, rows[i].coded);
        assert_int_equal(base64_decode(coded, strlen(coded), &data, &n), 0);
        assert_int_equal(n, strlen(rows[i].plain));
        if (n)
            assert_memory_equal(data, rows[i].plain, n);
        free(data);
    }
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_int_equal(base64_decode(wrong[i], strlen(wrong[i]), &data, &n), -EINVAL);
}

/* Whoever reads the text before us may take the other one. */
static void names_stand_once(void **state)
{
    static const char *const twice[] = {
        "{\"a\": 1, \"a\": 2}", "{\"a\": null, \"a\": null}", "[{\"x\": {\"a\": 1, \"a\": 1}}]",
        "{\"a\": \":\", \"a\": \"\\\":\"}", "{\"a\\u0062\": 1, \"ab\": 2}",
    };
    static const char *const once[] = {
        "{}", "[]", "\"::\"", "{\"a\": {\"a\": [{\"a\": \":\\\":\"}]}}", "{\"a:\": 1, \"a\": 2}",
        "{\"a\": \"\\\\\", \"b\": \":\"}",
    };
    struct json_object *o;
    struct error e;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(twice); i++) {
        assert_int_equal(json_parse(twice[i], strlen(twice[i]), &o, &e), -EBADMSG);
        assert_non_null(strstr(e.text, "twice"));
    }
    for (size_t i = 0; i < ARRAY_SIZE(once); i++) {
        assert_int_equal(json_parse(once[i], strlen(once[i]), &o, &e), 0);
        json_object_put(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_stand_once),
        cmocka_unit_test(text_is_parsed_strictly),     cmocka_unit_test(text_with_nul_is_refused),
        cmocka_unit_test(depth_is_bounded),            cmocka_unit_test(names_change_their_case),
        cmocka_unit_test(model_goes_in_and_out),       cmocka_unit_test(refusals_name_the_field),
        cmocka_unit_test(lists_and_bytes_go_both_ways), cmocka_unit_test(absent_and_empty_differ),
        cmocka_unit_test(odd_bytes_become_valid_json), cmocka_unit_test(wide_numbers_keep_their_width),
        cmocka_unit_test(fields_are_set_from_text),    cmocka_unit_test(flags_are_set_from_text),
        cmocka_unit_test(messages_are_no_parameters),  cmocka_unit_test(schema_describes_a_message),
        cmocka_unit_test(base64_has_one_form),
    };

    return cmocka_run_group_tests_name("json_pb", tests, NULL, NULL);
}
