/* One object of the cloud: an age file with the drive's recipient, the escrow recipients, and a stanza that says which
 * object it is. `age` passes over that stanza, since it does not know its type.
 *
 *   age-encryption.org/v1
 *   -> X25519 SHARE              98 bytes with its body: the newest identity's recipient
 *   -> X25519 SHARE              98 more for each escrow recipient
 *   -> landfall/object-1 VERSION
 *   BINDING                      66 bytes and the digits of VERSION
 *   --- MAC                      48 bytes
 *   payload
 *
 * VERSION is a decimal number that whoever writes the object raises with each new version of it.
 * BINDING = HMAC-SHA256(HKDF-SHA256(identity, no salt, "landfall object binding 1"),
 *                       file key (16 bytes) || VERSION (8 bytes, little endian) || key of the object)
 *
 * The identity is the one whose stanza opens. The file key is in it so that nobody who can write to the bucket, and
 * knows the recipient, can put the stanza of one file into another. An object that a cloud copied to another key (a
 * rename) keeps its stanza; a binding for the new key (age_object_bind()) is kept beside it, in metadata.
 *
 * With one recipient and version 1 the head, which is header and payload nonce, has 22 + 98 + 67 + 48 + 16 = 251
 * bytes, and the object 251 - 16 + age_payload_size(plaintext).
 *
 * File key, payload nonce and ephemeral secrets are HKDF-SHA256(seed, no salt, "landfall object draw 1") with
 * seed = HMAC-SHA256(HKDF-SHA256(newest identity, no salt, "landfall object seed 1"),
 *                    32 random bytes || VERSION || key of the object),
 * so that two objects do not get the same ones from a random generator that repeats. */
#pragma once

#include "cryptd/age_stream.h"
#include "cryptd/wrapped_key.h"

enum {
    OBJECT_HEAD_MAX = 22 + 98 * (1 + DRIVE_ESCROW_MAX) + 66 + 20 + 48 + AGE_NONCE_SIZE,
    OBJECT_BINDING_SIZE = 32,
    OBJECT_NAME_MAX = 1024 * 4,   /* bytes of a key */
};

struct object_name {
    const void *key;
    size_t key_len;
};

/* What the binding says about the object that was opened under a name. */
enum object_bound {
    OBJECT_FOREIGN = 0,       /* none: made by something else, with the recipient alone */
    OBJECT_BOUND = 1,         /* it was written under this name */
    OBJECT_MOVED = 2,         /* it was written under another one; the binding given beside it is for this one */
    OBJECT_ELSEWHERE = 3,     /* it was written under another name: exchanged, or copied by others */
};

struct object_opened {
    struct wrapped_key payload;
    size_t head_size;         /* chunk 0 begins there */
    enum object_bound bound;
    uint64_t version;         /* of what is not foreign; 0 else */
};

/* The head of a new object, to `out` (OBJECT_HEAD_MAX bytes), and its payload key. 0 and *ret_n; -EINVAL (name);
 * -EIO, with a sentence. */
int age_object_make(const struct drive_keys *k, const struct object_name *name, uint64_t version, uint8_t *out,
                    size_t *ret_n, struct wrapped_key *payload, struct error *e);

/* Reads the head that the n bytes begin with. `moved` NULL: there is none, else OBJECT_BINDING_SIZE bytes. 0;
 * -ENODATA (more bytes are needed, which never happens with AGE_HEADER_MAX + AGE_NONCE_SIZE); -ENOKEY (encrypted for
 * others); -EBADE (the header was changed); -EUCLEAN (no age file); -EOPNOTSUPP (another version of age); -EMSGSIZE
 * (too long a header); -EIO, with a sentence. */
int age_object_open(const struct drive_keys *k, const struct object_name *name, const void *head, size_t n,
                    const uint8_t *moved, struct object_opened *ret, struct error *e);

/* The binding of an object to a new name. As age_object_open(); -EINVAL for an object that has none. */
int age_object_bind(const struct drive_keys *k, const struct object_name *name, const void *head, size_t n,
                    uint8_t out[OBJECT_BINDING_SIZE], struct error *e);
