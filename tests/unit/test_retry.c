/* Which failures may pass, and how long to wait for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "common/cleanup.h"
#include "syncd/retry.h"

static void answers(void **state)
{
    static const struct { int status; const char *code; bool passes, throttled; } cases[] = {
        { 500, "InternalError", true, false }, { 500, "", true, false }, { 502, "", true, false }, { 503, "SlowDown",
          true, true },
        { 503, "", true, true }, { 504, "", true, false }, { 429, "", true, true }, { 429, "TooManyRequests", true,
          true },
        { 400, "RequestTimeout", true, false }, { 403, "RequestTimeTooSkewed", true, false }, { 409, "OperationAborted", true, false },
        { 409, "ConditionalRequestConflict", true, false }, { 200, "InternalError", true, false },
        { 501, "NotImplemented", false, false }, { 503, "QuotaExceeded", false, true }, { 400, "", false, false },
        { 403, "AccessDenied", false, false }, { 404, "NoSuchKey", false, false }, { 409, "BucketAlreadyExists", false,
          false },
        { 412, "PreconditionFailed", false, false }, { 416, "", false, false }, { 301, "", false, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(retry_status(cases[i].status, cases[i].code), cases[i].passes);
        assert_int_equal(retry_throttled(cases[i].status, cases[i].code), cases[i].throttled);
    }
}

static void faults(void **state)
{
    (void)state;
    assert_true(retry_fault(HTTP_UNREACHED) && retry_fault(HTTP_STALLED));
    assert_true(retry_fault(HTTP_LOST));
    assert_false(retry_fault(HTTP_ANSWERED) || retry_fault(HTTP_REFUSED) || retry_fault(HTTP_ABORTED)
                 || retry_fault(HTTP_GARBLED));
}

static void waits(void **state)
{
    (void)state;
    assert_int_equal(retry_delay_ms(1, 0, 0), 50);
    assert_int_equal(retry_delay_ms(1, 50, 0), 100);
    assert_int_equal(retry_delay_ms(3, 0, 0), 200);
    assert_int_equal(retry_delay_ms(1, 0, 7000), 7000);
    for (unsigned tries = 1; tries < 200; tries++)
        for (uint32_t dice = 0; dice < 5; dice++)
            assert_in_range(retry_delay_ms(tries, dice * 1000003, 0), 50, RETRY_CAP_MS);
    assert_true(retry_delay_ms(100, UINT32_MAX, 0) >= RETRY_CAP_MS / 2);
}

static void retry_after_headers(void **state)
{
    const int64_t now = INT64_C(784111777) * 1000000000;   /* Sun, 06 Nov 1994 08:49:37 GMT */
    uint64_t ms = 0;

    (void)state;
    assert_int_equal(retry_after("0", now, &ms), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(retry_after("120", now, &ms), 0);
    assert_int_equal(ms, 120000);
    assert_int_equal(retry_after("99999999999999999999", now, &ms), 0);
    assert_true(ms > RETRY_AFTER_MAX_MS);
    assert_int_equal(retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now, &ms), 0);
    assert_int_equal(ms, 10000);
    assert_int_equal(retry_after("Sun, 06 Nov 1994 08:49:07 GMT", now, &ms), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(retry_after("", now, &ms), -EINVAL);
    assert_int_equal(retry_after("-5", now, &ms), -EINVAL);
    assert_int_equal(retry_after("soon", now, &ms), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers), cmocka_unit_test(faults), cmocka_unit_test(waits),
            cmocka_unit_test(retry_after_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
