/* frontd as its clients see it, with played neighbours behind. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc.h"
#include "tests/unit/frontd_fixture.h"

enum { STRANGER = 65534 };

/* --- answers and refusals -------------------------------------------------------------------- */

static void answers_have_the_contracts_shape(void **state)
{
    static const struct {
        const char *line, *body;
        int status;
        const char *code, *text;
    } rows[] = {
        { "GET /management/agent_status", NULL, 200, NULL, "1" },
        { "GET /Management/Agent_Status/?token=whatever", NULL, 200, NULL, "1" },
        { "GET /management/exist_clouddrive?path=/x", NULL, 200, NULL, "\"1\"" },
        { "GET /management/exist_clouddrive?path=/none", NULL, 200, NULL, "\"0\"" },
        { "GET /management/object_status?PATH=a%20b+c", NULL, 200, NULL, "5" },
        { "GET /management/object_status?path=ab&path=abcd", NULL, 200, NULL, "2" },
        { "GET /management/object_make_offline?path=/a", NULL, 200, NULL, "" },
        { "POST /management/object_remove_offline?path=/a", NULL, 200, NULL, "" },
        { "GET /management/object_info?path=%2Fa", NULL, 200, NULL, "{\"path\":\"/a\",\"size\":10485760}" },
        { "POST /management/clouddrive", "{\"name\":\"a\",\"driveType\":1}", 200, NULL,
          "{\"name\":\"a\",\"driveType\":1}" },
        { "PUT /management/clouddrive/known%20id", "{\"Name\":\"b\"}", 200, NULL, "{\"name\":\"b\"}" },
        { "DELETE /management/clouddrive/x?force=true", NULL, 200, NULL, "" },
        { "DELETE /cloud/delete?id=x", NULL, 200, NULL, "true" },
        { "GET /management/objects_info?path=/none", NULL, 200, NULL, "[]" },
        { "POST /cloud/list_buckets?includeRegion=true", "{}", 200, NULL,
          "{\"data\":[{\"name\":\"first\",\"region\":\"here\"}],\"continuationToken\":\"\"}" },
        { "POST /cloud/list_buckets", "{\"id\":\"second\"}", 200, NULL,
          "{\"data\":[{\"name\":\"first\"},{\"name\":\"second\"}],\"continuationToken\":\"\"}" },
        { "POST /management/generate_presigned_urls",
          "{\"driveName\":\"d\",\"relativePath\":\"r\",\"uploadKey\":\"u\"}", 200, NULL,
          "{\"downloadUrl\":\"r\",\"uploadUrl\":\"u\"}" },
        { "POST /management/command/pause", NULL, 200, NULL, "" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect_reply(*state, rows[i].line, "", rows[i].body, rows[i].status, rows[i].code, rows[i].text);
}

#define PROBLEM(type, status, text) \
    "{\"type\":\"" type "\",\"status\":" status ",\"errors\":{\"" type "\":[\"" text "\"]}}"

static void failures_have_the_contracts_shape(void **state)
{
    static const struct {
        const char *line, *body;
        int status;
        const char *code, *text;
    } rows[] = {
        { "POST /management/clouddrive", "{\"name\":\"taken\"}", 499, "DUPLICATE",
          PROBLEM("DUPLICATE", "499", "There is a drive of that name.") },
        { "POST /management/clouddrive", "{\"name\":\"outside\"}", 499, "SECURITY",
          PROBLEM("SECURITY", "499", "The security policy refuses this.") },
        { "POST /management/clouddrive", "{\"name\":\"boom\"}", 500, NULL, "" },
        { "POST /management/clouddrive", "{}", 499, "DEFAULT", PROBLEM("DEFAULT", "499", "A drive needs a name.") },
        { "POST /management/clouddrive", "{\"name\":1}", 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "name must be a string.") },
        { "POST /management/clouddrive", "[]", 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "The body must be a JSON object.") },
        { "POST /management/clouddrive", "{\"name\":", 400, "DEFAULT", NULL },
        { "POST /management/clouddrive", "", 400, "DEFAULT", NULL },
        { "POST /management/clouddrive", NULL, 400, "DEFAULT", NULL },
        { "PUT /management/clouddrive/odd%22%FFid", "{}", 404, "NOT_FOUND",
          PROBLEM("NOT_FOUND", "404", "There is no drive odd\\\"\xef\xbf\xbdid.") },
        { "DELETE /management/clouddrive/x", NULL, 499, "PENDING",
          PROBLEM("PENDING", "499", "3 files are not uploaded.") },
        { "DELETE /management/clouddrive/x?force=maybe", NULL, 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "force must be true or false.") },
        { "GET /management/object_status", NULL, 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "The query parameter path is missing.") },
        { "GET /management/exist_clouddrive", NULL, 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "The query parameter path is missing.") },
        { "GET /management/exist_clouddrive?path=", NULL, 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "The query parameter path is missing.") },
        { "GET /management/object_status?path=", NULL, 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "The query parameter path is missing.") },
        { "GET /management/object_status?path=%00", NULL, 400, "DEFAULT", NULL },
        { "GET /management/nothing", NULL, 404, "NOT_FOUND", NULL },
        { "GET /management/%zz", NULL, 400, "DEFAULT", NULL },
        { "PATCH /management/agent_status", NULL, 405, "DEFAULT", NULL },
        { "POST /management/update", NULL, 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "Updating from inside is not available in this version of Landfall.") },
        { "GET /management/check_update", NULL, 499, "DEFAULT", NULL },
        { "GET /management/object_make_offline?path=/none", NULL, 404, "NOT_FOUND",
          PROBLEM("NOT_FOUND", "404", "No drive owns the path /none.") },
        { "POST /management/object_remove_offline?path=/none", NULL, 404, "NOT_FOUND", NULL },
        { "GET /management/object_make_offline", NULL, 499, "DEFAULT",
          PROBLEM("DEFAULT", "499", "The query parameter path is missing.") },
        { "POST /management/object_remove_offline?path=", NULL, 499, "DEFAULT", NULL },
        { "POST /management/object_make_offline?path=/a", NULL, 405, "DEFAULT", NULL },
        { "GET /management/object_remove_offline?path=/a", NULL, 405, "DEFAULT", NULL },
        { "POST /management/command/3", NULL, 499, "DEFAULT", NULL },
        { "POST /management/command/00", NULL, 499, "DEFAULT", NULL },
        { "POST /management/command/%20", NULL, 499, "DEFAULT", NULL },
        { "POST /management/command/starts", NULL, 499, "DEFAULT", NULL },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect_reply(f, rows[i].line, "", rows[i].body, rows[i].status, rows[i].code, rows[i].text);
    assert_int_equal(f->commanded, 0);
    assert_int_equal(f->n_shutdowns, 0);
}

