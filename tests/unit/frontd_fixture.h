/* What the tests of frontd stand on: a frontd on free ports, and syncd, mountd and cryptd played by one
 * process, all on one loop in one thread.
 *
 * The played syncd answers by what it is asked for; see the rows in frontd_fixture.c. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/ipc.h"
#include "frontd/frontd.h"
#include "tests/unit/http_client.h"

enum { OBJECT_SIZE = 10 * 1024 * 1024, HELD_MAX = 8 };

struct fixture {
    struct loop *loop;
    struct config *config;
    struct frontd *frontd;
    uint16_t port;
    char dir[32], api[64];                /* api: the Unix socket of the API */
    char paths[ROLE_COUNT][64];
    struct ipc_server *servers[ROLE_COUNT];

    enum role shutdowns[ROLE_COUNT];      /* in the order they came */
    size_t n_shutdowns;
    int refuse_shutdown;                  /* errno mountd answers; 0: Done */
    bool hold_shutdown;                   /* mountd's is kept in `held` instead */
    int commanded;                        /* the last AgentCommand */
    struct ipc_request *held[HELD_MAX];   /* questions about "/hold", unanswered */
    size_t n_held;
    uint64_t last_trace;
    size_t pages;                         /* asked for */
    char drive[32];                       /* the list of drives is this one */
    uint64_t drive_state, known;          /* 0: it has none; what the last DriveList knew */
    unsigned drives_said;
    bool hold_drives;                     /* questions for the list go to `held` */
    Lf__StreamOpen opened;                /* the last one, without its path */
    int stream;                           /* write end of the last pipe; -1 */
    struct event *writable;
    int64_t position, end;                /* what the pipe still gets */
    bool stream_closed;                   /* by its reader */
    bool stopped;
    int form;                             /* read end of the pipe of the last form; -1 */
    unsigned forms_done;                  /* asked for */
    struct ipc_peer *watcher;             /* who sent EventsWatch last; NULL once it is lost */
    unsigned watched;                     /* how often that came */
};

/* For cmocka: *state becomes a struct fixture; the limits are small. */
int frontd_set_up(void **state);
/* The same with more settings, each "Key=value". */
int frontd_set_up_with(void **state, const char *const *sets, size_t n);
int frontd_tear_down(void **state);

/* The byte at that place of every object. */
char object_byte(int64_t position);

/* Fills `out` with a request: method and target, "Host: localhost:<port>", more header lines (each with its
 * CRLF), and a JSON body unless NULL. Returns out. */
const char *make_request(const struct fixture *f, char *out, size_t size, const char *line, const char *fields,
                         const char *body);

/* Sends that on a connection of its own. */
struct reply request(struct fixture *f, const char *line, const char *fields, const char *body);

/* The same, and checks status, error-code (NULL: none) and body (NULL: any). */
void expect_reply(struct fixture *f, const char *line, const char *fields, const char *body, int status,
                  const char *code, const char *text);
