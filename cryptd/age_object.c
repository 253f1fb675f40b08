/* Owns the head of an object: who can open it, and which object it is. */
#include "cryptd/age_object.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "cryptd/x25519.h"

#define TYPE "landfall/object-1"

static int failed(int r, struct error *e)
{
    return error_set(e, r, "The head of an object could not be made or read: libcrypto failed.");
}

static int check_name(const struct object_name *name, struct error *e)
{
    if (name->key_len < 1 || name->key_len > OBJECT_NAME_MAX)
        return error_set(e, -EINVAL, "The key of an object has 1 to %d bytes.", OBJECT_NAME_MAX);
    return 0;
}

static int make_binding(const uint8_t identity[KEY_SIZE], const uint8_t file_key[AGE_FILE_KEY_SIZE], uint64_t version,
                        const struct object_name *name, uint8_t out[OBJECT_BINDING_SIZE])
{
    const uint64_t number = htole64(version);
    const struct bytes pieces[] = {
        { file_key, AGE_FILE_KEY_SIZE }, { &number, sizeof(number) }, { name->key, name->key_len },
    };
    uint8_t key[KEY_SIZE];
    int r = aead_derive(identity, "", 0, "landfall object binding 1", key, KEY_SIZE);

    if (r == 0)
        r = aead_hmac(key, KEY_SIZE, pieces, ARRAY_SIZE(pieces), out);
    secret_wipe(key, sizeof(key));
    return r;
}

/* --- making ------------------------------------------------------------------------------------ */

struct drawn {
    uint8_t file_key[AGE_FILE_KEY_SIZE], nonce[AGE_NONCE_SIZE];
    uint8_t ephemeral[1 + DRIVE_ESCROW_MAX][KEY_SIZE];
};

static int draw(const uint8_t identity[KEY_SIZE], uint64_t version, const struct object_name *name, struct drawn *d)
{
    const uint64_t number = htole64(version);
    uint8_t random[32], key[KEY_SIZE], seed[DIGEST_SIZE];
    const struct bytes pieces[] = {
        { random, sizeof(random) }, { &number, sizeof(number) }, { name->key, name->key_len },
    };
    int r = aead_derive(identity, "", 0, "landfall object seed 1", key, KEY_SIZE);

    secret_random(random, sizeof(random));
    if (r == 0)
        r = aead_hmac(key, KEY_SIZE, pieces, ARRAY_SIZE(pieces), seed);
    if (r == 0)
        r = aead_derive(seed, "", 0, "landfall object draw 1", (uint8_t *)d, sizeof(*d));
    secret_wipe(key, sizeof(key));
    secret_wipe(seed, sizeof(seed));
    return r;
}

static int write_head(const struct drive_keys *k, const struct object_name *name, uint64_t version,
                      const struct drawn *d, struct age_writer *w)
{
    const uint8_t *identity = drive_keys_newest(k)->identity;
    uint8_t recipient[KEY_SIZE], binding[OBJECT_BINDING_SIZE];
    char type[sizeof(TYPE) + 21];
    int r = x25519_public(identity, recipient);

    (void)snprintf(type, sizeof(type), TYPE " %" PRIu64, version);
    age_write_begin(w);
    if (r == 0)
        r = age_key_wrap(w, recipient, d->ephemeral[0], d->file_key);
    for (size_t i = 0; r == 0 && i < k->n_escrow; i++)
        r = age_key_wrap(w, k->escrow[i], d->ephemeral[1 + i], d->file_key);
    if (r == 0)
        r = make_binding(identity, d->file_key, version, name, binding);
    if (r < 0)
        return r;
    age_write_stanza(w, type, binding, sizeof(binding));
    return age_key_finish(w, d->file_key);
}

static int payload_of(const uint8_t file_key[AGE_FILE_KEY_SIZE], const uint8_t nonce[AGE_NONCE_SIZE],
                      struct wrapped_key *ret)
{
    *ret = (struct wrapped_key){ .kind = WRAPPED_OBJECT, .algorithm = AEAD_CHACHA20_POLY1305 };
    memcpy(ret->id, nonce, AGE_NONCE_SIZE);
    return age_payload_key(file_key, nonce, ret->key);
}

int age_object_make(const struct drive_keys *k, const struct object_name *name, uint64_t version, uint8_t *out,
                    size_t *ret_n, struct wrapped_key *payload, struct error *e)
{
    struct age_writer w = { .data = (char *)out, .room = OBJECT_HEAD_MAX - AGE_NONCE_SIZE };
    struct drawn d;
    int r = check_name(name, e);

    if (r < 0)
        return r;
    r = draw(drive_keys_newest(k)->identity, version, name, &d);
    if (r == 0)
        r = write_head(k, name, version, &d, &w);
    if (r == 0)
        r = w.error;
    if (r == 0)
        r = payload_of(d.file_key, d.nonce, payload);
    if (r == 0)
        memcpy(out + w.len, d.nonce, AGE_NONCE_SIZE);
    *ret_n = w.len + AGE_NONCE_SIZE;
    secret_wipe(&d, sizeof(d));
    return r < 0 ? failed(-EIO, e) : 0;
}

