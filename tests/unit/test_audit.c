/* The audit log: what is written, what is found when it is not what was written, what a crash leaves. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/audit_chain.h"
#include "tests/unit/syncd_fixture.h"

/* --- asking ----------------------------------------------------------------------------------------------- */

static void call(struct fixture *f, uint64_t id, uint32_t pid, const char *endpoint)
{
    Lf__AuditCall m = LF__AUDIT_CALL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AUDIT_CALL, audit_call, &m);

    m.call = id;
    m.uid = 1000;
    m.has_pid = pid != 0;
    m.pid = pid;
    m.method = (char *)(uintptr_t)"POST";
    m.endpoint = (char *)(uintptr_t)endpoint;
    answer_free(&(struct answer[]){ fixture_ask(f, &env) }[0]);
}

static void result(struct fixture *f, uint64_t id, int status)
{
    Lf__AuditResult m = LF__AUDIT_RESULT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AUDIT_RESULT, audit_result, &m);

    m.call = id;
    m.status = status;
    answer_free(&(struct answer[]){ fixture_ask(f, &env) }[0]);
}

static struct answer verdict(struct fixture *f)
{
    Lf__AuditVerify m = LF__AUDIT_VERIFY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AUDIT_VERIFY, audit_verify, &m);
    struct answer a = fixture_ask(f, &env);

    assert_int_equal(a.e.code, 0);
    return a;
}

static void expect_whole(struct fixture *f, bool whole, int64_t lines)
{
    struct answer a = verdict(f);
    const Lf__AuditVerdict *v = a.reply->audit_verified->verdict;

    if ((bool)v->whole != whole)
        fail_msg("whole: %d, %s", v->whole, v->problem ? v->problem : "");
    if (lines >= 0)
        assert_int_equal(v->lines, lines);
    assert_true(whole || strlen(v->problem) > 20);
    answer_free(&a);
}

static struct answer lines_behind(struct fixture *f, int64_t since)
{
    Lf__AuditList m = LF__AUDIT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AUDIT_LIST, audit_list, &m);
    struct answer a;

    m.has_since = true;
    m.since = since;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    return a;
}

/* The lines of a call are written once the pool has found out whose it is. */
static void await_lines(struct fixture *f, int64_t n)
{
    struct answer a = { .reply = NULL };
    int64_t seen = 0;

    while (seen < n) {
        a = verdict(f);
        seen = a.reply->audit_verified->verdict->lines;
        answer_free(&a);
    }
    assert_int_equal(seen, n);
}

/* --- the files -------------------------------------------------------------------------------------------- */

