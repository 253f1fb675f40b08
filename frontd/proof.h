/* GET /management/proof: how a program finds out whether the one who listens at the port is this agent. */
#pragma once

#include <stdbool.h>

#include "frontd/exchange.h"

enum {
    PROOF_NONCE_LEAST = 16, PROOF_NONCE_MOST = 64, /* letters, digits, "-" and "_" */
    PROOF_ANSWER_SIZE = 33,                        /* hex of 16 bytes */
    PROOFS_KEPT = 64,
};

/* What was answered of late; the oldest is overwritten. */
struct proofs {
    struct {
        char nonce[PROOF_NONCE_MOST + 1], answer[PROOF_ANSWER_SIZE];
    } kept[PROOFS_KEPT];
    unsigned next;
};

/* Over the Unix socket: 128 random bits for the caller's `nonce`. Over the port: the same again, or 499 when nobody has
 * asked for them there. Who sits at the port in our place is another user, whom the socket does not answer. */
void proof_serve(struct exchange *x);
