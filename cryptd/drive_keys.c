/* Owns the keys of a drive and their sealed form. Must not know where blobs are kept or who holds keys open. */
#include "cryptd/drive_keys.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "cryptd/seal.h"
#include "cryptd/x25519.h"

#define LABEL "landfall drive keys 1"

enum { VERSION = 1 };

struct blob {
    char magic[8];
    uint8_t version;
    uint8_t zero[3];
    uint32_t serial;
    uint8_t key_id[SEAL_ID_SIZE];
    uint8_t drive_id[DRIVE_ID_SIZE];
    uint8_t nonce[HEDGE_NONCE_SIZE];
    uint8_t sealed[];
};
static_assert(sizeof(struct blob) == 64 && offsetof(struct blob, nonce) == 40, "the layout of the header file");

struct sealed_epoch {
    uint32_t number;
    uint8_t cache_key[KEY_SIZE], identity[KEY_SIZE];
};

/* Inside; then come the escrow recipients. */
struct contents {
    uint32_t n_epochs, n_escrow;
    struct sealed_epoch epochs[];
};
static_assert(sizeof(struct sealed_epoch) == 68 && sizeof(struct contents) == 8, "bytes only, so no padding");

enum { CONTENTS_MAX = DRIVE_BLOB_MAX - 64 - AEAD_TAG_SIZE };

static const char magic[8] = "LNDFDRVK";

int drive_id_read(const char *text, uint8_t out[DRIVE_ID_SIZE], struct error *e)
{
    char hex[2 * DRIVE_ID_SIZE + 1];
    size_t n = 0;

    if (!id_valid(text))
        return error_set(e, -EINVAL, "The keys of a drive are asked for by the drive's id, a UUID.");
    for (const char *p = text; *p; p++)
        if (*p != '-')
            hex[n++] = *p;
    hex[n] = '\0';
    return text_unhex(hex, out, DRIVE_ID_SIZE);
}

/* --- epochs ------------------------------------------------------------------------------------ */

const struct drive_epoch *drive_keys_newest(const struct drive_keys *k)
{
    return &k->epochs[k->n_epochs - 1];
}

const struct drive_epoch *drive_keys_epoch(const struct drive_keys *k, uint32_t number)
{
    for (size_t i = 0; i < k->n_epochs; i++)
        if (k->epochs[i].number == number)
            return &k->epochs[i];
    return NULL;
}

static bool among(uint8_t list[][KEY_SIZE], size_t n, const uint8_t key[KEY_SIZE])
{
    for (size_t i = 0; i < n; i++)
        if (aead_same(list[i], key, KEY_SIZE))
            return true;
    return false;
}

size_t drive_keys_identities(const struct drive_keys *k, uint8_t out[][KEY_SIZE])
{
    size_t n = 0;

    for (size_t i = k->n_epochs; i-- > 0;)
        if (!among(out, n, k->epochs[i].identity))
            memcpy(out[n++], k->epochs[i].identity, KEY_SIZE);
    return n;
}

static int derive_wrap(struct drive_epoch *epoch, struct error *e)
{
    if (hedge_derive(epoch->cache_key, "landfall wrapped key 1", &epoch->wrap) < 0)
        return error_set(e, -EIO, "The keys of a drive could not be made ready: libcrypto failed.");
    return 0;
}

/* --- making and changing ----------------------------------------------------------------------- */

static int read_identity(const char *text, uint8_t out[KEY_SIZE], struct error *e)
{
    if (bech32_decode(AGE_IDENTITY_PREFIX, text, out) < 0)
        return error_set(e, -EINVAL, "This is no identity: it reads AGE-SECRET-KEY-1 and 58 more characters, as "
                         "exported. Look for a character that is missing or wrong.");
    return 0;
}

