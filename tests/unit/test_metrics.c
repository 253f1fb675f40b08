/* common/metrics and common/meter: the table, the buckets, and the text that a scraper reads. */
#include "common/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { TEXT_MAX = 1 << 20 };

static bool ends_in(const char *s, const char *end)
{
    return strlen(s) >= strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}

static void every_row_is_complete(void **state)
{
    (void)state;
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = metric_row(m);

        assert_non_null(row->name);
        assert_int_equal(strncmp(row->name, "landfall_", 9), 0);
        assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(row->name));
        assert_true(ends_in(row->help, "."));
        assert_non_null(row->labels[0]);
        assert_int_equal(row->type == METRIC_COUNTER, ends_in(row->name, "_total"));
        if (row->type == METRIC_HISTOGRAM)
            assert_true(ends_in(row->name, "_seconds"));
        for (unsigned other = 0; other < m; other++)
            assert_string_not_equal(row->name, metric_row(other)->name);
    }
    assert_null(metric_row(METRIC_COUNT));
}

static void buckets_end_where_they_say(void **state)
{
    static const struct { uint64_t ns; unsigned bucket; } rows[] = {
        { 0, 0 }, { 1, 0 }, { 1000, 0 }, { 1001, 1 }, { 4000, 1 }, { 4001, 2 }, { 16000, 2 }, { 16001, 3 },
        { UINT64_C(1000) << 26, 13 }, { (UINT64_C(1000) << 26) + 1, 14 }, { UINT64_MAX - 1000, 14 },
    };
    struct meter_times t = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(meter_bucket(rows[i].ns), rows[i].bucket);
    meter_time(&t, 5000);
    meter_time(&t, 5000);
    assert_int_equal(meter_get(&t.sum_ns), 10000);
    assert_int_equal(meter_get(&t.buckets[2]), 2);
}

static void text_is_escaped_and_grouped(void **state)
{
    CLEANUP(text_free) struct text out = TEXT_INIT(TEXT_MAX);
    CLEANUP(samples_free) struct samples s = { 0 };

    (void)state;
    SAMPLE(&s, METRIC_UP, 1, "syncd");
    SAMPLE(&s, METRIC_RESIDENT, 4096, "syncd", "");
    SAMPLE(&s, METRIC_UP, 0, "a\\b\"c\nd");
    SAMPLE(&s, METRIC_RESIDENT, UINT64_MAX, "worker", "ü {}");
    metrics_write(&out, s.list, s.n);
    assert_string_equal(out.data,
        "# HELP landfall_up Whether the process answered this question.\n"
        "# TYPE landfall_up gauge\n"
        "landfall_up{process=\"syncd\"} 1\n"
        "landfall_up{process=\"a\\\\b\\\"c\\nd\"} 0\n"
        "# HELP landfall_process_resident_memory_bytes Memory that the process has in RAM.\n"
        "# TYPE landfall_process_resident_memory_bytes gauge\n"
        "landfall_process_resident_memory_bytes{process=\"syncd\"} 4096\n"
        "landfall_process_resident_memory_bytes{process=\"worker\",drive=\"ü {}\"} 18446744073709551615\n");
}

static void histograms_are_cumulative(void **state)
{
    CLEANUP(text_free) struct text out = TEXT_INIT(TEXT_MAX);
    CLEANUP(samples_free) struct samples s = { 0 };
    struct meter_times t = { 0 };
    const char *labels[] = { "d", "get", NULL };

    (void)state;
    samples_add_times(&s, METRIC_CLOUD_SECONDS, &t, labels);
    assert_int_equal(s.n, 0);
    meter_time(&t, 500);
    meter_time(&t, 3000);
    meter_time(&t, UINT64_C(2000000000));
    samples_add_times(&s, METRIC_CLOUD_SECONDS, &t, labels);
    metrics_write(&out, s.list, s.n);
#define AT(le) "landfall_cloud_request_seconds_bucket{drive=\"d\",operation=\"get\",le=\"" le "\"} "
    assert_non_null(strstr(out.data, AT("1e-06") "1\n" AT("4e-06") "2\n" AT("1.6e-05") "2\n"));
    assert_non_null(strstr(out.data, AT("1.048576") "2\n" AT("4.194304") "3\n"));
    assert_non_null(strstr(out.data, AT("67.108864") "3\n" AT("+Inf") "3\n"));
    assert_non_null(strstr(out.data, "_seconds_sum{drive=\"d\",operation=\"get\"} 2.000003500\n"));
    assert_non_null(strstr(out.data, "_seconds_count{drive=\"d\",operation=\"get\"} 3\n"));
}

/* They come from another process. */
static void what_fits_no_row_is_left_out(void **state)
{
    CLEANUP(text_free) struct text out = TEXT_INIT(TEXT_MAX);
    CLEANUP(samples_free) struct samples s = { 0 };

    (void)state;
    SAMPLE(&s, METRIC_UP, 1, "syncd");
    SAMPLE(&s, METRIC_UP, 1, "mountd");
    SAMPLE(&s, METRIC_UP, 1, "cryptd");
    s.list[0]->metric = METRIC_COUNT;
    s.list[1]->metric = METRIC_RESIDENT;         /* has two labels */
    s.list[2]->metric = METRIC_FUSE_SECONDS;     /* is a histogram */
    metrics_write(&out, s.list, s.n);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(buckets_end_where_they_say),
        cmocka_unit_test(text_is_escaped_and_grouped),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(what_fits_no_row_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