static void problems_are_problem_json(void **state)
{
    struct reply r = request(*state, "GET /nothing", "", NULL);

    assert_string_equal(reply_field(&r, "Content-Type"), "application/problem+json");
    reply_free(&r);
    r = request(*state, "POST /management/agent_status", "", NULL);
    assert_string_equal(reply_field(&r, "Allow"), "GET, HEAD, OPTIONS");
    reply_free(&r);
    r = request(*state, "POST /management/clouddrive", "", "{\"name\":\"boom\"}");
    assert_null(reply_field(&r, "Content-Type"));
    assert_string_equal(reply_field(&r, "Content-Length"), "0");
    reply_free(&r);
}

static bool has_line(const struct reply *r, const char *line)
{
    const char *at = strstr(r->body, line);

    return at && (at == r->body || at[-1] == '\n');
}

/* Whoever does not answer is down, and the others are shown. */
static void metrics_are_everybodys(void **state)
{
    struct fixture *f = *state;
    struct reply r;

    for (enum role role = ROLE_SYNCD; role <= ROLE_CRYPTD; role++)
        turn_until(f->loop, ipc_client_connected(f->frontd->peers[role]));
    r = request(f, "GET /metrics", "", NULL);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_field(&r, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_true(has_line(&r, "landfall_up{process=\"frontd\"} 1\n"));
    assert_true(has_line(&r, "landfall_up{process=\"syncd\"} 1\n"));
    assert_true(has_line(&r, "landfall_up{process=\"mountd\"} 0\n"));
    assert_true(has_line(&r, "landfall_up{process=\"cryptd\"} 1\n"));
    assert_true(has_line(&r, "# TYPE landfall_process_uptime_seconds gauge\n"
                         "landfall_process_uptime_seconds{process=\"syncd\"} 7\n"
                         "landfall_process_uptime_seconds{process=\"of page \\\"more\\\"\"} 7\n"
                         "landfall_process_uptime_seconds{process=\"cryptd\"} 7\n"));
    reply_free(&r);
    ipc_server_free(take_ptr(f->servers[ROLE_SYNCD]));
    turn_until(f->loop, !ipc_client_connected(f->frontd->peers[ROLE_SYNCD]));
    r = request(f, "GET /metrics", "", NULL);
    assert_int_equal(r.status, 200);
    assert_true(has_line(&r, "landfall_up{process=\"syncd\"} 0\n"));
    reply_free(&r);
    r = request(f, "GET /metrics", "Origin: https://evil.test\r\n", NULL);
    assert_int_equal(r.status, 403);
    reply_free(&r);
}

static void guard_stands_before_the_router(void **state)
{
    static const struct {
        const char *fields;
        int status;
        const char *code;
    } rows[] = {
        { "Host: evil.test\r\n", 421, "DEFAULT" },
        { "Origin: https://evil.test\r\n", 403, "ACCESS" },
        { "Origin: null\r\n", 403, "ACCESS" },
        { "Sec-Fetch-Site: cross-site\r\n", 403, "ACCESS" },
    };
    static const char *const lines[] = {
        "GET /management/agent_status",  "GET /nothing",           "OPTIONS /management/clouddrive",
        "BREW /management/agent_status", "POST /management/notify", "HEAD /openapi.json",
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(lines); i++) {
        const char *fields = rows[i / ARRAY_SIZE(lines)].fields;
        struct reply r = request(*state, lines[i % ARRAY_SIZE(lines)], fields, NULL);

        assert_int_equal(r.status, rows[i / ARRAY_SIZE(lines)].status);
        assert_string_equal(reply_field(&r, "error-code"), rows[i / ARRAY_SIZE(lines)].code);
        assert_null(reply_field(&r, "Access-Control-Allow-Origin"));
        reply_free(&r);
    }
}

static void referers_are_held_against_changes_only(void **state)
{
    static const char foreign[] = "Referer: https://evil.test/\r\n";

    expect_reply(*state, "GET /management/agent_status", foreign, NULL, 200, NULL, "1");
    expect_reply(*state, "POST /management/command/pause", foreign, NULL, 403, "ACCESS", NULL);
    expect_reply(*state, "GET /management/object_make_offline?path=/a", foreign, NULL, 403, "ACCESS", NULL);
    assert_int_equal(((struct fixture *)*state)->commanded, 0);
}

static void bodies_are_held_against_the_rules(void **state)
{
    char large[1100];

    memset(large, ' ', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    expect_reply(*state, "POST /management/clouddrive", "", large, 413, "DEFAULT", NULL);
    expect_reply(*state, "POST /management/clouddrive", "Content-Length: 2\r\nContent-Type: text/plain\r\n", NULL, 415,
                 "DEFAULT", NULL);
    expect_reply(*state, "POST /management/clouddrive", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", NULL,
                 400, "DEFAULT", NULL);
}

/* --- pages of other origins -------------------------------------------------------------------- */

static void allowed_origins_may_read(void **state)
{
    struct reply r = request(*state, "GET /management/agent_status", "Origin: https://APP.example.org\r\n", NULL);

    assert_int_equal(r.status, 200);
    assert_string_equal(reply_field(&r, "Access-Control-Allow-Origin"), "https://app.example.org");
    assert_null(reply_field(&r, "Access-Control-Allow-Credentials"));
    assert_string_equal(reply_field(&r, "Vary"), "Origin");
    reply_free(&r);
    r = request(*state, "GET /nothing", "Origin: https://app.example.org\r\n", NULL);
    assert_string_equal(reply_field(&r, "Access-Control-Allow-Origin"), "https://app.example.org");
    reply_free(&r);
    r = request(*state, "GET /management/agent_status", "", NULL);
    assert_null(reply_field(&r, "Access-Control-Allow-Origin"));
    reply_free(&r);
}

static void preflights_are_answered_from_the_table(void **state)
{
    static const char preflight[] = "Origin: https://app.example.org\r\nAccess-Control-Request-Method: TRACE\r\n"
                                    "Access-Control-Request-Headers: X-Evil\r\n"
                                    "Access-Control-Request-Private-Network: true\r\n";
    struct reply r = request(*state, "OPTIONS /management/clouddrive/x", preflight, NULL);

    assert_int_equal(r.status, 204);
    assert_string_equal(reply_field(&r, "Access-Control-Allow-Origin"), "https://app.example.org");
    assert_string_equal(reply_field(&r, "Access-Control-Allow-Methods"), "PUT, DELETE, OPTIONS");
    assert_string_equal(reply_field(&r, "Access-Control-Allow-Headers"), "Content-Type, Range, X-App-Origin");
    assert_null(reply_field(&r, "Access-Control-Allow-Private-Network"));
    reply_free(&r);
    r = request(*state, "OPTIONS /management/clouddrive", "", NULL);
    assert_int_equal(r.status, 204);
    assert_string_equal(reply_field(&r, "Allow"), "GET, HEAD, POST, OPTIONS");
    assert_null(reply_field(&r, "Access-Control-Allow-Methods"));
    reply_free(&r);
}

/* --- who calls --------------------------------------------------------------------------------- */

static void every_door_is_open_to_the_owner(void **state)
{
    struct fixture *f = *state;
    char text[256];
    struct client *doors[] = { client_connect(f->loop, f->port), client_connect6(f->loop, f->port),
                               client_connect_unix(f->loop, f->api) };

    for (size_t i = 0; i < ARRAY_SIZE(doors); i++) {
        struct reply r;

        client_send(doors[i], make_request(f, text, sizeof(text), "GET /management/agent_status", "", NULL));
        r = client_reply(doors[i], false);
        assert_int_equal(r.status, 200);
        reply_free(&r);
        client_free(doors[i]);
    }
}

/* Asks as another user; exits with 0 if it is told 401. */
static void ask_as_stranger(uint16_t port, const char *text)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    char got[64] = "";
    int fd;

    if (setgid(STRANGER) < 0 || setuid(STRANGER) < 0)
        _exit(2);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || send(fd, text, strlen(text), 0) < 0 ||
        recv(fd, got, sizeof(got) - 1, 0) < 0)
        _exit(3);
    _exit(strncmp(got, "HTTP/1.1 401 ", 13) == 0 ? 0 : 1);
}