static int folder(const struct fixture *f)
{
    CLEANUP_FREE char *path = NULL;

    assert_true(asprintf(&path, "%s/audit", f->syncd->state_dir) > 0);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static char *contents(const struct fixture *f, uint64_t first, size_t *ret_n)
{
    CLEANUP_CLOSE int dir = folder(f), fd = -1;
    char name[AUDIT_NAME_SIZE], *bytes;
    struct stat st;

    audit_name(first, name);
    fd = openat(dir, name, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    bytes = xcalloc(1, (size_t)st.st_size + 1);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
    *ret_n = (size_t)st.st_size;
    return bytes;
}

static void put_contents(const struct fixture *f, uint64_t first, const char *bytes, size_t n)
{
    CLEANUP_CLOSE int dir = folder(f), fd = -1;
    char name[AUDIT_NAME_SIZE];

    audit_name(first, name);
    fd = openat(dir, name, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, bytes, n), n);
}

/* --- tests ------------------------------------------------------------------------------------------------ */

static void calls_have_two_lines(void **state)
{
    struct fixture *f = *state;
    char self[256];
    struct answer a;
    Lf__AuditRecord **r;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    assert_true(n > 0);
    self[n] = '\0';
    call(f, 0xabc, (uint32_t)getpid(), "/management/odd\n\"name\xff");
    result(f, 0xabc, 200);
    await_lines(f, 3);
    a = lines_behind(f, 1);
    assert_int_equal(a.reply->audit_listed->n_records, 2);
    r = a.reply->audit_listed->records;
    assert_string_equal(r[0]->call, "0000000000000abc");
    assert_int_equal(r[0]->uid, 1000);
    assert_int_equal(r[0]->pid, getpid());
    assert_string_equal(r[0]->exe, self);
    assert_string_equal(r[0]->endpoint, "/management/odd\n\"name\xef\xbf\xbd");
    assert_string_equal(r[1]->call, r[0]->call);
    assert_int_equal(r[1]->status, 200);
    assert_int_equal(r[1]->seq, 3);
    answer_free(&a);
    expect_whole(f, true, 3);
}

/* In the order of the numbers, over files and restarts; the oldest files go. */
static void files_follow_each_other(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    int64_t lines, last;

    f->config->audit_file_bytes = 4096;
    f->config->audit_files = 3;
    fixture_restart(f);
    for (unsigned i = 0; i < 200; i++) {
        call(f, i, 0, "/management/some/endpoint/of/middling/length");
        result(f, i, 499);
        if (i == 50 || i == 51)
            fixture_restart(f);
    }
    fixture_restart(f);   /* all is written by then */
    a = verdict(f);
    last = a.reply->audit_verified->verdict->last;
    lines = a.reply->audit_verified->verdict->lines;
    answer_free(&a);
    assert_true(last > 400);
    assert_true(lines < 100 && lines > 20);
    expect_whole(f, true, -1);
    a = lines_behind(f, last - 3);
    assert_int_equal(a.reply->audit_listed->n_records, 3);
    answer_free(&a);
    a = lines_behind(f, 0);
    assert_int_equal(a.reply->audit_listed->records[0]->seq, last - lines + 1);
    answer_free(&a);
}

/* Any byte of any line, and lines that are taken out, doubled or exchanged. */
static void every_change_is_found(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *whole = NULL, *changed = NULL;
    const char *second, *third;
    size_t n;

    for (unsigned i = 0; i < 4; i++) {
        call(f, i, 0, "/management/notify");
        result(f, i, 200);
    }
    await_lines(f, 9);
    whole = contents(f, 1, &n);
    changed = xcalloc(1, n);
    for (size_t at = 0; at < n; at++) {
        memcpy(changed, whole, n);
        changed[at] ^= 1;
        put_contents(f, 1, changed, n);
        expect_whole(f, at == n - 1, -1);   /* the last newline: a line that is torn */
    }
    second = strchr(whole, '\n') + 1;
    third = strchr(second, '\n') + 1;
    memcpy(changed, whole, (size_t)(second - whole));
    memcpy(changed + (second - whole), third, n - (size_t)(third - whole));
    put_contents(f, 1, changed, n - (size_t)(third - second));
    expect_whole(f, false, 1);
    put_contents(f, 1, second, n - (size_t)(second - whole));
    expect_whole(f, false, -1);
    put_contents(f, 1, whole, n);
    expect_whole(f, true, 9);
}

/* What a crash cut off goes, and the chain goes on; what somebody changed stays, and another file begins. */
static void the_next_start_goes_on(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *whole = NULL;
    size_t n;

    call(f, 1, 0, "/management/notify");
    result(f, 1, 200);
    await_lines(f, 3);
    whole = contents(f, 1, &n);
    put_contents(f, 1, whole, n - 10);
    fixture_restart(f);
    expect_whole(f, true, 2);
    result(f, 1, 200);
    expect_whole(f, true, 3);
    free(whole);
    whole = contents(f, 1, &n);
    whole[n - 100] ^= 1;
    put_contents(f, 1, whole, n);
    fixture_restart(f);
    call(f, 2, 0, "/management/notify");
    result(f, 2, 200);
    await_lines(f, 5);
    expect_whole(f, false, 5);   /* two good ones there, three in the new file */
}

/* As a crash leaves it, or a disk that is full: without the line that a file begins with, or with a part of it. */
static void files_that_were_only_begun_go(void **state)
{
    struct fixture *f = *state;
    static const char *const left[] = { "", "{\"time\":\"2026-" };

    for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
        CLEANUP_CLOSE int dir = -1, fd = -1;
        char name[AUDIT_NAME_SIZE];

        call(f, i, 0, "/management/notify");
        result(f, i, 200);
        await_lines(f, 3 + 2 * (int64_t)i);
        audit_name(4 + 2 * i, name);
        dir = folder(f);
        fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, left[i], strlen(left[i])), strlen(left[i]));
        fixture_restart(f);
        expect_whole(f, true, 3 + 2 * (int64_t)i);
    }
    put_contents(f, 1, "", 0);
    fixture_restart(f);
    call(f, 9, 0, "/management/notify");
    result(f, 9, 200);
    await_lines(f, 3);
    expect_whole(f, true, 3);
}

/* Else a syncd that is killed right after the answer would have carried a call out that stands nowhere. */
static void a_call_is_answered_with_its_line(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 20; i++) {
        CLEANUP_FREE char *bytes = NULL;
        size_t n, lines = 0;

        call(f, i, 0, "/management/notify");
        bytes = contents(f, 1, &n);
        for (size_t at = 0; at < n; at++)
            lines += bytes[at] == '\n';
        assert_int_equal(lines, 2 + i);
    }
    wait_until(f, !loop_working(f->loop));
}

static void ignore_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)e;
    (void)reply;
    (void)fds;
    (void)arg;
}

/* A call that is under way when the agent ends has its line. */
static void nothing_waits_behind_the_end(void **state)
{
    struct fixture *f = *state;
    Lf__AuditCall m = LF__AUDIT_CALL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(AUDIT_CALL, audit_call, &m);
    struct answer a;

    m.call = 7;
    m.method = (char *)(uintptr_t)"POST";
    m.endpoint = (char *)(uintptr_t)"/management/command/8";
    ipc_call(f->frontd, &env, NULL, 0, 0, ignore_answer, NULL);
    wait_until(f, loop_working(f->loop));
    fixture_restart(f);
    a = lines_behind(f, 1);
    assert_true(a.reply->audit_listed->n_records >= 1);   /* who had no answer tells it again */
    assert_string_equal(a.reply->audit_listed->records[0]->endpoint, "/management/command/8");
    answer_free(&a);
    wait_until(f, !loop_working(f->loop));
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_set_up, fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(calls_have_two_lines),
        TEST(files_follow_each_other),
        TEST(every_change_is_found),
        TEST(the_next_start_goes_on),
        TEST(files_that_were_only_begun_go),
        TEST(a_call_is_answered_with_its_line),
        TEST(nothing_waits_behind_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
