/* common/text: buffers with a maximum, percent coding, hex, ids, dates, UTF-8. */
#include "common/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/timespec.h"

static void buffer_keeps_its_maximum(void **state)
{
    struct text t = TEXT_INIT(100);

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(text_puts(&t, "0123456789"), 0);
    assert_int_equal(text_puts(&t, ""), 0);
    assert_int_equal(text_puts(&t, "x"), -EMSGSIZE);
    assert_int_equal(text_add(&t, "", 0), -EMSGSIZE);
    assert_int_equal(t.len, 100);
    assert_null(text_take(&t));
    assert_null(t.data);
}

static void buffer_takes_and_resets(void **state)
{
    struct text t = TEXT_INIT(1 << 20);
    char *taken;

    (void)state;
    taken = text_take(&t);
    assert_string_equal(taken, "");
    free(taken);
    for (int i = 0; i < 1000; i++)
        text_printf(&t, "%d,", i);
    text_reset(&t);
    assert_int_equal(text_printf(&t, "%s-%d", "a", 7), 0);
    taken = text_take(&t);
    assert_string_equal(taken, "a-7");
    free(taken);
}

static void percent_encoding_is_sigv4s(void **state)
{
    static const struct {
        const char *plain, *coded;
        bool keep_slash;
    } rows[] = {
        { "AZaz09-._~", "AZaz09-._~", false }, { "a b+c", "a%20b%2Bc", false },      { "a/b", "a%2Fb", false },
        { "a/b", "a/b", true },                { "\xc3\xa4\n%", "%C3%A4%0A%25", false }, { "", "", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct text t = TEXT_INIT(256);
        CLEANUP_FREE char *coded = NULL;

        text_percent_encode(&t, rows[i].plain, strlen(rows[i].plain), rows[i].keep_slash);
        coded = text_take(&t);
        assert_string_equal(coded, rows[i].coded);
        assert_int_equal(text_percent_decode(coded), (long)strlen(rows[i].plain));
        assert_string_equal(coded, rows[i].plain);
    }
}

static void bad_escapes_are_refused(void **state)
{
    static const char *const bad[] = { "%", "%1", "%zz", "a%0", "%00", "x%g0" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP_FREE char *copy = strdup(bad[i]);

        assert_int_equal(text_percent_decode(copy), -EINVAL);
    }
}

static void hex_goes_both_ways(void **state)
{
    char hex[9];
    unsigned char back[4];

    (void)state;
    text_hex("\x00\xff\x10\xab", 4, hex);
    assert_string_equal(hex, "00ff10ab");
    assert_int_equal(text_unhex("00FF10aB", back, 4), 0);
    assert_memory_equal(back, "\x00\xff\x10\xab", 4);
    assert_int_equal(text_unhex("00ff10a", back, 4), -EINVAL);
    assert_int_equal(text_unhex("00ff10abc", back, 4), -EINVAL);
    assert_int_equal(text_unhex("00ff1 ab", back, 4), -EINVAL);
}

static void ids_are_uuids(void **state)
{
    char a[ID_SIZE], b[ID_SIZE];

    (void)state;
    id_new(a);
    id_new(b);
    assert_true(id_valid(a));
    assert_string_not_equal(a, b);
    assert_int_equal(a[14], '4');
    assert_false(id_valid(""));
    assert_false(id_valid("00000000-0000-0000-0000-00000000000"));
    assert_false(id_valid("00000000-0000-0000-0000-0000000000000"));
    assert_false(id_valid("00000000x0000-0000-0000-000000000000"));
    assert_true(id_valid("ABCDEF00-0000-0000-0000-000000000000"));
}

static void dates_go_both_ways(void **state)
{
    char out[DATE_SIZE];
    int64_t ns;

    (void)state;
    date_iso(0, out);
    assert_string_equal(out, "1970-01-01T00:00:00Z");
    date_iso(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59Z");
    assert_int_equal(date_parse("2026-01-01T00:00:00Z", &ns), 0);
    assert_int_equal(ns, INT64_C(1767225600) * 1000000000);
    assert_int_equal(date_parse("2026-01-01T00:00:00.125Z", &ns), 0);
    assert_int_equal(ns % 1000000000, 125000000);
    assert_int_equal(date_parse("Thu, 01 Jan 2026 00:00:00 GMT", &ns), 0);
    assert_int_equal(ns, INT64_C(1767225600) * 1000000000);
    assert_int_equal(date_parse("2026-01-01", &ns), -EINVAL);
    assert_int_equal(date_parse("2026-01-01T00:00:00", &ns), -EINVAL);
    assert_int_equal(date_parse("", &ns), -EINVAL);
    assert_int_equal(date_parse("9999-12-31T23:59:59.5Z", &ns), 0);   /* more nanoseconds than fit */
    assert_int_equal(ns, INT64_C(9223372036) * 1000000000);
    assert_int_equal(date_parse("1600-01-01T00:00:00.5Z", &ns), 0);
    assert_int_equal(ns, INT64_C(-9223372036) * 1000000000);
}

static void times_of_files_have_limits(void **state)
{
    static const struct {
        int64_t seconds;
        long rest;
        int64_t ns;
    } rows[] = {
        { 0, 0, 0 }, { 1, 5, 1000000005 }, { -1, 999999999, -1 }, { -2, 500000000, -1500000000 },
        { 9223372035, 999999999, INT64_C(9223372035999999999) }, { 9223372036, 1, INT64_C(9223372036000000000) },
        { 10413792000, 7, INT64_C(9223372036000000000) }, { INT64_MAX, 999999999, INT64_C(9223372036000000000) },
        { -9223372035, 1, INT64_C(-9223372034999999999) }, { -9223372036, 1, INT64_C(-9223372036000000000) },
        { -11676096000, 7, INT64_C(-9223372036000000000) }, { INT64_MIN, 0, INT64_C(-9223372036000000000) },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t ns = timespec_ns((struct timespec){ rows[i].seconds, rows[i].rest });
        struct timespec back = timespec_of(ns);

        assert_true(ns == rows[i].ns);
        assert_in_range(back.tv_nsec, 0, 999999999);
        assert_true(timespec_ns(back) == ns);
    }
    assert_true(timespec_of(INT64_MIN).tv_sec == -9223372037 && timespec_of(INT64_MIN).tv_nsec >= 0);
}

static void controls_are_seen(void **state)
{
    static const char *const shown[] = { "", "plain", "\u00a0", "\u2027\u202f", "\u2065\u206a", "\u65e5\u672c",
                                         "\U0001f980", "~" };
    static const char *const obeyed[] = { "\x01", "a\n", "\x1b[2J", "\x7f", "\xc2\x80", "x\xc2\x9fy", "\u2028",
                                          "\u2029", "\u202a", "\u202e", "\u2066", "\U0001f980\u2069" };

    (void)state;
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
        assert_false(text_has_control(shown[i]));
    for (size_t i = 0; i < sizeof(obeyed) / sizeof(obeyed[0]); i++)
        assert_true(text_has_control(obeyed[i]));
}

static void utf8_is_checked(void **state)
{
    static const struct {
        const char *bytes;
        bool valid;
    } rows[] = {
        { "", true },
        { "plain", true },
        { "\xc3\xa4", true },
        { "\xf0\x9f\x98\x80", true },
        { "\xf4\x8f\xbf\xbf", true },
        { "\xc3", false },             /* cut short */
        { "\x80", false },             /* continuation alone */
        { "\xc0\xaf", false },         /* overlong */
        { "\xe0\x80\xaf", false },     /* overlong */
        { "\xed\xa0\x80", false },     /* surrogate */
        { "\xf4\x90\x80\x80", false }, /* above U+10FFFF */
        { "\xff", false },
        { "a\xe2\x82", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(utf8_valid(rows[i].bytes, strlen(rows[i].bytes)), rows[i].valid);
}

static void numbers_are_plain_decimals(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        bool taken;
    } rows[] = {
        { "0", 9, true }, { "9", 9, true }, { "007", 9, true }, { "18446744073709551615", UINT64_MAX, true },
        { "10", 9, false }, { "18446744073709551616", UINT64_MAX, false }, { "99999999999999999999", UINT64_MAX, false },
        { "", 9, false }, { " 5", 9, false }, { "5 ", 9, false }, { "+5", 9, false }, { "-0", 9, false },
        { "0x5", 9, false }, { "5s", 9, false }, { "\t5", 9, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t n = 77;

        assert_int_equal(text_number(rows[i].text, rows[i].max, &n), rows[i].taken);
        assert_true(n == (rows[i].taken ? strtoull(rows[i].text, NULL, 10) : 77));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_keeps_its_maximum), cmocka_unit_test(buffer_takes_and_resets),
        cmocka_unit_test(percent_encoding_is_sigv4s), cmocka_unit_test(bad_escapes_are_refused),
        cmocka_unit_test(hex_goes_both_ways),       cmocka_unit_test(ids_are_uuids),
        cmocka_unit_test(dates_go_both_ways),       cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(controls_are_seen),        cmocka_unit_test(numbers_are_plain_decimals),
        cmocka_unit_test(times_of_files_have_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
