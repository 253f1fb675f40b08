/* Owns the way from recipients and identities to the key of a file. */
#include "cryptd/age_key.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base64.h"
#include "cryptd/aead.h"
#include "cryptd/x25519.h"

#define TYPE "X25519"

enum { BODY_SIZE = AGE_FILE_KEY_SIZE + AEAD_TAG_SIZE, SHARE_LENGTH = BASE64_RAW_LENGTH(KEY_SIZE) };

static const uint8_t zero_nonce[AEAD_NONCE_SIZE];

static int wrap_key(const uint8_t secret[KEY_SIZE], const uint8_t other[KEY_SIZE], const uint8_t share[KEY_SIZE],
                    const uint8_t recipient[KEY_SIZE], uint8_t out[KEY_SIZE])
{
    uint8_t shared[KEY_SIZE], salt[2 * KEY_SIZE];
    int r = x25519_shared(secret, other, shared);

    memcpy(salt, share, KEY_SIZE);
    memcpy(salt + KEY_SIZE, recipient, KEY_SIZE);
    if (r == 0)
        r = aead_derive(shared, salt, sizeof(salt), "age-encryption.org/v1/X25519", out, KEY_SIZE);
    secret_wipe(shared, sizeof(shared));
    return r;
}

int age_key_wrap(struct age_writer *w, const uint8_t recipient[KEY_SIZE], const uint8_t ephemeral[KEY_SIZE],
                 const uint8_t file_key[AGE_FILE_KEY_SIZE])
{
    uint8_t share[KEY_SIZE], key[KEY_SIZE], body[BODY_SIZE];
    char first[sizeof(TYPE) + BASE64_LENGTH(KEY_SIZE) + 1] = TYPE " ";
    int r = x25519_public(ephemeral, share);

    if (r == 0)
        r = wrap_key(ephemeral, recipient, share, recipient, key);
    if (r == 0)
        r = aead_seal(AEAD_CHACHA20_POLY1305, key, zero_nonce, "", 0, file_key, AGE_FILE_KEY_SIZE, body,
                      body + AGE_FILE_KEY_SIZE);
    secret_wipe(key, sizeof(key));
    if (r < 0)
        return r;
    base64_raw_encode(share, KEY_SIZE, first + sizeof(TYPE));
    age_write_stanza(w, first, body, sizeof(body));
    return 0;
}

static int header_mac(const uint8_t file_key[AGE_FILE_KEY_SIZE], const char *text, size_t covered,
                      uint8_t out[AGE_MAC_SIZE])
{
    uint8_t key[KEY_SIZE];
    int r = aead_hkdf(file_key, AGE_FILE_KEY_SIZE, "", 0, "header", key, KEY_SIZE);

    if (r == 0)
        r = aead_hmac(key, KEY_SIZE, &(struct bytes){ text, covered }, 1, out);
    secret_wipe(key, sizeof(key));
    return r;
}

int age_key_finish(struct age_writer *w, const uint8_t file_key[AGE_FILE_KEY_SIZE])
{
    uint8_t mac[AGE_MAC_SIZE];
    int r;

    age_write_end(w);
    r = header_mac(file_key, w->data, w->len, mac);
    if (r == 0)
        age_write_mac(w, mac);
    return r;
}

/* --- finding ----------------------------------------------------------------------------------- */

/* 0, -EBADMSG when the stanza is not for this identity, -EINVAL, -EIO. */
static int unwrap(const struct age_stanza *s, const uint8_t share[KEY_SIZE], const uint8_t identity[KEY_SIZE],
                  const uint8_t recipient[KEY_SIZE], uint8_t out[AGE_FILE_KEY_SIZE])
{
    uint8_t key[KEY_SIZE];
    int r = wrap_key(identity, share, share, recipient, key);

    if (r == -EBADMSG)
        return -EINVAL;   /* a share of low order */
    if (r == 0)
        r = aead_open(AEAD_CHACHA20_POLY1305, key, zero_nonce, "", 0, s->body, AGE_FILE_KEY_SIZE,
                      s->body + AGE_FILE_KEY_SIZE, out);
    secret_wipe(key, sizeof(key));
    return r;
}

static int read_share(const struct age_stanza *s, uint8_t share[KEY_SIZE])
{
    uint8_t bytes[KEY_SIZE + 2];

    if (s->args_len != SHARE_LENGTH || base64_raw_decode(s->args, s->args_len, bytes) != KEY_SIZE ||
        s->body_len != BODY_SIZE)
        return -EINVAL;
    memcpy(share, bytes, KEY_SIZE);
    return 0;
}

/* All stanzas are read, so that a file that is not as it should be is refused whoever it is for. */
static int check_stanzas(const struct age_header *h)
{
    uint8_t share[KEY_SIZE];

    for (size_t i = 0; i < h->n_stanzas; i++) {
        const struct age_stanza *s = &h->stanzas[i];

        if (age_stanza_is(s, TYPE) && read_share(s, share) < 0)
            return -EINVAL;
        if (age_stanza_is(s, "scrypt") && h->n_stanzas > 1)
            return -EINVAL;
    }
    return 0;
}

/* With one identity: 0, -ENOKEY, -EINVAL, -EIO. */
static int find(const struct age_header *h, const uint8_t identity[KEY_SIZE], uint8_t out[AGE_FILE_KEY_SIZE])
{
    uint8_t recipient[KEY_SIZE], share[KEY_SIZE];
    int r = x25519_public(identity, recipient);

    for (size_t i = 0; r == 0 && i < h->n_stanzas; i++) {
        if (!age_stanza_is(&h->stanzas[i], TYPE))
            continue;
        (void)read_share(&h->stanzas[i], share);
        r = unwrap(&h->stanzas[i], share, identity, recipient, out);
        if (r == 0)
            return 0;
        r = r == -EBADMSG ? 0 : r;
    }
    return r < 0 ? r : -ENOKEY;
}

int age_key_find(const struct age_header *h, const char *text, const uint8_t identities[][KEY_SIZE], size_t n,
                 uint8_t out[AGE_FILE_KEY_SIZE], size_t *ret_which)
{
    uint8_t mac[AGE_MAC_SIZE];
    int r = check_stanzas(h);

    if (r == 0)
        r = -ENOKEY;
    for (size_t i = 0; r == -ENOKEY && i < n; i++) {
        r = find(h, identities[i], out);
        *ret_which = i;
    }
    if (r == 0)
        r = header_mac(out, text, h->covered, mac);
    if (r == 0 && !aead_same(mac, h->mac, AGE_MAC_SIZE))
        r = -EBADMSG;
    if (r < 0)
        secret_wipe(out, AGE_FILE_KEY_SIZE);
    return r;
}
