/* frontd under its real filter: children that do what is forbidden and must die of SIGSYS, and one that
 * serves, with the played neighbours in this process. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frontd/filter.h"
#include "tests/unit/forbidden.h"
#include "tests/unit/frontd_fixture.h"

enum { SURVIVED = 42, NOT_READY = 44 };

#ifndef LANDFALL_SANITIZED

static void do_unix_socket(void) { (void)socket(AF_UNIX, SOCK_SEQPACKET, 0); }
static void do_access(void) { (void)access("/etc/passwd", R_OK); }
static void do_socket6(void) { (void)socket(AF_INET6, SOCK_DGRAM, 0); }
static void do_netlink(void) { (void)socket(AF_NETLINK, SOCK_RAW, 0); }
static void do_listen(void) { (void)listen(0, 1); }
static void do_setuid(void) { (void)syscall(SYS_setuid, 0); }

static int under_the_filter(void (*act)(void))
{
    struct error e;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (frontd_sandbox(&e) < 0)
            _exit(NOT_READY);
        act();
        _exit(SURVIVED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void unix_sockets_survive_the_filter(void **state)
{
    int status = under_the_filter(do_unix_socket);

    (void)state;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SURVIVED);
}

static void everything_else_kills(void **state)
{
    static const struct forbidden rows[] = {
        { "access", do_access }, { "socket v6", do_socket6 }, { "netlink", do_netlink }, { "listen", do_listen },
        { "setuid", do_setuid },
    };

    (void)state;
    forbidden_kill(under_the_filter, rows, ARRAY_SIZE(rows));
}

#endif

/* A whole frontd but for its main(), on its own loop and port, asking the neighbours of the fixture. */
static void serve_in_child(struct fixture *f, int listener, uint16_t port)
{
    char url[64];
    const char *const sets[] = { url };
    struct frontd_spec spec = { .served_uid = getuid() };
    struct config *config;
    struct frontd *frontd;
    struct error e;

    (void)snprintf(url, sizeof(url), "HostUrl=http://localhost:%u", port);
    if (config_load(NULL, sets, 1, &config, &e) < 0)
        _exit(NOT_READY);
    spec.config = config;
    spec.loop = loop_new(0);
    for (enum role role = ROLE_SYNCD; role <= ROLE_CRYPTD; role++)
        spec.paths[role] = f->paths[role];
    if (frontd_new(&spec, &frontd, &e) < 0 || frontd_listen(frontd, listener, &e) < 0 || frontd_sandbox(&e) < 0)
        _exit(NOT_READY);
    _exit(loop_run(spec.loop) == 0 ? SURVIVED : EXIT_FAILURE);
}

static void a_confined_frontd_serves_and_exits(void **state)
{
    static const struct {
        const char *line, *body;
        int status;
        size_t length;
    } rows[] = {
        { "GET /management/agent_status", NULL, 200, 1 },
        { "POST /management/clouddrive", "{\"name\":\"a\"}", 200, 12 },
        { "GET /nothing", NULL, 404, 0 },
        { "GET /management/get_object_stream?path=/a", NULL, 200, OBJECT_SIZE },
        { "GET /management/objects_info?path=/pages", NULL, 200, 0 },
        { "GET /openapi.json", NULL, 200, 0 },
        { "POST /management/command/8", NULL, 200, 0 },
    };
    struct fixture *f = *state;
    uint16_t port = 0;
    int listener = listen_loopback(AF_INET, &port), status = -1;
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid == 0)
        serve_in_child(f, listener, port);
    close(listener);
    f->port = port;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct reply r = request(f, rows[i].line, "", rows[i].body);

        if (r.status != rows[i].status || !r.whole || (rows[i].length && r.length != rows[i].length))
            fail_msg("%s -> %d %s", rows[i].line, r.status, r.body);
        reply_free(&r);
    }
    turn_until(f->loop, waitpid(pid, &status, WNOHANG) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SURVIVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef LANDFALL_SANITIZED
        cmocka_unit_test(unix_sockets_survive_the_filter),
        cmocka_unit_test(everything_else_kills),
#endif
        cmocka_unit_test_setup_teardown(a_confined_frontd_serves_and_exits, frontd_set_up, frontd_tear_down),
    };

    return cmocka_run_group_tests_name("frontd_sandbox", tests, NULL, NULL);
}