/* --- opening ----------------------------------------------------------------------------------- */

static int refused(int r, struct error *e)
{
    static const struct {
        int from, to;
        const char *text;
    } rows[] = {
        { -ENODATA, -ENODATA, "The object ends before its header does." },
        { -EMSGSIZE, -EMSGSIZE, "The header of the object is longer than Landfall reads, or for too many recipients." },
        { -EOPNOTSUPP, -EOPNOTSUPP, "The object is encrypted in a version of age that Landfall does not know." },
        { -EINVAL, -EUCLEAN, "The object is no age file, or its header is damaged." },
        { -ENOKEY, -ENOKEY, "The object is encrypted for others: none of this drive's identities opens it." },
        { -EBADMSG, -EBADE, "The header of the object was changed after it was written." },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].from == r)
            return error_set(e, rows[i].to, "%s", rows[i].text);
    return failed(-EIO, e);
}

/* A header that opened. */
struct head {
    struct age_header header;
    uint8_t identities[DRIVE_EPOCHS_MAX][KEY_SIZE];
    size_t which;
    uint8_t file_key[AGE_FILE_KEY_SIZE];
    const struct age_stanza *stanza;   /* ours; NULL: none */
    uint64_t version;
};

/* Our stanza, if there is exactly one, as we write it. Anything else under its name is a damage. */
static int find_stanza(struct head *h)
{
    char digits[21];

    for (size_t i = 0; i < h->header.n_stanzas; i++) {
        const struct age_stanza *s = &h->header.stanzas[i];

        if (!age_stanza_is(s, TYPE))
            continue;
        if (h->stanza || s->body_len != OBJECT_BINDING_SIZE || s->args_len < 1 || s->args_len >= sizeof(digits))
            return -EINVAL;
        memcpy(digits, s->args, s->args_len);
        digits[s->args_len] = '\0';
        if (!text_number(digits, UINT64_MAX, &h->version))
            return -EINVAL;
        h->stanza = s;
    }
    return 0;
}

static int read_head(const struct drive_keys *k, const void *bytes, size_t n, struct head *h, struct error *e)
{
    size_t identities = drive_keys_identities(k, h->identities);
    int r = age_header_read(bytes, n, &h->header);

    if (r == 0)
        r = age_key_find(&h->header, bytes, (const uint8_t(*)[KEY_SIZE])h->identities, identities, h->file_key,
                         &h->which);
    if (r == 0)
        r = find_stanza(h);
    if (r == 0 && n - h->header.size < AGE_NONCE_SIZE)
        r = -ENODATA;
    return r < 0 ? refused(r, e) : 0;
}

static int judge(const struct head *h, const struct object_name *name, const uint8_t *moved, enum object_bound *ret)
{
    uint8_t binding[OBJECT_BINDING_SIZE];
    int r;

    *ret = OBJECT_FOREIGN;
    if (!h->stanza)
        return 0;
    r = make_binding(h->identities[h->which], h->file_key, h->version, name, binding);
    if (r < 0)
        return r;
    if (aead_same(binding, h->stanza->body, sizeof(binding)))
        *ret = OBJECT_BOUND;
    else
        *ret = moved && aead_same(binding, moved, sizeof(binding)) ? OBJECT_MOVED : OBJECT_ELSEWHERE;
    return 0;
}

int age_object_open(const struct drive_keys *k, const struct object_name *name, const void *head, size_t n,
                    const uint8_t *moved, struct object_opened *ret, struct error *e)
{
    struct head h = { 0 };
    int r = check_name(name, e);

    if (r == 0)
        r = read_head(k, head, n, &h, e);
    if (r == 0) {
        r = payload_of(h.file_key, (const uint8_t *)head + h.header.size, &ret->payload);
        if (r == 0)
            r = judge(&h, name, moved, &ret->bound);
        ret->head_size = h.header.size + AGE_NONCE_SIZE;
        ret->version = h.version;
        if (r < 0)
            r = failed(-EIO, e);
    }
    secret_wipe(&h, sizeof(h));
    return r;
}

int age_object_bind(const struct drive_keys *k, const struct object_name *name, const void *head, size_t n,
                    uint8_t out[OBJECT_BINDING_SIZE], struct error *e)
{
    struct head h = { 0 };
    int r = check_name(name, e);

    if (r == 0)
        r = read_head(k, head, n, &h, e);
    if (r == 0 && !h.stanza)
        r = error_set(e, -EINVAL, "The object says nothing of its name, so it cannot be told to have another one.");
    if (r == 0 && make_binding(h.identities[h.which], h.file_key, h.version, name, out) < 0)
        r = failed(-EIO, e);
    secret_wipe(&h, sizeof(h));
    return r;
}
