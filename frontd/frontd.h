/* frontd: the HTTP API. It translates between HTTP and the messages of proto/ipc.proto, and decides
 * who may ask; what is asked for is known by the others. Holds no key, opens no file, connects nowhere
 * but to the sockets of syncd, mountd and cryptd. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "common/config.h"
#include "common/error.h"
#include "common/ipc.h"
#include "common/loop.h"
#include "frontd/guard.h"
#include "frontd/rate.h"

struct feeds;
struct http_server;
struct proofs;

struct frontd_spec {
    struct loop *loop;              /* borrowed, as all below */
    const struct config *config;
    uid_t served_uid;
    const char *paths[ROLE_COUNT];  /* sockets of ROLE_SYNCD, ROLE_MOUNTD, ROLE_CRYPTD; others NULL */
};

struct frontd {
    struct loop *loop;
    const struct config *config;
    struct guard guard;
    struct rate changes;                  /* calls that can change something */
    struct http_server *http;
    struct feeds *feeds;
    struct ipc_client *peers[ROLE_COUNT]; /* NULL where nobody is asked */
    int diag;                             /* for peer_identify() */
    struct proofs *proofs;                /* for proof_serve() */
    struct loop_timer *stopping;          /* set by frontd_stop() */
    int64_t refusals_since_ns;            /* the second in which refusals of strangers are counted */
    unsigned refusals;                    /* how many there were in it */
};

/* Opens everything but the listening sockets; to be called before the sandbox. 0 and *ret, or a
 * negative errno with a sentence. */
int frontd_new(const struct frontd_spec *spec, struct frontd **ret, struct error *e);

/* Serves the API on `fd`, a listening stream socket, owned from here on: a Unix socket, or TCP on a loopback
 * address with the port of HostUrl. 0 or a negative errno with a sentence. */
int frontd_listen(struct frontd *f, int fd, struct error *e);

/* Ends in an orderly way: no new requests; leaves the loop with status 0 when the last reply is out, or
 * after FRONTD_STOP_SECONDS. */
enum { FRONTD_STOP_SECONDS = 5 };
void frontd_stop(struct frontd *f);

/* NULL is fine. */
void frontd_free(struct frontd *f);
