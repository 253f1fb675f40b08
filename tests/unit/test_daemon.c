/* common/daemon: arguments, environment, inherited sockets, peers, what is said to the supervisor. Each
 * case runs in a child, since daemon_begin() changes the process it is in. */
#include "common/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { PASSED = 42, MOST_ARGUMENTS = 16 };

/* Fails the case from inside its child. */
#define must(condition) \
    do { \
        if (!(condition)) { \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            _exit(EXIT_FAILURE); \
        } \
    } while (0)

static void run(void (*body)(void))
{
    int status;
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid == 0) {
        body();
        exit(PASSED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), PASSED);
}

/* daemon_begin() with RuntimeDir and up to a few more settings, ending in NULL. */
static int begin(struct daemon *d, enum role role, const char *const *sets)
{
    char *argv[MOST_ARGUMENTS] = { (char *)"landfall-x", (char *)"--set", (char *)"RuntimeDir=/run/x" };
    int argc = 3;

    for (; *sets; sets++) {
        argv[argc++] = (char *)"--set";
        argv[argc++] = (char *)*sets;
    }
    return daemon_begin(d, role, argc, argv);
}

static const char *const nothing[] = { NULL };

/* Makes our n descriptors the inherited ones, from 3 on, under these names. */
static void inherit(const int *fds, size_t n, const char *names)
{
    char number[24];

    for (size_t i = 0; i < n; i++)
        must(dup2(fds[i], 200 + (int)i) >= 0);
    for (size_t i = 0; i < n; i++)
        must(dup2(200 + (int)i, 3 + (int)i) >= 0);
    (void)snprintf(number, sizeof(number), "%d", (int)getpid());
    must(setenv("LISTEN_PID", number, 1) == 0);
    (void)snprintf(number, sizeof(number), "%zu", n);
    must(setenv("LISTEN_FDS", number, 1) == 0 && setenv("LISTEN_FDNAMES", names, 1) == 0);
}

static void check_sockets(void)
{
    struct daemon d;
    int fds[3], first, second;

    for (size_t i = 0; i < 3; i++)
        must((fds[i] = open("/dev/null", O_RDONLY)) >= 0);
    inherit(fds, 3, "http:ipc:http");
    must(begin(&d, ROLE_FRONTD, nothing) == 0);
    must(d.n_sockets == 3);
    must(daemon_take_socket(&d, "api") == -1);
    must(daemon_take_socket(&d, "ipc") == 4);
    must(daemon_take_socket(&d, "ipc") == -1);
    first = daemon_take_socket(&d, "http");
    second = daemon_take_socket(&d, "http");
    must(first == 3 && second == 5 && daemon_take_socket(&d, "http") == -1);
    must(fcntl(first, F_GETFD) & FD_CLOEXEC);
    must(!getenv("LISTEN_FDS") && !getenv("LISTEN_PID") && !getenv("LISTEN_FDNAMES"));
    daemon_end(&d);
    must(fcntl(first, F_GETFD) >= 0);
}

static void sockets_are_found_by_name(void **state)
{
    (void)state;
    run(check_sockets);
}

static void check_environment(void)
{
    static const char *const evil[] = { "LD_PRELOAD", "OPENSSL_CONF", "CURL_CA_BUNDLE", "https_proxy", "TZ" };
    struct daemon d;

    for (size_t i = 0; i < ARRAY_SIZE(evil); i++)
        must(setenv(evil[i], "/evil", 1) == 0);
    must(setenv("HOME", "/home/x", 1) == 0 && setenv("CREDENTIALS_DIRECTORY", "/run/c", 1) == 0);
    must(begin(&d, ROLE_SYNCD, nothing) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(evil); i++)
        must(!getenv(evil[i]));
    must(strcmp(getenv("HOME"), "/home/x") == 0 && strcmp(getenv("CREDENTIALS_DIRECTORY"), "/run/c") == 0);
    must(umask(0) == 077);
    daemon_end(&d);
}

static void the_environment_is_cleaned(void **state)
{
    (void)state;
    run(check_environment);
}

static uint32_t peer_uid(const struct daemon *d, enum role role)
{
    for (size_t i = 0; i < d->n_peers; i++)
        if (d->peers[i].role == role)
            return d->peers[i].uid;
    return UINT32_MAX;
}

static void check_own_peers(void)
{
    struct daemon d;

    must(begin(&d, ROLE_SYNCD, nothing) == 0);
    must(d.served_uid == getuid() && d.served_gid == getgid());
    for (enum role role = ROLE_FRONTD; role < ROLE_COUNT; role++)
        must(peer_uid(&d, role) == getuid());
    must(strcmp(daemon_socket_path(&d, ROLE_SYNCD), "/run/x/syncd.sock") == 0);
    must(strcmp(daemon_socket_path(&d, ROLE_CRYPTD), "/run/x/cryptd.sock") == 0);
    daemon_end(&d);
}

static void check_named_peers(void)
{
    static const char *const sets[] = { "User=daemon", "FrontdUser=bin", "MountdUser=root", NULL };
    struct passwd bin, served;
    struct daemon d;

    must(getpwnam("bin") && getpwnam("daemon"));
    bin = *getpwnam("bin");
    served = *getpwnam("daemon");
    must(begin(&d, ROLE_SYNCD, sets) == 0);
    must(d.served_uid == served.pw_uid && d.served_gid == served.pw_gid);
    must(peer_uid(&d, ROLE_SYNCD) == served.pw_uid && peer_uid(&d, ROLE_CRYPTD) == served.pw_uid);
    must(peer_uid(&d, ROLE_FRONTD) == bin.pw_uid);
    must(peer_uid(&d, ROLE_MOUNTD) == 0 && peer_uid(&d, ROLE_WORKER) == 0);
    daemon_end(&d);
}

