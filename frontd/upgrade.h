/* The handshake of a WebSocket (RFC 6455, 4.2). Pure text; who may ask at all is guard.h's. */
#pragma once

#include "frontd/http_head.h"

/* 400 for what is no request to become a WebSocket, 426 for another version than 13. */
struct http_refusal upgrade_check(const struct http_head *h);

/* What Sec-WebSocket-Accept says to the key of a request that has passed. */
enum { UPGRADE_ACCEPT_SIZE = 29 };
void upgrade_accept(const struct http_head *h, char out[UPGRADE_ACCEPT_SIZE]);