static void no_door_is_open_to_strangers(void **state)
{
    struct fixture *f = *state;
    char text[256];
    int status = -1;
    pid_t child;

    if (geteuid() != 0)
        skip();
    make_request(f, text, sizeof(text), "POST /management/command/8", "", NULL);
    child = fork();
    if (child == 0)
        ask_as_stranger(f->port, text);
    turn_until(f->loop, waitpid(child, &status, WNOHANG) == child);
    assert_int_equal(status, 0);
    assert_int_equal(f->n_shutdowns, 0);
}

static void sockets_elsewhere_are_not_served(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in any = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint16_t other = 0;
    struct error e = { 0 };

    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(frontd_listen(f->frontd, fd, &e), -EINVAL);
    assert_int_equal(frontd_listen(f->frontd, listen_loopback(AF_INET, &other), &e), -EINVAL);
}

/* --- waiting ----------------------------------------------------------------------------------- */

static void neighbours_that_do_not_answer_are_given_up(void **state)
{
    struct fixture *f = *state;

    f->config->ipc_timeout_seconds = 1;
    expect_reply(f, "GET /management/object_status?path=/hold", "", NULL, 499, "DEFAULT", NULL);
}

static void one_that_waits_holds_nobody(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    char text[256];

    client_send(c, make_request(f, text, sizeof(text), "GET /management/object_status?path=/hold", "", NULL));
    turn_until(f->loop, f->n_held == 1);
    expect_reply(f, "GET /management/agent_status", "", NULL, 200, NULL, "1");
    assert_true(f->last_trace != 0);
    client_free(c);
}

