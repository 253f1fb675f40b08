/* An HTTP server that follows a script, on the loop of the test: for what real servers do too rarely. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/loop.h"

/* What happens after the reply. */
enum fake_end { FAKE_KEEP, FAKE_CLOSE };

/* One request and its reply. */
struct fake_step {
    const char *expect[5];   /* texts that the request's head or body must have, in any order; "!x": must not */
    const char *reply;       /* bytes sent, with the right number for "Content-Length: *"; NULL: silence */
    enum fake_end end;
};

struct fake_server;

/* Serves the steps in order, over whatever connections; they are borrowed. A request beyond the last step fails the
 * test. */
struct fake_server *fake_server_new(struct loop *l, const struct fake_step *steps, size_t n);
/* Fails the test when steps are left. */
void fake_server_free(struct fake_server *f);

/* Sends bytes nobody asked for, on all connections. */
void fake_server_say(struct fake_server *f, const char *bytes);
uint16_t fake_server_port(const struct fake_server *f);
unsigned fake_server_connections(const struct fake_server *f);