int drive_keys_make(struct drive_keys *k, const char *drive_id, const char *identity, uint32_t after, struct error *e)
{
    struct drive_epoch *first = &k->epochs[0];
    int r;

    if (after == UINT32_MAX)
        return error_set(e, -ENOSPC, "The keys of this drive were changed as often as they can be.");
    *k = (struct drive_keys){ .serial = after + 1, .n_epochs = 1 };
    r = drive_id_read(drive_id, k->id, e);
    if (r < 0)
        return r;
    first->number = after + 1;
    secret_random(first->cache_key, KEY_SIZE);
    secret_random(first->identity, KEY_SIZE);
    r = identity ? read_identity(identity, first->identity, e) : 0;
    return r < 0 ? r : derive_wrap(first, e);
}

/* In front of the epochs that are there: nothing was made with them yet, so they can be numbered anew. */
static int put_before(struct drive_keys *k, const uint8_t identity[KEY_SIZE], struct error *e)
{
    struct drive_epoch *oldest = &k->epochs[0];

    memmove(oldest + 1, oldest, k->n_epochs++ * sizeof(*oldest));
    memcpy(oldest->identity, identity, KEY_SIZE);
    secret_random(oldest->cache_key, KEY_SIZE);
    for (uint32_t i = 0; i < k->n_epochs; i++)
        k->epochs[i].number = i + 1;
    return derive_wrap(oldest, e);
}

static bool has_identity(const struct drive_keys *k, const uint8_t identity[KEY_SIZE])
{
    for (size_t i = 0; i < k->n_epochs; i++)
        if (aead_same(k->epochs[i].identity, identity, KEY_SIZE))
            return true;
    return false;
}

/* With `first` the newest of them takes a place that is there. */
static bool fit(const struct drive_keys *k, uint8_t list[][KEY_SIZE], size_t n, bool first)
{
    size_t more = 0;

    for (size_t i = first; i < n; i++)
        more += !has_identity(k, list[i]);
    return k->n_epochs + more <= DRIVE_EPOCHS_MAX;
}

static void take_first(struct drive_keys *k, const struct drive_keys *former)
{
    memcpy(k->epochs[0].identity, drive_keys_newest(former)->identity, KEY_SIZE);
    memcpy(k->escrow, former->escrow, sizeof(k->escrow));
    k->n_escrow = former->n_escrow;
}

int drive_keys_inherit(struct drive_keys *k, const struct drive_keys *former, bool first, struct error *e)
{
    uint8_t list[DRIVE_EPOCHS_MAX][KEY_SIZE];
    size_t n = drive_keys_identities(former, list);
    int r = 0;

    if (!fit(k, list, n, first))
        r = error_set(e, -ENOSPC, "A drive can have no more than %d identities.", DRIVE_EPOCHS_MAX);
    if (r == 0 && first)
        take_first(k, former);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (!has_identity(k, list[i]))
            r = put_before(k, list[i], e);
    secret_wipe(list, sizeof(list));
    return r;
}

static int add_epoch(struct drive_keys *k, const uint8_t identity[KEY_SIZE], struct error *e)
{
    const struct drive_epoch *before = drive_keys_newest(k);
    struct drive_epoch *next = &k->epochs[k->n_epochs];
    int r;

    if (k->n_epochs == DRIVE_EPOCHS_MAX)
        return error_set(e, -ENOSPC, "The drive has %d keys already, which is as many as there can be. All goes "
                         "on with the newest one. `landfall key rotate --forget-old` gives up those that nothing needs "
                         "any more; where all are needed, remove the drive when its changes are in the cloud, and add "
                         "it again: it begins with new keys, and reads what is in the cloud as before.",
                         DRIVE_EPOCHS_MAX);
    if (before->number == UINT32_MAX || k->serial == UINT32_MAX)
        return error_set(e, -ENOSPC, "The keys of this drive were changed as often as they can be.");
    next->number = before->number + 1;
    secret_random(next->cache_key, KEY_SIZE);
    memcpy(next->identity, identity, KEY_SIZE);
    r = derive_wrap(next, e);
    if (r < 0)
        return r;
    k->n_epochs++;
    k->serial++;
    return 0;
}

