/* SHA-1 (FIPS 180-4), which RFC 6455 wants in the answer to a WebSocket handshake and which secures nothing there: a
 * library of ciphers is not worth having in this process for it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SHA1_SIZE = 20 };

void sha1(const void *data, size_t n, uint8_t out[SHA1_SIZE]);