static void peers_come_from_the_configuration(void **state)
{
    (void)state;
    run(check_own_peers);
    run(check_named_peers);
}

static void check_refusals(void)
{
    static const char too_long[] = "RuntimeDir=/0123456789012345678901234567890123456789012345678901234567890123456789"
                                   "0123456789012345678901234567890123456789";
    static const char *const sets[][2] = {
        { "User=nobody-of-that-name", NULL }, { "RuntimeDir=", NULL }, { "RuntimeDir=relative", NULL },
        { "NoSuchKey=1", NULL }, { too_long, NULL },
    };
    char *stray[] = { (char *)"x", (char *)"stray" };
    struct daemon d;

    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        optind = 1;
        must(begin(&d, ROLE_SYNCD, sets[i]) < 0);
    }
    optind = 1;
    must(daemon_begin(&d, ROLE_SYNCD, 2, stray) == -EINVAL);
}

static void check_help(void)
{
    char *help[] = { (char *)"x", (char *)"--help" }, *version[] = { (char *)"x", (char *)"--version" };
    struct daemon d;

    must(freopen("/dev/null", "w", stdout));
    must(daemon_begin(&d, ROLE_SYNCD, 2, help) == 1);
    optind = 1;
    must(daemon_begin(&d, ROLE_SYNCD, 2, version) == 1);
}

static void wrong_settings_are_refused(void **state)
{
    (void)state;
    run(check_refusals);
    run(check_help);
}

/* --- the supervisor ---------------------------------------------------------------------------------- */

static int supervise(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    memcpy(sun.sun_path, path, strlen(path));
    must(fd >= 0 && bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0);
    return fd;
}

/* The next notification must read so; returns the descriptor that came with it, or -1. */
static int expect(int fd, const char *text)
{
    char data[512] = { 0 };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = data, .iov_len = sizeof(data) - 1 };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room),
    };
    int passed = -1;

    must(recvmsg(fd, &msg, MSG_DONTWAIT) > 0);
    must(strcmp(data, text) == 0);
    if (CMSG_FIRSTHDR(&msg))
        memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(passed));
    return passed;
}

/* The first ping of the watchdog, behind what comes first, is enough. */
static void on_notification(evutil_socket_t fd, short what, void *loop)
{
    char data[64] = { 0 };

    (void)what;
    must(recv(fd, data, sizeof(data) - 1, MSG_DONTWAIT) > 0);
    if (strcmp(data, "WATCHDOG=1") == 0)
        loop_exit(loop, 3);
    else
        must(strcmp(data, "READY=1") == 0);
}

static void check_notifications(void)
{
    char dir[] = "/tmp/landfall-daemon-XXXXXX", path[64];
    struct stat here, there;
    struct event *heard;
    struct daemon d;
    char number[24];
    int fd, passed;

    must(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/notify", dir);
    fd = supervise(path);
    (void)snprintf(number, sizeof(number), "%d", (int)getpid());
    must(setenv("NOTIFY_SOCKET", path, 1) == 0 && setenv("WATCHDOG_USEC", "20000", 1) == 0);
    must(setenv("WATCHDOG_PID", number, 1) == 0);
    must(begin(&d, ROLE_MOUNTD, nothing) == 0);
    must(!getenv("NOTIFY_SOCKET") && !getenv("WATCHDOG_USEC"));
    must(unlink(path) == 0 && rmdir(dir) == 0);   /* nothing is looked for on disk any more */
    heard = event_new(loop_base(d.loop), fd, EV_READ | EV_PERSIST, on_notification, d.loop);
    must(heard && event_add(heard, NULL) == 0);
    must(daemon_run(&d) == 3);
    event_free(heard);
    must(daemon_store_fd("a:b", 0) == -EINVAL && daemon_store_fd("", 0) == -EINVAL);
    must(daemon_store_fd("fuse-1", fd) == 0 && daemon_unstore_fd("fuse-1") == 0);
    do {
        char data[64] = { 0 };

        must(recv(fd, data, sizeof(data) - 1, MSG_PEEK | MSG_DONTWAIT) > 0);
        if (strcmp(data, "WATCHDOG=1") != 0)
            break;
        (void)expect(fd, "WATCHDOG=1");
    } while (true);
    (void)expect(fd, "STOPPING=1");
    passed = expect(fd, "FDSTORE=1\nFDNAME=fuse-1");
    must(fstat(fd, &here) == 0 && fstat(passed, &there) == 0 && here.st_ino == there.st_ino);
    must(expect(fd, "FDSTOREREMOVE=1\nFDNAME=fuse-1") == -1);
    daemon_end(&d);
    must(daemon_store_fd("fuse-1", 0) == -ENOTCONN);
}

static void the_supervisor_hears_of_it(void **state)
{
    (void)state;
    run(check_notifications);
}

static void check_file_limit(void)
{
    static const char *const sets[] = { "OpenFiles=100", NULL };
    struct rlimit limit;
    struct daemon d;

    must(begin(&d, ROLE_SYNCD, sets) == 0);
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 100);
    daemon_end(&d);
}

static void the_descriptor_limit_is_set(void **state)
{
    (void)state;
    run(check_file_limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_found_by_name),
        cmocka_unit_test(the_environment_is_cleaned),
        cmocka_unit_test(peers_come_from_the_configuration),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(the_supervisor_hears_of_it),
        cmocka_unit_test(the_descriptor_limit_is_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