static void questions_of_lost_clients_are_withdrawn(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    struct linger hard = { .l_onoff = 1 };
    char text[256];

    client_send(c, make_request(f, text, sizeof(text), "GET /management/object_status?path=/hold", "", NULL));
    turn_until(f->loop, f->n_held == 1);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    client_free(c);
    for (int i = 0; i < 10; i++)
        turn(f->loop);
    ipc_fail(f->held[--f->n_held], -EIO, "too late");
    expect_reply(f, "GET /management/agent_status", "", NULL, 200, NULL, "1");
}

/* --- lists ------------------------------------------------------------------------------------- */

static void pages_become_one_array(void **state)
{
    struct fixture *f = *state;
    struct reply r = request(f, "GET /management/objects_info?path=/pages", "", NULL);
    size_t n = 0;

    assert_int_equal(r.status, 200);
    assert_true(r.whole);
    assert_non_null(reply_field(&r, "Transfer-Encoding"));
    for (const char *p = r.body; (p = strstr(p, "{\"path\":\"/a \\\"b\\\"\",\"size\":")); p++)
        n++;
    assert_int_equal(n, 40 * 100);
    assert_int_equal(r.body[0], '[');
    assert_int_equal(r.body[r.length - 1], ']');
    assert_non_null(strstr(r.body, "\"size\":0},{"));
    assert_null(strstr(r.body, "[,"));
    assert_null(strstr(r.body, ",]"));
    reply_free(&r);
}

