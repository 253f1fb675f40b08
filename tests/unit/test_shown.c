/* Text of others on a terminal: what it takes, what is left of it, and that it steers nothing. */
#include "cli/shown.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_fit(const char *s, size_t columns, const char *expected)
{
    struct text t = TEXT_INIT(1024);

    shown_fit(&t, s, columns);
    assert_int_equal(t.error, 0);
    assert_string_equal(t.data, expected);
    assert_int_equal(shown_columns(t.data), columns);
    text_free(&t);
}

static void columns_of_narrow_wide_and_combining_characters(void **state)
{
    (void)state;
    assert_int_equal(shown_columns(""), 0);
    assert_int_equal(shown_columns("abc"), 3);
    assert_int_equal(shown_columns("\u00e4\u00f6"), 2);
    assert_int_equal(shown_columns("e\u0301"), 1);
    assert_int_equal(shown_columns("\u65e5\u672c"), 4);
    assert_int_equal(shown_columns("\U0001f980"), 2);
}

static void names_are_cut_at_their_beginning(void **state)
{
    (void)state;
    assert_fit("name", 6, "name  ");
    assert_fit("name", 4, "name");
    assert_fit("long name", 5, "\u2026name");
    assert_fit("\u65e5\u672c\u8a9e", 5, "\u2026\u672c\u8a9e");
    assert_fit("\u65e5\u672c\u8a9e", 4, "\u2026\u8a9e ");
    assert_fit("\u65e5\u672c", 1, "\u2026");
}

static void controls_and_broken_characters_are_marked(void **state)
{
    (void)state;
    assert_fit("a\033[2Jb", 6, "a?[2Jb");
    assert_fit("\xc2\x9b" "1m", 3, "?1m");
    assert_fit("\xff\xfe", 2, "??");
    assert_fit("\xe6\x97", 2, "??");
    assert_fit("\u202eabc", 4, "?abc");
    assert_fit("\n\t\x7f", 3, "???");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_of_narrow_wide_and_combining_characters),
        cmocka_unit_test(names_are_cut_at_their_beginning),
        cmocka_unit_test(controls_and_broken_characters_are_marked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
