/* cryptd's answers: Seal and Unseal for syncd, Shutdown for frontd. */
#pragma once

#include <stddef.h>

#include "common/ipc.h"
#include "cryptd/secret.h"

/* What the handlers work on; everything borrowed. */
struct serve {
    struct loop *loop;
    struct secret *secret;
};

/* The message table. The handlers' `daemon` is a struct serve. */
const struct ipc_handler *serve_handlers(size_t *ret_n);