int drive_keys_rotate(struct drive_keys *k, bool new_identity, struct error *e)
{
    uint8_t identity[KEY_SIZE];
    int r;

    memcpy(identity, drive_keys_newest(k)->identity, KEY_SIZE);
    if (new_identity)
        secret_random(identity, KEY_SIZE);
    r = add_epoch(k, identity, e);
    secret_wipe(identity, sizeof(identity));
    return r;
}

int drive_keys_import(struct drive_keys *k, const char *text, struct error *e)
{
    uint8_t identity[KEY_SIZE];
    int r = read_identity(text, identity, e);

    if (r == 0 && aead_same(identity, drive_keys_newest(k)->identity, KEY_SIZE))
        r = error_set(e, -EEXIST, "The drive has this identity already, as its newest one.");
    if (r == 0)
        r = add_epoch(k, identity, e);
    secret_wipe(identity, sizeof(identity));
    return r;
}

static void drop(struct drive_keys *k, struct drive_epoch *old)
{
    memmove(old, old + 1, (size_t)(&k->epochs[k->n_epochs] - (old + 1)) * sizeof(*old));
    secret_wipe(&k->epochs[--k->n_epochs], sizeof(*old));
}

/* Whether a newer epoch has its identity. */
static bool has_later(const struct drive_keys *k, size_t i)
{
    for (size_t n = i + 1; n < k->n_epochs; n++)
        if (aead_same(k->epochs[n].identity, k->epochs[i].identity, KEY_SIZE))
            return true;
    return false;
}

int drive_keys_forget(struct drive_keys *k, uint32_t epoch, struct error *e)
{
    struct drive_epoch *old = (struct drive_epoch *)drive_keys_epoch(k, epoch);

    if (!old)
        return error_set(e, -ENOENT, "The drive has no key number %u.", epoch);
    if (old == drive_keys_newest(k))
        return error_set(e, -EBUSY, "Key %u of the drive is the one in use; rotate first.", epoch);
    if (k->serial == UINT32_MAX)
        return error_set(e, -ENOSPC, "The keys of this drive were changed as often as they can be.");
    drop(k, old);
    k->serial++;
    return 0;
}

int drive_keys_forget_old(struct drive_keys *k, struct error *e)
{
    uint32_t before = k->n_epochs;

    if (k->serial == UINT32_MAX)
        return error_set(e, -ENOSPC, "The keys of this drive were changed as often as they can be.");
    for (size_t i = k->n_epochs; i-- > 0;)
        if (has_later(k, i))
            drop(k, &k->epochs[i]);
    if (k->n_epochs == before)
        return error_set(e, -ENOENT, "The drive has no key that could be given up: each has an identity of its own, "
                         "which objects in the cloud may be encrypted to.");
    k->serial++;
    return 0;
}

/* A recipient is of use only if something can be wrapped for it. */
static int read_recipient(const char *text, uint8_t out[KEY_SIZE], struct error *e)
{
    static const uint8_t secret[KEY_SIZE] = { 8 };
    uint8_t shared[KEY_SIZE];

    if (bech32_decode(AGE_RECIPIENT_PREFIX, text, out) < 0 || x25519_shared(secret, out, shared) < 0)
        return error_set(e, -EINVAL, "This is no recipient: it reads age1 and 58 more characters. Look for one that is "
                         "missing or wrong. Recipients of plugins and SSH keys cannot be used.");
    return 0;
}

