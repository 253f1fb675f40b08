/* Which failures may pass by themselves, and how long to wait. Pure: clock and dice come from the caller. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "syncd/http.h"

/* The longest wait a server may ask for; beyond it the request fails instead. */
enum { RETRY_AFTER_MAX_MS = 5 * 60 * 1000, RETRY_BASE_MS = 100, RETRY_CAP_MS = 20 * 1000 };

/* Whether the same request may succeed later, by the provider's error code (may be "") and status. */
bool retry_status(int status, const char *code);
/* Whether that answer says "too much at once". */
bool retry_throttled(int status, const char *code);
/* Whether an exchange that ended without an answer may be tried again. */
bool retry_fault(enum http_fault fault);

/* Milliseconds before try number `tries` + 1 (1 after the first failure): doubling, with jitter over the
 * upper half from `dice`, and never less than `after_ms`. */
uint64_t retry_delay_ms(unsigned tries, uint32_t dice, uint64_t after_ms);

/* Retry-After: seconds, or an HTTP date relative to `now_ns` (a past one is 0). 0 or -EINVAL. */
int retry_after(const char *value, int64_t now_ns, uint64_t *ret_ms);
