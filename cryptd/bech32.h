/* Bech32 (BIP 173, without its limit of length) for keys of 32 bytes, as age writes them:
 *   age1...               58 + 4 characters: a recipient
 *   AGE-SECRET-KEY-1...   58 + 16 characters: an identity
 * 52 characters for 260 bits (the last 4 are zero), 6 of checksum. */
#pragma once

#include <stdint.h>

#include "cryptd/secret.h"

#define AGE_RECIPIENT_PREFIX "age"
#define AGE_IDENTITY_PREFIX "age-secret-key-"
enum { AGE_RECIPIENT_LENGTH = 62, AGE_IDENTITY_LENGTH = 74 };

/* Writes prefix (lower case), "1", key and checksum, and a NUL, in lower case or, if `upper`, in upper case. */
void bech32_encode(const char *prefix, const uint8_t key[KEY_SIZE], int upper, char *out);

/* 0, or -EINVAL for anything but the one form, all in lower or all in upper case. */
int bech32_decode(const char *prefix, const char *text, uint8_t out[KEY_SIZE]);
