/* Block by block; the last one or two are made of what is left, a 1 bit, and the length in bits. */
#include "frontd/sha1.h"

#include <string.h>

enum { BLOCK = 64, LENGTH = 8, ROUNDS = 80, WORDS = 5 };

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t load(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What a round mixes in of the three words, in each quarter of the rounds. */
static uint32_t mix(unsigned quarter, const uint32_t s[WORDS])
{
    static const uint32_t constants[] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    uint32_t f[] = { (s[1] & s[2]) | (~s[1] & s[3]), s[1] ^ s[2] ^ s[3], (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]),
                     s[1] ^ s[2] ^ s[3] };

    return f[quarter] + constants[quarter];
}

static void take_block(uint32_t state[WORDS], const uint8_t *block)
{
    uint32_t w[ROUNDS], s[WORDS];

    for (unsigned i = 0; i < ROUNDS; i++)
        w[i] = i < 16 ? load(block + (size_t)i * 4) : rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    memcpy(s, state, sizeof(s));
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t next = rotate(s[0], 5) + mix(i / 20, s) + s[4] + w[i];

        s[4] = s[3];
        s[3] = s[2];
        s[2] = rotate(s[1], 30);
        s[1] = s[0];
        s[0] = next;
    }
    for (unsigned i = 0; i < WORDS; i++)
        state[i] += s[i];
}

static void store(uint64_t value, size_t n, uint8_t *out)
{
    while (n--) {
        out[n] = (uint8_t)value;
        value >>= 8;
    }
}

void sha1(const void *data, size_t n, uint8_t out[SHA1_SIZE])
{
    uint32_t state[WORDS] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    const uint8_t *p = data;
    uint8_t last[2 * BLOCK] = { 0 };
    size_t left = n, size;

    for (; left >= BLOCK; left -= BLOCK, p += BLOCK)
        take_block(state, p);
    size = left + 1 + LENGTH > BLOCK ? 2 * BLOCK : BLOCK;
    if (left)
        memcpy(last, p, left);
    last[left] = 0x80;
    store((uint64_t)n * 8, LENGTH, last + size - LENGTH);
    for (size_t at = 0; at < size; at += BLOCK)
        take_block(state, last + at);
    for (size_t i = 0; i < WORDS; i++)
        store(state[i], 4, out + i * 4);
}
