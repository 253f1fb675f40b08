/* RFC 4648 base32hex in lower case without padding: arbitrary bytes as part of a header's name. Pure. */
#pragma once

#include <stddef.h>

#include "common/text.h"

int base32hex_encode(struct text *t, const void *data, size_t n);
/* Decodes n digits into out (room for n * 5 / 8 bytes). The number of bytes, or -EINVAL. */
long base32hex_decode(const char *digits, size_t n, void *out);
