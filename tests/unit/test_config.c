/* common/config: defaults, file, --set, and the sentences for what is wrong. */
#include "common/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"

static char path[64];

/* Writes `text` to the test's configuration file. */
static const char *file(const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

static void defaults_come_from_the_table(void **state)
{
    CLEANUP(config_freep) struct config *c = NULL;
    uint16_t port;

    (void)state;
    assert_int_equal(config_load(NULL, NULL, 0, &c, NULL), 0);
    assert_string_equal(c->host_url, "http://localhost:29123");
    assert_int_equal(c->max_body_bytes, 1 << 20);
    assert_false(c->allow_plain_http);
    assert_non_null(c->cors_origins);
    assert_null(c->cors_origins[0]);
    assert_int_equal(config_host_port(c, &port, NULL), 0);
    assert_int_equal(port, 29123);
}

static void sets_win_over_the_file(void **state)
{
    const char *sets[] = { "logLevel=7", "CorsOrigins=http://a.test,http://b.test", "AllowPlainHttp=true" };
    CLEANUP(config_freep) struct config *c = NULL;

    (void)state;
    assert_int_equal(config_load(file("{\"LogLevel\": 3, \"MountRoot\": \"/m\"}"), sets, 3, &c, NULL), 0);
    assert_int_equal(c->log_level, 7);
    assert_string_equal(c->mount_root, "/m");
    assert_true(c->allow_plain_http);
    assert_string_equal(c->cors_origins[1], "http://b.test");
    assert_null(c->cors_origins[2]);
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *text, *set;
        int code;
        const char *names;
    } rows[] = {
        { "{\"LogLevel\": 3", NULL, -EUCLEAN, "not valid JSON" },
        { "[]", NULL, -EUCLEAN, "one JSON object" },
        { "{\"LogLevle\": 3}", NULL, -EINVAL, "LogLevle" },
        { "{\"LogLevel\": \"3\"}", NULL, -EINVAL, "LogLevel must be a whole number from 0 to 7" },
        { "{\"LogLevel\": 8}", NULL, -EINVAL, "LogLevel" },
        { "{\"AllowPlainHttp\": 1}", NULL, -EINVAL, "AllowPlainHttp must be true or false" },
        { "{\"CorsOrigins\": [1]}", NULL, -EINVAL, "CorsOrigins" },
        { "{\"HostUrl\": null}", NULL, -EINVAL, "HostUrl" },
        { "{} x", NULL, -EUCLEAN, "not valid JSON" },
        { "{}", "Nothing=1", -EINVAL, "Nothing" },
        { "{}", "LogLevel", -EINVAL, "Key=value" },
        { "{}", "LogLevel=x", -EINVAL, "LogLevel" },
        { "{}", "LogLevel= 3", -EINVAL, "LogLevel must be a whole number from 0 to 7" },
        { "{}", "LogLevel=+3", -EINVAL, "LogLevel" },
        { "{}", "LogLevel=-1", -EINVAL, "LogLevel" },
        { "{}", "LogLevel=18446744073709551619", -EINVAL, "LogLevel" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct config *c = NULL;
        struct error e = { 0 };

        assert_int_equal(config_load(file(rows[i].text), &rows[i].set, rows[i].set ? 1 : 0, &c, &e), rows[i].code);
        assert_null(c);
        assert_non_null(strstr(e.text, rows[i].names));
    }
}

static void a_missing_file_is_an_error(void **state)
{
    struct config *c = NULL;
    struct error e = { 0 };

    (void)state;
    assert_int_equal(config_load("/nonexistent/appsettings.json", NULL, 0, &c, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/appsettings.json"));
}

static void only_loopback_is_a_host(void **state)
{
    static const char *const bad[] = { "HostUrl=http://0.0.0.0:1", "HostUrl=https://localhost:1",
                                       "HostUrl=http://localhost:1 ", "HostUrl=http://localhost:0",
                                       "HostUrl=http://localhost:65536", "HostUrl=http://localhost:1x",
                                       "HostUrl=http://localhost: 1", "HostUrl=http://localhost:1//",
                                       "HostUrl=http://localhost:", "HostUrl=http://localhost",
                                       "HostUrl=http://localhost.evil.test:1" };
    static const char *const good[] = { "HostUrl=http://127.0.0.1:8080", "HostUrl=http://[::1]:8080/" };
    uint16_t port;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CLEANUP(config_freep) struct config *c = NULL;

        assert_int_equal(config_load(NULL, &bad[i], 1, &c, NULL), 0);
        assert_int_equal(config_host_port(c, &port, NULL), -EINVAL);
    }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CLEANUP(config_freep) struct config *c = NULL;

        assert_int_equal(config_load(NULL, &good[i], 1, &c, NULL), 0);
        assert_int_equal(config_host_port(c, &port, NULL), 0);
        assert_int_equal(port, 8080);
    }
}

static int make_path(void **state)
{
    int fd;

    (void)state;
    (void)snprintf(path, sizeof(path), "/tmp/landfall-config-XXXXXX");
    fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_from_the_table), cmocka_unit_test(sets_win_over_the_file),
        cmocka_unit_test(what_is_wrong_is_named),       cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(only_loopback_is_a_host),
    };

    return cmocka_run_group_tests(tests, make_path, remove_path);
}
