/* The supervisor's parts that need no process: messages of daemons, kept descriptors, key files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/instance.h"
#include "cli/keys.h"
#include "cli/run.h"
#include "common/cleanup.h"

/* --- messages --------------------------------------------------------------------------------- */

static struct run_notice parsed(const char *text)
{
    char copy[1024];
    struct run_notice n = { 0 };

    (void)snprintf(copy, sizeof(copy), "%s", text);
    run_notice_parse(&n, copy);
    return n;
}

static void notices_are_read_line_by_line(void **state)
{
    struct run_notice n = parsed("READY=1\nSTATUS=fine\nWATCHDOG=1");

    (void)state;
    assert_true(n.ready && n.watchdog);
    assert_false(n.store || n.unstore || n.stopping || n.watchdog_trigger);
    n = parsed("FDSTORE=1\nFDNAME=fuse-1\n");
    assert_true(n.store);
    assert_string_equal(n.name, "fuse-1");
    n = parsed("FDSTOREREMOVE=1\nFDNAME=x");
    assert_true(n.unstore && !n.store);
}

static void only_exact_lines_count(void **state)
{
    static const char *const nothing[] = { "", "\n\n", "READY=10", "XREADY=1", "READY=1 ", "FDSTORE", "watchdog=1", "FDNAME=" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
        struct run_notice n = parsed(nothing[i]);

        assert_false(n.ready || n.stopping || n.watchdog || n.watchdog_trigger || n.store || n.unstore || n.name[0]);
    }
}

static void a_long_name_is_cut(void **state)
{
    char text[600] = "FDNAME=";
    struct run_notice n;

    (void)state;
    memset(text + 7, 'n', 500);
    text[507] = '\0';
    n = parsed(text);
    assert_int_equal(strlen(n.name), RUN_NAME_MAX - 1);
}

struct channel {
    char path[64];
    int server, client;
};

