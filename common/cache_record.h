/* What is kept beside a sealed chunk of a cache file: cryptd makes and reads it (cryptd/cache_chunk.h says how it is
 * sealed), whoever keeps the file stores it (common/sealed.h). Numbers are little endian.
 *
 *   offset  size
 *        0     1  version, 1; 0: there is no chunk
 *        1     1  algorithm: 1 AES-256-GCM, 2 ChaCha20-Poly1305
 *        2     2  zero
 *        4     4  bytes of plaintext, 1 to 65536
 *        8     8  number of the chunk
 *       16     8  generation: raised by whoever writes the chunk, with each write of it
 *       24    24  nonce
 *       48    16  tag
 */
#pragma once

#include <stdint.h>

enum { CACHE_RECORD_SIZE = 64 };

struct cache_record {
    uint8_t version, algorithm, zero[2];
    uint32_t length;
    uint64_t number, generation;
    uint8_t nonce[24];
    uint8_t tag[16];
};
_Static_assert(sizeof(struct cache_record) == CACHE_RECORD_SIZE, "bytes only, so no padding");
