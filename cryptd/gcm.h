/* AES-256-GCM as cryptd/aead.h has it, by libIPSec_MB, which uses instructions that encrypt several blocks at once
 * (VAES, VPCLMULQDQ): four times as fast as libcrypto 3.0, which does not. Where it was built without that library, or
 * the processor has no such instructions, libcrypto does it all. */
#pragma once

#include "cryptd/aead.h"

/* Whether it can be used here; idempotent, and until gcm_end(). The others may run in any thread. */
bool gcm_begin(void);
void gcm_end(void);
/* Encrypts or decrypts to out, and writes the tag that belongs to it: who opens compares it with the one that came. */
void gcm_run(bool seals, const uint8_t key[KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE], const struct bytes *aad,
             const struct bytes *in, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE]);
