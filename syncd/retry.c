/* Tables of failures that may pass, and exponential back-off. */
#include "syncd/retry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"

static const int passing_statuses[] = { 408, 425, 429, 500, 502, 503, 504, 509 };

/* Codes of "List of error codes", Amazon S3 API reference, and their relatives elsewhere; whatever their status. */
static const struct code {
    const char *name;
    bool throttled;
} passing_codes[] = {
    { "InternalError", false },
    { "OperationAborted", false },
    { "ConditionalRequestConflict", false },
    { "RequestTimeout", false },
    { "RequestTimeTooSkewed", false },   /* by whose clock? there are several servers, and one of them was believed */
    { "ServiceUnavailable", true },
    { "SlowDown", true },
    { "Throttling", true },
    { "ThrottlingException", true },
    { "TooManyRequests", true },
    { "RequestLimitExceeded", true },
    { "BandwidthLimitExceeded", true },
};

/* Statuses that are listed above, but with these codes are final. */
static const char *const final_codes[] = { "NotImplemented", "QuotaExceeded" };

static const struct code *find(const char *code)
{
    for (size_t i = 0; i < ARRAY_SIZE(passing_codes); i++)
        if (strcmp(passing_codes[i].name, code) == 0)
            return &passing_codes[i];
    return NULL;
}

bool retry_status(int status, const char *code)
{
    if (find(code))
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(final_codes); i++)
        if (strcmp(final_codes[i], code) == 0)
            return false;
    for (size_t i = 0; i < ARRAY_SIZE(passing_statuses); i++)
        if (passing_statuses[i] == status)
            return true;
    return false;
}

bool retry_throttled(int status, const char *code)
{
    const struct code *known = find(code);

    return known ? known->throttled : status == 429 || status == 503 || status == 509;
}

bool retry_fault(enum http_fault fault)
{
    return fault == HTTP_UNREACHED || fault == HTTP_STALLED || fault == HTTP_LOST;
}

uint64_t retry_delay_ms(unsigned tries, uint32_t dice, uint64_t after_ms)
{
    uint64_t ms = RETRY_BASE_MS;

    for (unsigned i = 1; i < tries && ms < RETRY_CAP_MS; i++)
        ms *= 2;
    ms = least(ms, RETRY_CAP_MS);
    ms = ms / 2 + dice % (ms / 2 + 1);
    return most(ms, after_ms);
}

int retry_after(const char *value, int64_t now_ns, uint64_t *ret_ms)
{
    size_t digits = strspn(value, "0123456789");
    int64_t at;

    if (digits && !value[digits]) {
        *ret_ms = digits > 9 ? UINT64_MAX : strtoull(value, NULL, 10) * 1000;
        return 0;
    }
    if (date_parse(value, &at) < 0)
        return -EINVAL;
    *ret_ms = at > now_ns ? (uint64_t)(at - now_ns) / 1000000 : 0;
    return 0;
}