int drive_keys_set_escrow(struct drive_keys *k, const char *const *recipients, size_t n, struct error *e)
{
    uint8_t list[DRIVE_ESCROW_MAX][KEY_SIZE];
    int r = 0;

    if (n > DRIVE_ESCROW_MAX)
        return error_set(e, -E2BIG, "A drive can have %d escrow recipients at most.", DRIVE_ESCROW_MAX);
    if (k->serial == UINT32_MAX)
        return error_set(e, -ENOSPC, "The keys of this drive were changed as often as they can be.");
    for (size_t i = 0; r == 0 && i < n; i++)
        r = read_recipient(recipients[i], list[i], e);
    if (r < 0)
        return r;
    memcpy(k->escrow, list, n * KEY_SIZE);
    k->n_escrow = (uint32_t)n;
    k->serial++;
    return 0;
}

/* --- sealing ----------------------------------------------------------------------------------- */

static int failed(struct error *e)
{
    return error_set(e, -EIO, "The keys of a drive could not be sealed or opened: libcrypto failed.");
}

static size_t pack(const struct drive_keys *k, struct contents *c)
{
    uint8_t *escrow = (uint8_t *)&c->epochs[k->n_epochs];

    c->n_epochs = htole32(k->n_epochs);
    c->n_escrow = htole32(k->n_escrow);
    for (size_t i = 0; i < k->n_epochs; i++) {
        c->epochs[i].number = htole32(k->epochs[i].number);
        memcpy(c->epochs[i].cache_key, k->epochs[i].cache_key, KEY_SIZE);
        memcpy(c->epochs[i].identity, k->epochs[i].identity, KEY_SIZE);
    }
    memcpy(escrow, k->escrow, k->n_escrow * KEY_SIZE);
    return (size_t)(escrow - (uint8_t *)c) + k->n_escrow * KEY_SIZE;
}

int drive_keys_seal(const struct secret *s, const struct drive_keys *k, uint8_t *out, size_t *ret_n, struct error *e)
{
    uint32_t room[CONTENTS_MAX / sizeof(uint32_t)];
    struct blob b = { .version = VERSION, .serial = htole32(k->serial) };
    struct hedge_keys keys;
    size_t n = pack(k, (struct contents *)room);
    uint8_t *sealed = out + sizeof(b);
    int r = seal_key_id(s, b.key_id);

    memcpy(b.magic, magic, sizeof(magic));
    memcpy(b.drive_id, k->id, DRIVE_ID_SIZE);
    if (r == 0)
        r = hedge_derive(s->data_key, LABEL, &keys);
    if (r == 0)
        r = hedge_seal(&keys, AEAD_AES_256_GCM, &b, offsetof(struct blob, nonce), room, n, b.nonce, sealed, sealed + n);
    memcpy(out, &b, sizeof(b));
    secret_wipe(room, sizeof(room));
    secret_wipe(&keys, sizeof(keys));
    *ret_n = sizeof(b) + n + AEAD_TAG_SIZE;
    return r < 0 ? failed(e) : 0;
}

/* --- opening ----------------------------------------------------------------------------------- */

static int damaged(const char *drive_id, const char *how, struct error *e)
{
    return error_set(e, -EUCLEAN, "The keys of drive %s are damaged (%s). Put back a copy of them, or import the "
                     "drive's exported identity.", drive_id, how);
}

static int check(const struct blob *b, size_t n, const struct secret *s, const char *drive_id, struct error *e)
{
    static const uint8_t zero[sizeof(b->zero)];
    uint8_t id[DRIVE_ID_SIZE], key_id[SEAL_ID_SIZE];
    int r = drive_id_read(drive_id, id, e);

    if (r < 0)
        return r;
    if (n < sizeof(*b) || memcmp(b->magic, magic, sizeof(magic)) != 0)
        return damaged(drive_id, "they do not begin as such keys do", e);
    if (b->version != VERSION || memcmp(b->zero, zero, sizeof(zero)) != 0)
        return error_set(e, -EOPNOTSUPP, "The keys of drive %s were made by a newer version of Landfall.", drive_id);
    if (n < DRIVE_BLOB_MIN || n > DRIVE_BLOB_MAX)
        return damaged(drive_id, "wrong length", e);
    if (seal_key_id(s, key_id) < 0)
        return failed(e);
    if (memcmp(key_id, b->key_id, SEAL_ID_SIZE) != 0)
        return error_set(e, -ENOKEY, "The keys of drive %s were sealed with another key store than the one that is "
                         "there now. Put the old file back as keys into KeyDir, or import the drive's exported "
                         "identity.", drive_id);
    if (memcmp(id, b->drive_id, DRIVE_ID_SIZE) != 0)
        return error_set(e, -EPERM, "These are the keys of another drive than %s: they were exchanged.", drive_id);
    return 0;
}

