/* RFC 4648 base64. Small pure text: with padding for JSON, without for age. */
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

/* Characters that n bytes become without padding. */
#define BASE64_RAW_LENGTH(n) (((n) * 4 + 2) / 3)

/* Writes BASE64_RAW_LENGTH(n) characters and a NUL: no padding. out has room for BASE64_LENGTH(n) + 1. */
void base64_raw_encode(const void *data, size_t n, char *out);

/* Decodes `len` characters without padding into out, which has room for len / 4 * 3 + 2 bytes. The number of bytes, or
 * -EINVAL for anything but the one canonical form. */
long base64_raw_decode(const char *text, size_t len, uint8_t *out);
