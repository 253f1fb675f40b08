/* common/log: one line an event, whatever the values hold. */
#include "common/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int saved, ends[2];

/* Runs between capture() and captured(): stderr is a pipe. */
static void capture(void)
{
    assert_int_equal(pipe(ends), 0);
    saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    log_init("testd", LOG_INFO);
}

static const char *captured(void)
{
    static char line[8192];
    ssize_t n;

    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    (void)close(ends[1]);
    n = read(ends[0], line, sizeof(line) - 1);
    (void)close(ends[0]);
    line[n < 0 ? 0 : n] = '\0';
    return line;
}

static void pairs_are_formatted_in_order(void **state)
{
    (void)state;
    capture();
    LOG_TRACE(LOG_WARNING, 0x1f, "upload_done", "drive=%s", "d1", "size=%llu", 5000000000ULL, "n=%d", -3, "z=%zu",
              (size_t)9, "f=%.1f", 1.5, "plain=x");
    assert_string_equal(captured(), "<4>testd upload_done drive=d1 size=5000000000 n=-3 z=9 f=1.5 plain=x trace=1f\n");
}

static void values_forge_no_line(void **state)
{
    (void)state;
    capture();
    LOG(LOG_INFO, "open", "name=%s", "a\n<0>kernel: \"x\" \\ \x1b[0m", "empty=%s", "");
    assert_string_equal(captured(), "<6>testd open name=\"a\\x0a<0>kernel: \\\"x\\\" \\\\ \\x1b[0m\" empty=\"\"\n");
}

static void less_important_lines_are_not_printed(void **state)
{
    (void)state;
    capture();
    LOG(LOG_DEBUG, "noise");
    LOG(LOG_ERR, "kept");
    assert_string_equal(captured(), "<3>testd kept\n");
}

static void long_lines_are_cut(void **state)
{
    char big[5000];

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    capture();
    LOG(LOG_INFO, "long", "a=%s", big, "b=%s", big, "c=%s", big);
    assert_int_equal(strlen(captured()), 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_formatted_in_order),
        cmocka_unit_test(values_forge_no_line),
        cmocka_unit_test(less_important_lines_are_not_printed),
        cmocka_unit_test(long_lines_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
