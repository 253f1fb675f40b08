/* The file key of an age file: wrapped for recipients and found again, and the MAC of the header with it. X25519 alone
 * of age's kinds of recipients. For each recipient (age-encryption.org/v1, "The X25519 recipient type"):
 *
 *   share    = X25519(ephemeral secret, 9)
 *   wrap key = HKDF-SHA256(X25519(ephemeral secret, recipient), salt = share || recipient,
 *                          "age-encryption.org/v1/X25519")
 *   stanza   = "-> X25519 " base64(share), body ChaCha20-Poly1305(wrap key, 12 zero bytes, file key): 16 + 16 bytes
 *
 *   MAC      = HMAC-SHA256(HKDF-SHA256(file key, no salt, "header"), header up to and with "---") */
#pragma once

#include <stdint.h>

#include "cryptd/age_header.h"
#include "cryptd/secret.h"

enum { AGE_FILE_KEY_SIZE = 16 };

/* Appends a stanza that wraps the file key for the recipient. `ephemeral` is a secret of this stanza alone. 0, -EBADMSG
 * for a recipient that is no key, or -EIO. */
int age_key_wrap(struct age_writer *w, const uint8_t recipient[KEY_SIZE], const uint8_t ephemeral[KEY_SIZE],
                 const uint8_t file_key[AGE_FILE_KEY_SIZE]);

/* Appends "---" and the MAC over all that was written. 0 or -EIO. */
int age_key_finish(struct age_writer *w, const uint8_t file_key[AGE_FILE_KEY_SIZE]);

/* Finds the file key with one of n identities; *ret_which says with which. `text` is what the header was read from. 0;
 * -ENOKEY when the file is for others; -EBADMSG when its MAC is wrong; -EINVAL when a stanza is not as age has it (a
 * share that is none, a passphrase beside other stanzas); or -EIO. Stanzas of unknown types are passed over. */
int age_key_find(const struct age_header *h, const char *text, const uint8_t identities[][KEY_SIZE], size_t n,
                 uint8_t out[AGE_FILE_KEY_SIZE], size_t *ret_which);
