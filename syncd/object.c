/* Owns what is known of the objects of a drive with keys, and their sizes.
 *
 * Must not know how it comes to be known (object_open.c). */
#include "syncd/object.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/store_anchor.h"

enum { TAG = CRYPT_OBJECT_CHUNK - CRYPT_CHUNK };
enum { VERSION_LINE = 22, RECIPIENT = 98, STANZA = 66, DIGITS = 16, MAC_LINE = 48, NONCE = 16 };

/* --- sizes ------------------------------------------------------------------------------------------- */

static uint64_t chunks_of(uint64_t plain)
{
    return most((plain + CRYPT_CHUNK - 1) / CRYPT_CHUNK, 1);
}

uint64_t object_sealed_size(uint64_t head, uint64_t plain)
{
    return head + plain + chunks_of(plain) * TAG;
}

int object_plain_size(uint64_t object, uint64_t head, uint64_t *ret)
{
    uint64_t payload = excess(object, head), chunks = (payload + CRYPT_OBJECT_CHUNK - 1) / CRYPT_OBJECT_CHUNK;

    if (payload < TAG || (chunks > 1 && payload - (chunks - 1) * CRYPT_OBJECT_CHUNK <= TAG))
        return -EINVAL;
    *ret = payload - chunks * TAG;
    return 0;
}

uint64_t object_last_chunk(uint64_t plain)
{
    return chunks_of(plain) - 1;
}

uint64_t object_chunk_at(uint64_t head, uint64_t chunk)
{
    return head + chunk * CRYPT_OBJECT_CHUNK;
}

uint64_t object_usual_head(const struct volume *v)
{
    const struct keys_facts *facts = v->keys ? keys_facts(v->keys) : NULL;

    return VERSION_LINE + RECIPIENT * (1 + (facts ? facts->n_escrow : 0)) + STANZA + DIGITS + MAC_LINE + NONCE;
}

/* --- what is told ------------------------------------------------------------------------------------ */

bool object_seals(const struct volume *v)
{
    return v->keys && v->drive->cloud_objects_encrypted;
}

/* Whether the object may consist of a head and so many bytes. */
static bool fits(uint64_t object, uint64_t plain)
{
    uint64_t head = plain <= object ? excess(object, object_sealed_size(0, plain)) : 0;

    return head >= OBJECT_LEAST - TAG && head <= OBJECT_HEAD_MOST;
}

static uint64_t guess(const struct volume *v, uint64_t object)
{
    uint64_t plain;

    return object_seals(v) && object_plain_size(object, object_usual_head(v), &plain) == 0 ? plain : object;
}

/* What is empty is believed only once its only tag was seen to be right: nothing that is read would tell. */
enum index_object_kind object_told(const struct volume *v, const struct cloud_object *o, uint64_t *ret_size)
{
    const struct cloud_meta *m = &o->meta;

    *ret_size = o->size;
    if (!v->keys || o->size < OBJECT_LEAST)
        return INDEX_OBJECT_PLAIN;
    if (o->looked_into && !m->has_size)
        return INDEX_OBJECT_PLAIN;
    if (m->has_size && fits(o->size, m->size) && (m->size || o->looked_into)) {
        *ret_size = m->size;
        return INDEX_OBJECT_SEALED;
    }
    if (o->has_meta && !m->has_size && !object_seals(v))
        return INDEX_OBJECT_PLAIN;
    *ret_size = guess(v, o->size);
    return INDEX_OBJECT_UNKNOWN;
}

bool object_lacks(const struct volume *v, const struct cloud_object *o)
{
    uint64_t size;

    return object_told(v, o, &size) == INDEX_OBJECT_UNKNOWN;
}

/* --- what is known ----------------------------------------------------------------------------------- */

static uint32_t serial(const struct volume *v)
{
    const struct keys_facts *facts = keys_facts(v->keys);

    return facts ? facts->serial : 0;
}

uint64_t object_fault_version(const struct volume *v, int fault, uint64_t version)
{
    return fault == -ENOKEY ? serial(v) : fault == -EREMCHG ? version : 0;
}

/* What could not be opened with the keys of then says nothing of those of now. */
static int forget_if_outdated(const struct volume *v, struct index_object *o)
{
    if (o->fault != -ENOKEY || o->version == serial(v))
        return 0;
    index_object_done(o);
    *o = (struct index_object){ 0 };
    return -ENOENT;
}

