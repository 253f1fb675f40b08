/* The table of `landfall top`: which transfers it has, and that no line is wider than the terminal. */
#include "cli/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/shown.h"

static struct json_object *parse(const char *json)
{
    struct json_object *o = json_tokener_parse(json);

    assert_non_null(o);
    return o;
}

static struct top make(void)
{
    return (struct top){
        .transfers = parse("[{\"transferId\":\"1\",\"status\":\"running\",\"transferredBytes\":524288,"
                           "\"totalBytes\":1048576,\"targetBucket\":\"b\",\"targetPath\":\"a\\u001b[2Jb\\u65e5\\u672c\"},"
                           "{\"transferId\":\"2\",\"status\":\"paused\",\"transferredBytes\":0,\"totalBytes\":0,"
                           "\"sourceBucket\":\"b\",\"sourcePath\":\"down\"},"
                           "{\"transferId\":\"3\",\"status\":\"completed\",\"transferredBytes\":9,\"totalBytes\":9,"
                           "\"targetBucket\":\"b\",\"targetPath\":\"over\"}]"),
        .drives = parse("[{\"name\":\"docs\",\"pendingChanges\":3},{\"name\":\"s3\",\"pendingChanges\":0}]"),
        .rates = parse("{\"1\":2097152.0}"),
    };
}

static void drop(struct top *t)
{
    json_object_put(t->transfers);
    json_object_put(t->drives);
    json_object_put(t->rates);
}

static void what_goes_on_is_shown(void **state)
{
    struct text out = TEXT_INIT(65536);
    struct top t = make();

    (void)state;
    top_table(&out, &t, 80, 24);
    assert_int_equal(out.error, 0);
    assert_non_null(strstr(out.data, "b/a?[2Jb\u65e5\u672c"));
    assert_non_null(strstr(out.data, "[######......]  50%     2.0 MiB/s"));
    assert_non_null(strstr(out.data, "paused"));
    assert_null(strstr(out.data, "over"));
    assert_non_null(strstr(out.data, "2 transfers  up    2.0 MiB/s"));
    assert_non_null(strstr(out.data, "waiting for the cloud: docs 3\n"));
    text_free(&out);
    drop(&t);
}

static void no_line_is_wider_than_the_terminal(void **state)
{
    (void)state;
    for (size_t columns = 16; columns < 200; columns++) {
        struct text out = TEXT_INIT(65536);
        struct top t = make();

        top_table(&out, &t, columns, 24);
        for (char *rest = out.data, *line; (line = strsep(&rest, "\n"));)
            assert_true(shown_columns(line) <= columns);
        text_free(&out);
        drop(&t);
    }
}

static void a_low_terminal_says_how_many_more(void **state)
{
    struct text out = TEXT_INIT(65536);
    struct top t = make();

    (void)state;
    top_table(&out, &t, 80, 5);
    assert_non_null(strstr(out.data, "and 1 more\n"));
    text_free(&out);
    drop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_on_is_shown),
        cmocka_unit_test(no_line_is_wider_than_the_terminal),
        cmocka_unit_test(a_low_terminal_says_how_many_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
