/* What a request must have, in the order of RFC 6455, 4.2.1. */
#include "frontd/upgrade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "frontd/sha1.h"

enum { KEY_BYTES = 16, KEY_LENGTH = BASE64_LENGTH(KEY_BYTES) };

static bool is_key(const char *text)
{
    CLEANUP_FREE uint8_t *bytes = NULL;
    size_t n;

    return base64_decode(text, strlen(text), &bytes, &n) == 0 && n == KEY_BYTES;
}

static const char *only(const struct http_head *h, const char *name)
{
    return http_head_count(h, name) == 1 ? http_head_field(h, name) : NULL;
}

struct http_refusal upgrade_check(const struct http_head *h)
{
    const char *version = only(h, "Sec-WebSocket-Version"), *key = only(h, "Sec-WebSocket-Key");

    if (h->method != HTTP_GET || h->minor != 1 || http_head_has_body(h) ||
        !http_head_lists(h, "Upgrade", "websocket") || !http_head_lists(h, "Connection", "upgrade"))
        return HTTP_REFUSE(400, "This path is a WebSocket: the request must ask for an upgrade (RFC 6455).");
    if (!version)
        return HTTP_REFUSE(400, "Sec-WebSocket-Version must be there once.");
    if (strcmp(version, "13") != 0)
        return HTTP_REFUSE(426, "The version of the WebSocket must be 13.");
    if (!key || !is_key(key))
        return HTTP_REFUSE(400, "Sec-WebSocket-Key must be there once, with the base64 form of 16 bytes.");
    return HTTP_FINE;
}

void upgrade_accept(const struct http_head *h, char out[UPGRADE_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_LENGTH + sizeof(guid)];
    uint8_t hash[SHA1_SIZE];
    int n = snprintf(text, sizeof(text), "%s%s", http_head_field(h, "Sec-WebSocket-Key"), guid);

    sha1(text, (size_t)n, hash);
    base64_encode(hash, sizeof(hash), out);
}