static int open_channel(void **state)
{
    static struct channel c;
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    (void)snprintf(c.path, sizeof(c.path), "/tmp/landfall-notify-%d", (int)getpid());
    c.server = run_notify_open(c.path, geteuid(), getegid());
    c.client = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    strcpy(a.sun_path, c.path);
    *state = &c;
    return c.server < 0 || connect(c.client, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : 0;
}

static int close_channel(void **state)
{
    struct channel *c = *state;

    (void)close(c->server);
    (void)close(c->client);
    return unlink(c->path);
}

static void send_fds(int to, const char *text, int fd, size_t n)
{
    union { struct cmsghdr align; char bytes[CMSG_SPACE(64 * sizeof(int))]; } control = { 0 };
    struct iovec part = { (char *)text, strlen(text) };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    for (size_t i = 0; i < n; i++)
        memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
    assert_true(sendmsg(to, &m, 0) >= 0);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void the_sender_and_its_descriptors_arrive(void **state)
{
    struct channel *c = *state;
    struct run_notice n;

    assert_int_equal(run_notify_read(c->server, &n), 0);
    send_fds(c->client, "FDSTORE=1\nFDNAME=a", c->client, 1);
    assert_int_equal(run_notify_read(c->server, &n), 1);
    assert_int_equal(n.sender, getpid());
    assert_int_equal(n.n_fds, 1);
    assert_true(n.store && fcntl(n.fds[0], F_GETFD) == FD_CLOEXEC);
    run_notice_close(&n);
}

static void too_many_descriptors_are_closed(void **state)
{
    struct channel *c = *state;
    struct run_notice n;
    unsigned before = open_descriptors();

    send_fds(c->client, "FDSTORE=1\nFDNAME=a", c->client, 60);
    assert_int_equal(run_notify_read(c->server, &n), 1);
    assert_false(n.store);
    run_notice_close(&n);
    assert_int_equal(open_descriptors(), before);
}

/* --- kept descriptors ------------------------------------------------------------------------- */

static int memory(void)
{
    return memfd_create("test", MFD_CLOEXEC);
}

static void kept_by_name(void **state)
{
    static struct run_kept k;
    int fd = memory();

    (void)state;
    assert_int_equal(run_kept_add(&k, "a", dup(fd)), 0);
    assert_int_equal(run_kept_add(&k, "a", dup(fd)), 0);      /* the same open file: once */
    assert_int_equal(k.n, 1);
    assert_int_equal(run_kept_add(&k, "a", memory()), 0);     /* another one under the same name */
    assert_int_equal(run_kept_add(&k, "b", memory()), 0);
    assert_int_equal(k.n, 3);
    run_kept_remove(&k, "a");
    assert_int_equal(k.n, 1);
    assert_string_equal(k.items[0].name, "b");
    run_kept_clear(&k);
    assert_int_equal(k.n, 0);
    (void)close(fd);
}

static void names_that_cannot_be_passed_on(void **state)
{
    static const char *const bad[] = { "", "a:b", "a b", "a\n", "\x7f", "\xc3\xa4" };
    static struct run_kept k;
    unsigned before = open_descriptors();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(run_kept_add(&k, bad[i], memory()), -EINVAL);
    assert_int_equal(open_descriptors(), before);
}

static void no_more_than_a_daemon_takes(void **state)
{
    static struct run_kept k;
    char name[32];
    int r = 0;

    (void)state;
    for (int i = 0; r == 0; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        r = run_kept_add(&k, name, memory());
    }
    assert_int_equal(r, -ENOSPC);
    assert_int_equal(k.n, RUN_KEPT_MAX);
    run_kept_clear(&k);
}

static void dead_ends_are_dropped(void **state)
{
    static struct run_kept k;
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(run_kept_add(&k, "live", memory()), 0);
    assert_int_equal(run_kept_add(&k, "dead", pair[0]), 0);
    run_kept_prune(&k);
    assert_int_equal(k.n, 2);
    (void)close(pair[1]);
    run_kept_prune(&k);
    assert_int_equal(k.n, 1);
    assert_string_equal(k.items[0].name, "live");
    run_kept_clear(&k);
}

/* --- key files and pids ----------------------------------------------------------------------- */

static int keys_from(const char *text, struct key_pair *k, struct error *e)
{
    char path[64];
    FILE *f;
    int r;

    (void)snprintf(path, sizeof(path), "/tmp/landfall-keys-%d", (int)getpid());
    f = fopen(path, "we");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
    r = keys_read(path, k, e);
    (void)unlink(path);
    return r;
}

static void keys_in_every_usual_form(void **state)
{
    static const char *const forms[] = {
        "AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=s/k+=\n",
        "# mine\nexport AWS_ACCESS_KEY_ID=\"AK\"\nexport AWS_SECRET_ACCESS_KEY='s/k+='",
        "[default]\r\naws_access_key_id = AK\r\naws_secret_access_key = s/k+=\r\n[other]\naws_access_key_id = no\n",
    };
    struct key_pair k;
    struct error e;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        assert_int_equal(keys_from(forms[i], &k, &e), 0);
        assert_string_equal(k.access, "AK");
        assert_string_equal(k.secret, "s/k+=");
    }
}

static void half_a_pair_is_refused_and_not_quoted(void **state)
{
    struct key_pair k;
    struct error e = { 0 };

    (void)state;
    assert_int_equal(keys_from("AWS_SECRET_ACCESS_KEY=canary\n", &k, &e), -ENOENT);
    assert_null(strstr(e.text, "canary"));
    assert_string_equal(k.secret, "");
    assert_int_equal(keys_read("/nonexistent/keys", &k, &e), -ENOENT);
}

static void keys_from_the_environment(void **state)
{
    struct key_pair k;
    struct error e;

    (void)state;
    (void)setenv("AWS_ACCESS_KEY_ID", "A", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "S", 1);
    assert_int_equal(keys_read(NULL, &k, &e), 0);
    assert_string_equal(k.access, "A");
    (void)unsetenv("AWS_SECRET_ACCESS_KEY");
    assert_int_equal(keys_read(NULL, &k, &e), -ENOENT);
}

static void a_pid_counts_only_with_its_start_time(void **state)
{
    struct json_object *o = json_object_new_object(), *pids = json_object_new_object(), *started = json_object_new_object();
    int64_t at = (int64_t)instance_started(getpid());

    (void)state;
    assert_true(at > 0);
    json_object_object_add(pids, "a", json_object_new_int(getpid()));
    json_object_object_add(pids, "b", json_object_new_int(getpid()));
    json_object_object_add(pids, "c", json_object_new_int(getpid()));
    json_object_object_add(started, "a", json_object_new_int64(at));
    json_object_object_add(started, "b", json_object_new_int64(at + 1));
    json_object_object_add(o, "pids", pids);
    json_object_object_add(o, "started", started);
    assert_int_equal(instance_pid(o, "a"), getpid());
    assert_int_equal(instance_pid(o, "b"), 0);
    assert_int_equal(instance_pid(o, "c"), 0);
    assert_int_equal(instance_pid(NULL, "a"), 0);
    json_object_put(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notices_are_read_line_by_line),
        cmocka_unit_test(only_exact_lines_count),
        cmocka_unit_test(a_long_name_is_cut),
        cmocka_unit_test_setup_teardown(the_sender_and_its_descriptors_arrive, open_channel, close_channel),
        cmocka_unit_test_setup_teardown(too_many_descriptors_are_closed, open_channel, close_channel),
        cmocka_unit_test(kept_by_name),
        cmocka_unit_test(names_that_cannot_be_passed_on),
        cmocka_unit_test(no_more_than_a_daemon_takes),
        cmocka_unit_test(dead_ends_are_dropped),
        cmocka_unit_test(keys_in_every_usual_form),
        cmocka_unit_test(half_a_pair_is_refused_and_not_quoted),
        cmocka_unit_test(keys_from_the_environment),
        cmocka_unit_test(a_pid_counts_only_with_its_start_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
