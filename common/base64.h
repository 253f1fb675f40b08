/* RFC 4648 base64 with padding. Small pure text, for JSON. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Characters that n bytes become, without the NUL. */
#define BASE64_LENGTH(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_LENGTH(n) characters and a NUL. */
void base64_encode(const void *data, size_t n, char *out);

/* Decodes `len` characters. 0 and *ret_data (the caller's to free; NULL when empty), -EINVAL for anything
 * but the one canonical form, -ENOMEM. */
int base64_decode(const char *text, size_t len, uint8_t **ret_data, size_t *ret_n);