/* What the tag vouches for was packed by us, so what is wrong here was wrong then. */
static bool unpack(const struct contents *c, size_t n, struct drive_keys *k)
{
    uint32_t epochs = le32toh(c->n_epochs), escrow = le32toh(c->n_escrow);
    const uint8_t *recipients;

    if (epochs < 1 || epochs > DRIVE_EPOCHS_MAX || escrow > DRIVE_ESCROW_MAX ||
        n != sizeof(*c) + epochs * sizeof(c->epochs[0]) + escrow * KEY_SIZE)
        return false;
    for (size_t i = 0; i < epochs; i++) {
        k->epochs[i].number = le32toh(c->epochs[i].number);
        if (i > 0 && k->epochs[i].number <= k->epochs[i - 1].number)
            return false;
        memcpy(k->epochs[i].cache_key, c->epochs[i].cache_key, KEY_SIZE);
        memcpy(k->epochs[i].identity, c->epochs[i].identity, KEY_SIZE);
    }
    recipients = (const uint8_t *)&c->epochs[epochs];
    memcpy(k->escrow, recipients, escrow * KEY_SIZE);
    k->n_epochs = epochs;
    k->n_escrow = escrow;
    return true;
}

static int open_contents(const struct secret *s, const char *drive_id, const struct blob *b, size_t n,
                         struct drive_keys *k, struct error *e)
{
    uint32_t room[CONTENTS_MAX / sizeof(uint32_t)];
    struct hedge_keys keys;
    bool whole = false;
    int r = hedge_derive(s->data_key, LABEL, &keys);

    if (r == 0)
        r = hedge_open(&keys, AEAD_AES_256_GCM, b, offsetof(struct blob, nonce), b->nonce, b->sealed, n, b->sealed + n,
                       (uint8_t *)room);
    if (r == 0)
        whole = unpack((const struct contents *)room, n, k);
    secret_wipe(&keys, sizeof(keys));
    secret_wipe(room, sizeof(room));
    if (r == -EIO)
        return failed(e);
    if (r < 0 || !whole)
        return damaged(drive_id, "they do not open", e);
    for (size_t i = 0; r == 0 && i < k->n_epochs; i++)
        r = derive_wrap(&k->epochs[i], e);
    return r;
}

int drive_keys_open(const struct secret *s, const char *drive_id, const void *blob, size_t n, uint32_t at_least,
                    struct drive_keys *k, struct error *e)
{
    union {
        struct blob b;
        uint8_t bytes[DRIVE_BLOB_MAX];
    } copy;   /* the caller's may lie anywhere */
    int r;

    if (n > 0)
        memcpy(copy.bytes, blob, n < sizeof(copy) ? n : sizeof(copy));
    r = check(&copy.b, n, s, drive_id, e);
    if (r == 0) {
        *k = (struct drive_keys){ .serial = le32toh(copy.b.serial) };
        memcpy(k->id, copy.b.drive_id, DRIVE_ID_SIZE);
        r = open_contents(s, drive_id, &copy.b, n - sizeof(copy.b) - AEAD_TAG_SIZE, k, e);
    }
    if (r == 0 && k->serial < at_least)
        r = error_set(e, -ESTALE, "The keys of drive %s are older than they were (change %u, known was %u): an old "
                      "copy was put back.", drive_id, k->serial, at_least);
    if (r < 0)
        secret_wipe(k, sizeof(*k));
    return r;
}
