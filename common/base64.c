/* Base64, canonical form only. Knows nothing of JSON or age. */
#include "common/base64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/number.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t n, char *out)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < n; i += 3) {
        size_t have = least(n - i, 3);
        uint32_t group = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);

        for (size_t k = 0; k < 4; k++)
            *out++ = k <= have ? alphabet[group >> (18 - 6 * k) & 63] : '=';
    }
    *out = '\0';
}

static int digit(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;

    return at ? (int)(at - alphabet) : -EINVAL;
}

/* Four characters, the last `pad` of them '=', into 3 - pad bytes. */
static int decode_group(const char *text, size_t pad, uint8_t *out)
{
    uint32_t group = 0;

    for (size_t k = 0; k < 4; k++) {
        int d = k < 4 - pad ? digit(text[k]) : 0;

        if (d < 0)
            return d;
        group = group << 6 | (uint32_t)d;
    }
    if (group & ((1u << (8 * pad)) - 1))
        return -EINVAL;
    for (size_t k = 0; k < 3 - pad; k++)
        out[k] = (uint8_t)(group >> (16 - 8 * k));
    return 0;
}

int base64_decode(const char *text, size_t len, uint8_t **ret_data, size_t *ret_n)
{
    size_t pad = 0;
    uint8_t *data;

    if (len % 4)
        return -EINVAL;
    if (len && text[len - 1] == '=')
        pad = text[len - 2] == '=' ? 2 : 1;
    *ret_n = len / 4 * 3 - pad;
    *ret_data = NULL;
    if (!len)
        return 0;
    data = malloc(*ret_n);
    if (!data)
        return -ENOMEM;
    for (size_t i = 0; i < len; i += 4) {
        if (decode_group(text + i, i + 4 == len ? pad : 0, data + i / 4 * 3) < 0) {
            free(data);
            return -EINVAL;
        }
    }
    *ret_data = data;
    return 0;
}

/* --- without padding --------------------------------------------------------------------------- */

void base64_raw_encode(const void *data, size_t n, char *out)
{
    base64_encode(data, n, out);
    out[BASE64_RAW_LENGTH(n)] = '\0';
}

long base64_raw_decode(const char *text, size_t len, uint8_t *out)
{
    size_t whole = len / 4 * 4, rest = len % 4;

    if (rest == 1)
        return -EINVAL;
    for (size_t i = 0; i < whole; i += 4)
        if (decode_group(text + i, 0, out + i / 4 * 3) < 0)
            return -EINVAL;
    if (rest && decode_group(text + whole, 4 - rest, out + whole / 4 * 3) < 0)
        return -EINVAL;
    return (long)(whole / 4 * 3 + (rest ? rest - 1 : 0));
}