int object_get(struct volume *v, const struct index_inode *i, struct index_object *ret)
{
    int r = v->keys ? index_object_get(v->index, i->ino, i->etag, ret) : -ENOENT;

    if (r == 0)
        r = forget_if_outdated(v, ret);
    if (r != -ENOENT || (v->keys && i->cloud_size >= OBJECT_LEAST))
        return r;
    *ret = (struct index_object){ .kind = INDEX_OBJECT_PLAIN, .size = i->cloud_size };
    return 0;
}

bool object_is_refused(const struct index_object *o)
{
    if (!o->fault || (o->fault == -EBADMSG && o->size > 0))
        return false;
    return o->kind == INDEX_OBJECT_PLAIN || loop_wall_ns() - o->found_ns < OBJECT_REST_S * INT64_C(1000000000);
}

bool object_is_refused_empty(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };

    return v->keys && i->size == 0 && i->cloud_key && !(i->pending & INDEX_CONTENT) && object_get(v, i, &o) == 0 &&
        o.fault;
}

uint64_t object_size(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };

    return object_get(v, i, &o) == 0 ? o.size : guess(v, i->cloud_size);
}

bool object_known(struct volume *v, const struct index_inode *i)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };

    if (!v->keys || !S_ISREG(i->mode) || !i->cloud_key || i->pending & INDEX_CONTENT)
        return true;
    return object_get(v, i, &o) == 0;
}

bool object_known_ino(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return !v->keys || index_get(v->index, ino, &i) < 0 || object_known(v, &i);
}

/* --- sizes that were wrong ----------------------------------------------------------------------------- */

enum { CORRECTIONS = 1024 };

/* The last ones; 0: none. */
struct object_corrections {
    uint64_t inos[CORRECTIONS];
    size_t n;
};

void object_corrected(struct volume *v, uint64_t ino)
{
    if (!v->corrections)
        v->corrections = xcalloc(1, sizeof(*v->corrections));
    v->corrections->inos[v->corrections->n++ % CORRECTIONS] = ino;
}

bool object_take_correction(struct volume *v, uint64_t ino)
{
    bool taken = false;

    for (size_t n = 0; v->corrections && n < CORRECTIONS; n++)
        if (v->corrections->inos[n] == ino) {
            v->corrections->inos[n] = 0;
            taken = true;
        }
    return taken;
}

int object_may_open(struct volume *v, const struct index_inode *i, bool again)
{
    if (!object_known(v, i))
        return -EHOSTUNREACH;
    if (object_is_refused_empty(v, i))
        return -EIO;
    return !again && object_take_correction(v, i->ino) ? -ESTALE : 0;
}

/* --- what metadata say --------------------------------------------------------------------------------- */

/* What is not encrypted where an encrypted object was, or says that it is one. */
static int judge_plain(struct volume *v, const struct index_inode *i, const struct cloud_object *o)
{
    struct error e;

    if (!o->meta.has_size && index_anchor(v->index, i->cloud_key) == 0)
        return 0;
    error_set(&e, -EUCLEAN, "%s was encrypted, and what lies there now is not.", i->cloud_key);
    object_refused(v, i->cloud_key, &e);
    return e.code;
}

int object_note(struct volume *v, const struct index_inode *i, const struct cloud_object *o)
{
    CLEANUP(index_object_done) struct index_object known = { 0 };
    uint64_t size;
    enum index_object_kind kind;
    int fault;

    if (!v->keys || !S_ISREG(i->mode))
        return 0;
    kind = object_told(v, o, &size);
    if (kind == INDEX_OBJECT_UNKNOWN)
        return 0;
    fault = o->refused ? o->refused : kind == INDEX_OBJECT_PLAIN ? judge_plain(v, i, o) : 0;
    if (i->cloud_size < OBJECT_LEAST && !fault)
        return index_object_remove(v->index, i->ino);
    if (index_object_get(v->index, i->ino, i->etag, &known) == 0 && known.head && kind == known.kind)
        return 0;
    known.kind = kind;
    known.size = size;
    known.fault = fault;
    known.version = object_fault_version(v, fault, o->refused_version);
    known.found_ns = fault ? loop_wall_ns() : 0;
    known.has_binding = o->meta.has_binding;
    memcpy(known.binding, o->meta.binding, sizeof(known.binding));
    return index_object_put(v->index, i->ino, i->etag, &known);
}
