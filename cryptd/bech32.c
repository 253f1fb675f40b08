/* Owns the text form of age's keys. */
#include "cryptd/bech32.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { DATA_GROUPS = (KEY_SIZE * 8 + 4) / 5, CHECK_GROUPS = 6, GROUPS = DATA_GROUPS + CHECK_GROUPS };

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static uint32_t step(uint32_t sum, uint8_t group)
{
    static const uint32_t generator[] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3 };
    uint32_t top = sum >> 25;

    sum = (sum & 0x1ffffff) << 5 ^ group;
    for (unsigned i = 0; i < 5; i++)
        if (top >> i & 1)
            sum ^= generator[i];
    return sum;
}

static uint32_t checksum(const char *prefix, const uint8_t *groups, size_t n)
{
    uint32_t sum = 1;

    for (const char *p = prefix; *p; p++)
        sum = step(sum, (uint8_t)*p >> 5);
    sum = step(sum, 0);
    for (const char *p = prefix; *p; p++)
        sum = step(sum, (uint8_t)*p & 31);
    for (size_t i = 0; i < n; i++)
        sum = step(sum, groups[i]);
    return sum;
}

/* Bit i of the key, the highest of the first byte first; zero beyond it. */
static unsigned bit(const uint8_t key[KEY_SIZE], size_t i)
{
    return i < KEY_SIZE * 8 ? key[i / 8] >> (7 - i % 8) & 1 : 0;
}

void bech32_encode(const char *prefix, const uint8_t key[KEY_SIZE], int upper, char *out)
{
    uint8_t groups[GROUPS] = { 0 };
    uint32_t sum;
    char *p = out;

    for (size_t i = 0; i < DATA_GROUPS * 5; i++)
        groups[i / 5] = (uint8_t)(groups[i / 5] << 1 | bit(key, i));
    sum = checksum(prefix, groups, GROUPS) ^ 1;
    for (unsigned i = 0; i < CHECK_GROUPS; i++)
        groups[DATA_GROUPS + i] = sum >> (5 * (CHECK_GROUPS - 1 - i)) & 31;
    p = stpcpy(p, prefix);
    *p++ = '1';
    for (size_t i = 0; i < GROUPS; i++)
        *p++ = alphabet[groups[i]];
    *p = '\0';
    for (p = out; upper && *p; p++)
        *p = (char)toupper((unsigned char)*p);
    secret_wipe(groups, sizeof(groups));
}

/* Into groups of five bits. */
static bool read_groups(const char *prefix, const char *text, uint8_t groups[GROUPS])
{
    size_t before = strlen(prefix);
    bool upper = isupper((unsigned char)text[0]);

    if (strlen(text) != before + 1 + GROUPS || text[before] != '1')
        return false;
    for (size_t i = 0; text[i]; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *at;

        if (upper ? islower(c) : isupper(c))
            return false;
        c = (unsigned char)tolower(c);
        if (i < before && c != (unsigned char)prefix[i])
            return false;
        at = i > before ? strchr(alphabet, c) : alphabet;
        if (!at)
            return false;
        if (i > before)
            groups[i - before - 1] = (uint8_t)(at - alphabet);
    }
    return true;
}

int bech32_decode(const char *prefix, const char *text, uint8_t out[KEY_SIZE])
{
    uint8_t groups[GROUPS];
    bool right = read_groups(prefix, text, groups) && checksum(prefix, groups, GROUPS) == 1 &&
                 (groups[DATA_GROUPS - 1] & 15) == 0;

    for (size_t i = 0; right && i < KEY_SIZE * 8; i++)
        out[i / 8] = (uint8_t)(out[i / 8] << 1 | (groups[i / 5] >> (4 - i % 5) & 1));
    secret_wipe(groups, sizeof(groups));
    return right ? 0 : -EINVAL;
}