static void expect_drive(struct fixture *f, const char *line, const char *name, unsigned said)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "[{\"name\":\"%s\"}]", name);
    expect_reply(f, line, "", NULL, 200, NULL, text);
    assert_int_equal(f->drives_said, said);
}

static void a_list_that_is_as_it_was_is_not_said_again(void **state)
{
    static const char line[] = "GET /management/clouddrive";
    struct fixture *f = *state;

    strcpy(f->drive, "a");
    expect_drive(f, line, "a", 1);
    assert_int_equal(f->known, 0);
    expect_drive(f, line, "a", 2);           /* that one had no state */
    f->drive_state = 7;
    expect_drive(f, line, "a", 3);
    expect_drive(f, line, "a", 3);
    assert_int_equal(f->known, 7);
    strcpy(f->drive, "b");
    f->drive_state = 8;
    expect_drive(f, line, "b", 4);
    expect_drive(f, line, "b", 4);
    strcpy(f->drive, "c");
    expect_drive(f, "GET /management/clouddrive?path=/c", "c", 5);
    expect_drive(f, line, "b", 5);
    expect_reply(f, "GET /management/clouddrive?known=8", "", NULL, 200, NULL, "[{\"name\":\"b\"}]");
}

/* The answer to a question that was asked before a newer list came means the older one. */
static void a_question_keeps_what_it_has_named(void **state)
{
    static const char line[] = "GET /management/clouddrive";
    Lf__DriveListed listed = LF__DRIVE_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_LISTED, drive_listed, &listed);
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    struct reply r;
    char text[256];

    strcpy(f->drive, "old");
    f->drive_state = 1;
    expect_drive(f, line, "old", 1);
    f->hold_drives = true;
    client_send(c, make_request(f, text, sizeof(text), line, "", NULL));
    turn_until(f->loop, f->n_held == 1);
    f->hold_drives = false;
    strcpy(f->drive, "new");
    f->drive_state = 2;
    expect_drive(f, line, "new", 2);
    listed.has_state = true;
    listed.state = 1;
    ipc_reply(f->held[--f->n_held], &reply, NULL, 0);
    r = client_reply(c, false);
    assert_string_equal(r.body, "[{\"name\":\"old\"}]");
    reply_free(&r);
    client_free(c);
}

static void empty_pages_are_passed_over(void **state)
{
    struct fixture *f = *state;
    struct reply r = request(f, "GET /management/objects_info?path=/gaps", "", NULL);

    assert_true(r.whole);
    assert_memory_equal(r.body, "[{", 2);
    assert_int_equal(f->pages, 40);
    reply_free(&r);
}

static void broken_lists_are_cut(void **state)
{
    struct fixture *f = *state;
    struct reply r = request(f, "GET /management/objects_info?path=/broken", "", NULL);

    assert_int_equal(r.status, 200);
    assert_false(r.whole);
    reply_free(&r);
}

static void endless_lists_are_cut(void **state)
{
    struct fixture *f = *state;
    struct reply r;

    f->config->max_reply_bytes = 50000;
    r = request(f, "GET /management/objects_info?path=/pages", "", NULL);
    assert_false(r.whole);
    assert_true(r.length <= 50000);
    reply_free(&r);
}

static void head_of_a_list_asks_for_one_page(void **state)
{
    struct fixture *f = *state;
    struct reply r = request(f, "HEAD /management/objects_info?path=/pages", "", NULL);

    assert_int_equal(r.status, 200);
    assert_int_equal(f->pages, 1);
    reply_free(&r);
}

/* --- objects ----------------------------------------------------------------------------------- */

