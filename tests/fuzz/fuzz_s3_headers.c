/* The head of a reply to GET: metadata, ranges, lengths, ETags, dates, Retry-After. The input is a status byte, then
 * lines "name:value". */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/retry.h"
#include "syncd/s3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_lines(struct pairs *headers, const char *p, const char *end)
{
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const char *line_end = stop ? stop : end;
        const char *colon = memchr(p, ':', (size_t)(line_end - p));

        if (colon)
            pairs_addn(headers, p, (size_t)(colon - p), colon + 1, (size_t)(line_end - colon - 1));
        p = line_end + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_reply reply = { .status = size && data[0] & 1 ? 206 : 200, .headers = PAIRS_INIT(HTTP_HEADERS_MAX) };
    struct cloud_request *r = cloud_request_new(CLOUD_GET, NULL, NULL);
    struct s3_call c = { .r = r };
    const char *after;
    uint64_t ms;

    if (size > 1)
        take_lines(&reply.headers, (const char *)data + 1, (const char *)data + size);
    r->has_range = size && data[0] & 2;
    r->range_length = 100;
    if (s3_parse_get_head(&c, &reply) == 0
        && (c.expected > INT64_MAX || (r->has_range && c.expected > r->range_length)))
        abort();
    (void)s3_parse_head(&reply, r);
    (void)s3_parse_put(&reply, r);
    after = pairs_get(&reply.headers, "retry-after");
    if (after)
        (void)retry_after(after, 0, &ms);
    pairs_free(&reply.headers);
    cloud_request_free(r);
    return 0;
}
