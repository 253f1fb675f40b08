/* A client for tests of frontd: it runs in the thread of the server it talks to and turns the
 * server's loop while it waits. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"

struct client {
    struct loop *loop;
    int fd;
    struct evbuffer *in;  /* read and not yet taken */
    bool ended, reset;    /* the server closed; it did so hard */
};

struct reply {
    int status;           /* 0: the connection ended without one */
    char *head, *body;    /* NUL-terminated */
    size_t length;        /* of the body */
    bool whole;           /* the body has the length that was promised, or its last chunk */
};

/* A listening socket at the loopback address of `family`: on a free port, or on *ret_port; -1: that one is taken. */
int listen_loopback(int family, uint16_t *ret_port);
int listen_unix(const char *path);

struct client *client_connect(struct loop *l, uint16_t port);
struct client *client_connect6(struct loop *l, uint16_t port);
struct client *client_connect_unix(struct loop *l, const char *path);
void client_free(struct client *c);

void client_send(struct client *c, const char *text);

/* Turns the loop until a whole reply is there or the connection has ended. `head_only`: the answer to HEAD. */
struct reply client_reply(struct client *c, bool head_only);
void reply_free(struct reply *r);

/* A field of the reply's head, copied into a static buffer; NULL without it. */
const char *reply_field(const struct reply *r, const char *name);

/* Sends `text` on a connection of its own and returns the reply. */
struct reply ask_once(struct loop *l, uint16_t port, const char *text);

/* Turns the loop once and gives the kernel a moment. */
void turn(struct loop *l);

/* Turns the loop until the condition holds; fails the test after some seconds. */
#define turn_until(l, condition) \
    do { \
        int64_t give_up_ = loop_now_ns() + INT64_C(60000000000); \
        while (!(condition)) { \
            if (loop_now_ns() > give_up_) \
                fail_msg("waited in vain for %s", #condition); \
            turn(l); \
        } \
    } while (0)

/* Turns the loop until the server has closed the connection. */
void client_wait_end(struct client *c);