static void check_bytes(const struct reply *r, int64_t first)
{
    for (size_t i = 0; i < r->length; i++)
        if (r->body[i] != object_byte(first + (int64_t)i))
            fail_msg("byte %zu is wrong", i);
}

static void objects_are_streamed(void **state)
{
    static const struct {
        const char *query, *fields;
        int status;
        int64_t first, length;
        const char *content_range;
    } rows[] = {
        { "path=/a", "", 200, 0, OBJECT_SIZE, NULL },
        { "path=/a&start=0&end=0", "", 206, 0, 1, "bytes 0-0/10485760" },
        { "path=/a&start=1000&end=1999", "", 206, 1000, 1000, "bytes 1000-1999/10485760" },
        { "path=/a&start=10485000", "", 206, 10485000, 760, "bytes 10485000-10485759/10485760" },
        { "path=/a&start=10485000&end=99999999999", "", 206, 10485000, 760, "bytes 10485000-10485759/10485760" },
        { "path=/a&end=9", "", 206, 0, 10, "bytes 0-9/10485760" },
        { "path=/a", "Range: bytes=5-9\r\n", 206, 5, 5, "bytes 5-9/10485760" },
        { "path=/a", "Range: bytes=10485750-\r\n", 206, 10485750, 10, "bytes 10485750-10485759/10485760" },
        { "path=/a", "Range: bytes=-10\r\n", 206, 10485750, 10, "bytes 10485750-10485759/10485760" },
        { "path=/a", "Range: bytes=-99999999\r\n", 206, 0, OBJECT_SIZE, "bytes 0-10485759/10485760" },
        { "path=/a&start=1&end=2", "Range: bytes=5-9\r\n", 206, 1, 2, "bytes 1-2/10485760" },
        { "path=/a", "Range: bytes=0-1,4-5\r\n", 200, 0, OBJECT_SIZE, NULL },
        { "path=/a", "Range: bytes=5-9\r\nIf-Range: \"abc\"\r\n", 200, 0, OBJECT_SIZE, NULL },
        { "path=/empty", "", 200, 0, 0, NULL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char line[128];
        struct reply r;

        (void)snprintf(line, sizeof(line), "GET /management/get_object_stream?%s", rows[i].query);
        r = request(*state, line, rows[i].fields, NULL);
        if (r.status != rows[i].status || (int64_t)r.length != rows[i].length || !r.whole)
            fail_msg("%s %s -> %d, %zu bytes", line, rows[i].fields, r.status, r.length);
        check_bytes(&r, rows[i].first);
        assert_int_equal(reply_field(&r, "Content-Range") != NULL, rows[i].content_range != NULL);
        if (rows[i].content_range)
            assert_string_equal(reply_field(&r, "Content-Range"), rows[i].content_range);
        assert_string_equal(reply_field(&r, "Content-Type"), "application/octet-stream");
        assert_string_equal(reply_field(&r, "Accept-Ranges"), "bytes");
        assert_string_equal(reply_field(&r, "ETag"), "\"abc\"");
        assert_string_equal(reply_field(&r, "Last-Modified"), "Fri, 02 Jan 2026 03:04:05 GMT");
        reply_free(&r);
    }
}

static void ranges_outside_are_refused(void **state)
{
    static const struct {
        const char *query, *fields, *content_range;
    } rows[] = {
        { "path=/a&start=10485760", "", "bytes */10485760" },
        { "path=/a", "Range: bytes=10485760-\r\n", "bytes */10485760" },
        { "path=/a", "Range: bytes=-0\r\n", "bytes */10485760" },
        { "path=/empty&start=0", "", "bytes */0" },
        { "path=/empty", "Range: bytes=-5\r\n", "bytes */0" },
        { "path=/a&start=-1", "", NULL },
        { "path=/a&start=5&end=4", "", NULL },
        { "path=/a&end=-1", "", NULL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char line[128];
        struct reply r;

        (void)snprintf(line, sizeof(line), "GET /management/get_object_stream?%s", rows[i].query);
        r = request(*state, line, rows[i].fields, NULL);
        assert_int_equal(r.status, 416);
        assert_string_equal(reply_field(&r, "error-code"), "DEFAULT");
        assert_int_equal(reply_field(&r, "Content-Range") != NULL, rows[i].content_range != NULL);
        if (rows[i].content_range)
            assert_string_equal(reply_field(&r, "Content-Range"), rows[i].content_range);
        reply_free(&r);
    }
}

static void spans_that_are_no_numbers_are_refused(void **state)
{
    expect_reply(*state, "GET /management/get_object_stream?path=/a&start=x", "", NULL, 499, "DEFAULT", NULL);
    expect_reply(*state, "GET /management/get_object_stream?start=1", "", NULL, 499, "DEFAULT", NULL);
}

static void broken_transfers_are_cut(void **state)
{
    struct reply r = request(*state, "GET /management/get_object_stream?path=/short", "", NULL);

    assert_int_equal(r.status, 200);
    assert_false(r.whole);
    reply_free(&r);
    expect_reply(*state, "GET /management/get_object_stream?path=/mad", "", NULL, 500, NULL, "");
}

static void head_of_an_object_has_its_length(void **state)
{
    struct fixture *f = *state;
    struct reply r = request(f, "HEAD /management/get_object_stream?path=/quoted", "", NULL);

    assert_int_equal(r.status, 200);
    assert_string_equal(reply_field(&r, "Content-Length"), "10485760");
    assert_string_equal(reply_field(&r, "ETag"), "\"abc\"");
    reply_free(&r);
    turn_until(f->loop, f->stream_closed);
}

/* What nobody takes is not fetched, and the pipe is closed when the client leaves. */
static void readers_set_the_pace(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    int small = 65536;
    int64_t before = -1;
    char text[256];

    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    client_send(c, make_request(f, text, sizeof(text), "GET /management/get_object_stream?path=/a", "", NULL));
    while (f->position != before || before <= 0) {
        before = f->position;
        for (int i = 0; i < 20; i++)
            turn(f->loop);
    }
    assert_true(f->position < OBJECT_SIZE / 2);
    expect_reply(f, "GET /management/agent_status", "", NULL, 200, NULL, "1");
    client_free(c);
    turn_until(f->loop, f->stream_closed);
}

/* --- commands ---------------------------------------------------------------------------------- */

static void commands_go_to_syncd(void **state)
{
    static const struct {
        const char *line;
        int command;
    } rows[] = {
        { "POST /management/command/2", 2 },      { "POST /management/command/4", 4 },
        { "POST /management/command/PAUSE", 2 },  { "POST /management/command/Resume?token=x", 4 },
        { "POST /management/command/Dispose", 1 }, { "POST /management/command/0", 0 },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        expect_reply(f, rows[i].line, "", NULL, 200, NULL, "");
        assert_int_equal(f->commanded, rows[i].command);
    }
}

static void exit_ends_all_in_order(void **state)
{
    struct fixture *f = *state;

    struct client *c = client_connect(f->loop, f->port);
    struct reply r;
    char text[256];

    client_send(c, make_request(f, text, sizeof(text), "POST /management/command/8", "", NULL));
    r = client_reply(c, false);
    assert_int_equal(r.status, 200);
    assert_string_equal(reply_field(&r, "Connection"), "close");
    reply_free(&r);
    client_free(c);
    assert_int_equal(f->n_shutdowns, 3);
    assert_int_equal(f->shutdowns[0], ROLE_MOUNTD);
    assert_int_equal(f->shutdowns[1], ROLE_SYNCD);
    assert_int_equal(f->shutdowns[2], ROLE_CRYPTD);
    assert_int_equal(loop_run(f->loop), 0);
}

static void exit_stops_where_it_is_refused(void **state)
{
    struct fixture *f = *state;

    f->refuse_shutdown = EBUSY;
    expect_reply(f, "POST /management/command/exit", "", NULL, 499, "PENDING",
                 PROBLEM("PENDING", "499", "Something is busy."));
    assert_int_equal(f->n_shutdowns, 1);
    expect_reply(f, "GET /management/agent_status", "", NULL, 200, NULL, "1");
}

static void exit_passes_over_those_that_are_gone(void **state)
{
    struct fixture *f = *state;

    f->refuse_shutdown = ECONNRESET;
    expect_reply(f, "POST /management/command/Exit", "", NULL, 200, NULL, "");
    assert_int_equal(f->n_shutdowns, 3);
}

static void exit_goes_on_without_its_client(void **state)
{
    struct fixture *f = *state;
    struct client *c = client_connect(f->loop, f->port);
    struct linger hard = { .l_onoff = 1 };
    char text[256];

    f->hold_shutdown = true;
    client_send(c, make_request(f, text, sizeof(text), "POST /management/command/8", "", NULL));
    turn_until(f->loop, f->n_held == 1);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    client_free(c);
    for (int i = 0; i < 10; i++)
        turn(f->loop);
    ipc_done(f->held[--f->n_held]);
    turn_until(f->loop, f->n_shutdowns == 3);
    assert_int_equal(loop_run(f->loop), 0);
}

/* --- forms ----------------------------------------------------------------------------------- */

static size_t in_pipe(int fd)
{
    int n = 0;

    return ioctl(fd, FIONREAD, &n) == 0 ? (size_t)n : 0;
}

/* Its last bytes come, and the pipe has room again (or is gone: `leaves`), in one turn of the loop. */
static void end_form(struct fixture *f, bool leaves)
{
    static const char head[] = "--b\r\nContent-Disposition: form-data; name=\"cloudAccountJson\"\r\n\r\n{}\r\n"
                               "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    static const char tail[] = "\r\n--b--\r\n";
    enum { SIZE = 100000 };
    CLEANUP_FREE char *file = xcalloc(1, SIZE + 1), *sink = xcalloc(1, SIZE);
    char request[512];
    struct client *c = client_connect(f->loop, f->port);
    struct reply r;

    memset(file, 'x', SIZE);
    (void)snprintf(request, sizeof(request), "POST /cloud/upload_object_from_form HTTP/1.1\r\nHost: localhost:%u\r\n"
                   "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %zu\r\n\r\n%s", f->port,
                   sizeof(head) - 1 + SIZE + sizeof(tail) - 1, head);
    f->form = -1;
    f->forms_done = 0;
    client_send(c, request);
    client_send(c, file);
    turn_until(f->loop, f->form >= 0 && in_pipe(f->form) == 65536);
    for (int i = 0; i < 20; i++)   /* the rest of it comes as far as frontd */
        turn(f->loop);
    assert_int_equal(send(c->fd, tail, sizeof(tail) - 1, MSG_NOSIGNAL), sizeof(tail) - 1);
    if (leaves)
        (void)close(f->form);
    else
        assert_int_equal(read(f->form, sink, SIZE), 65536);
    r = client_reply(c, false);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    for (int i = 0; i < 20; i++)
        turn(f->loop);
    assert_int_equal(f->forms_done, 1);
    client_free(c);
    if (!leaves)
        (void)close(f->form);
}

static void the_end_of_a_form_is_asked_for_once(void **state)
{
    end_form(*state, false);
    end_form(*state, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, frontd_set_up, frontd_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_have_the_contracts_shape),
        TEST(the_end_of_a_form_is_asked_for_once),
        TEST(failures_have_the_contracts_shape),
        TEST(problems_are_problem_json),
        TEST(metrics_are_everybodys),
        TEST(guard_stands_before_the_router),
        TEST(referers_are_held_against_changes_only),
        TEST(bodies_are_held_against_the_rules),
        TEST(allowed_origins_may_read),
        TEST(preflights_are_answered_from_the_table),
        TEST(every_door_is_open_to_the_owner),
        TEST(no_door_is_open_to_strangers),
        TEST(sockets_elsewhere_are_not_served),
        TEST(neighbours_that_do_not_answer_are_given_up),
        TEST(one_that_waits_holds_nobody),
        TEST(questions_of_lost_clients_are_withdrawn),
        TEST(pages_become_one_array),
        TEST(a_list_that_is_as_it_was_is_not_said_again),
        TEST(a_question_keeps_what_it_has_named),
        TEST(empty_pages_are_passed_over),
        TEST(broken_lists_are_cut),
        TEST(endless_lists_are_cut),
        TEST(head_of_a_list_asks_for_one_page),
        TEST(objects_are_streamed),
        TEST(ranges_outside_are_refused),
        TEST(spans_that_are_no_numbers_are_refused),
        TEST(broken_transfers_are_cut),
        TEST(head_of_an_object_has_its_length),
        TEST(readers_set_the_pace),
        TEST(commands_go_to_syncd),
        TEST(exit_ends_all_in_order),
        TEST(exit_stops_where_it_is_refused),
        TEST(exit_passes_over_those_that_are_gone),
        TEST(exit_goes_on_without_its_client),
    };

    return cmocka_run_group_tests_name("frontd", tests, NULL, NULL);
}
