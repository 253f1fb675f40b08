/* What a version in the cloud is made of, on a drive with keys: the file's bytes, or an age file (docs/FORMATS.md,
 * "Object: an age file"). A listing says neither; metadata says it of what we put there; else the first bytes do. Of a
 * drive without keys everything is plain, and nothing of this costs anything. */
#pragma once

#include "syncd/keys.h"
#include "syncd/volume_internal.h"

struct cache_file;

enum {
    OBJECT_LEAST = 22 + 6 + 48 + 16 + 16,   /* bytes; a shorter object is no age file */
    OBJECT_HEAD_MOST = 32 * 1024 + 16,      /* of the longest that is read */
    OBJECT_REST_S = 60,                     /* before what was refused as a whole is fetched again */
};

/* --- sizes ------------------------------------------------------------------------------------------- */

/* Bytes of an object with a head of so many, and the other way: -EINVAL when there is no such object. */
uint64_t object_sealed_size(uint64_t head, uint64_t plain);
int object_plain_size(uint64_t object, uint64_t head, uint64_t *ret);
/* The number of the last chunk, and where in the object a chunk begins. */
uint64_t object_last_chunk(uint64_t plain);
uint64_t object_chunk_at(uint64_t head, uint64_t chunk);
/* Of a head that our agents make now. */
uint64_t object_usual_head(const struct volume *v);

/* --- what is known ----------------------------------------------------------------------------------- */

/* Whether files that are sent are encrypted. */
bool object_seals(const struct volume *v);
/* What listing or metadata say: the kind and, unless that is INDEX_OBJECT_UNKNOWN, the size that the file has.
 * Unknown, *ret_size is a guess. */
enum index_object_kind object_told(const struct volume *v, const struct cloud_object *o, uint64_t *ret_size);
/* Its metadata was asked for, and one has to look into it all the same. */
bool object_lacks(const struct volume *v, const struct cloud_object *o);
/* What is known of the version that the inode is based on. 0, or -ENOENT: nothing, and *ret is empty;
 * index_object_done() it. Of a drive without keys: plain. */
int object_get(struct volume *v, const struct index_inode *i, struct index_object *ret);
/* Bytes of the file that the inode's version has, as far as that is known. */
uint64_t object_size(struct volume *v, const struct index_inode *i);
/* Whether the size of the file is known: else it is not opened. */
bool object_known(struct volume *v, const struct index_inode *i);
bool object_known_ino(struct volume *v, uint64_t ino);
/* What is kept as the version of what is refused: of what is too old its own; of what is for others the serial of the
 * keys that it was tried with. */
uint64_t object_fault_version(const struct volume *v, int fault, uint64_t version);
/* Whether it is not to be read now. What was looked into may be so again after a while; what is known by its name alone
 * to be wrong there stays so. Chunks that did not open are another matter. */
bool object_is_refused(const struct index_object *o);
/* The inode is empty, by an object that is refused: so nothing but opening it can tell. */
bool object_is_refused_empty(struct volume *v, const struct index_inode *i);
/* The size that was shown of the inode was wrong, and is another one now. Whether that is so and the kernel may not
 * have heard of it; from then on it is taken to have. Who opens it then looks it up again: the kernel reads no further
 * than the size that it knows. */
void object_corrected(struct volume *v, uint64_t ino);
bool object_take_correction(struct volume *v, uint64_t ino);
/* Whether its content may be opened, once more for who has it open (`again`): 0; -EHOSTUNREACH: the size that is shown
 * is a guess; -EIO: it is refused; -ESTALE: to be looked up again. */
int object_may_open(struct volume *v, const struct index_inode *i, bool again);
/* Remembers what the metadata of the inode's version, *o, say, as far as they say something. Inside a transaction. 0 or
 * negative errno. */
int object_note(struct volume *v, const struct index_inode *i, const struct cloud_object *o);

/* --- looking into one (object_open.c) --------------------------------------------------------------- */

/* The end of the head that the bytes begin with; 0: it does not end there. */
size_t object_head_end(const void *bytes, size_t n);
/* The version that it says it has, which nobody has proved; 0: it says none, or one that no agent comes to. */
uint64_t object_head_version(const void *bytes, size_t n);
/* Whether they are an age file's, of whatever version. */
bool object_is_age(const void *bytes, size_t n);

/* The key to an object, and what it takes to use it. */
struct object_key {
    uint8_t key[CRYPT_KEY];
    uint64_t head_size;
    uint64_t plain;                 /* bytes */
    uint64_t version;
    bool ours;                      /* it has our stanza */
};

/* An object that is to be opened. Bytes are copied. */
struct object_question {
    const char *key;                /* below the drive's prefix */
    const void *head;
    size_t n;
    uint64_t size;                  /* of the object */
    const struct cloud_meta *meta;  /* what is beside it; only sizes and bindings are looked at */
};
/* Asks cryptd for the key of the object that begins with this head, and judges whether it is the one that belongs
 * there, in the newest version that was seen. done(e, key, arg) once, from the loop. When it is refused (e) the log has
 * an event: -EBADE, -ENOKEY, -EUCLEAN, -EOPNOTSUPP, -EMSGSIZE, -ENODATA (its size), -EXDEV (made for another name),
 * -EREMCHG (older than one that was seen; then `key` says which it is). Other failures say nothing of the object. */
typedef void object_opened_fn(const struct error *e, const struct object_key *key, void *arg);
void object_open(struct volume *v, const struct object_question *q, object_opened_fn *done, void *arg);
/* The same by what is known now. The other one waits for the first reading of what other agents tell (anchors.h). */
void object_open_now(struct volume *v, const struct object_question *q, object_opened_fn *done, void *arg);
/* Whether what is known of the inode's version says that it is older, or something else, than what was seen or told
 * since; and it is so in the cloud: the log hears of it, and it is refused from then on. */
bool object_is_behind(struct volume *v, const struct index_inode *i);
void object_refuse_behind(struct volume *v, const struct index_inode *i);
/* Whether a failure is one of the object, not of the way to it. */
bool object_is_refusal(int code);
/* The same, and then what a person is told of it: what is to be done, with a code that means no more than that. */
bool object_refusal(int code, struct error *ret);
/* The log hears of an object, or bytes of it, that are not what they should be. */
void object_refused(struct volume *v, const char *key, const struct error *e);
/* The same, kept with the inode for as long as it has that version, so that it is not fetched again and again. */
void object_note_fault(struct volume *v, uint64_t ino, const char *etag, int code, uint64_t version);
/* What is wrong with the inode's version, as a sentence; NULL: nothing is known to be. */
const char *object_fault(struct volume *v, const struct index_inode *i);
/* Its owner says that what is refused for being older, or something else, than what was there was restored on purpose.
 * In a transaction. 0, -EINVAL (it is not refused for that), or another negative errno. */
int object_accept(struct volume *v, uint64_t ino);

/* Opens the chunks from number `first` on that n bytes of the object are: whole ones, but for its last one, and at most
 * OBJECT_UNSEAL_MAX. done(e, plain, length, arg) once, from the loop; plain is borrowed for the call, and with e->code
 * -EBADMSG what comes before the first chunk that did not open. Nobody cancels. Bytes are copied. */
enum { OBJECT_UNSEAL_MAX = 16 };
typedef void object_unsealed_fn(const struct error *e, const uint8_t *plain, size_t length, void *arg);
void object_unseal(struct volume *v, const struct object_key *key, uint64_t first, const void *bytes, size_t n,
                   object_unsealed_fn *done, void *arg);
/* The cache is being closed: what waits for a place ends with -ECANCELED. */
void object_unseal_end_all(struct cache *c);

/* Asks for the first bytes of the object `o`, whose metadata is known, and completes that: its kind and size as if they
 * were in the metadata (looked_into). done(e, arg) once, from the loop, with e->code 0, or why it cannot be. `o` is
 * borrowed until then. The result is to be dropped by object_look_end(), which also ends it early. */
struct object_look;
typedef void object_looked_fn(const struct error *e, void *arg);
struct object_look *object_look(struct volume *v, const char *key, struct cloud_object *o, object_looked_fn *done,
                                void *arg);
void object_look_end(struct object_look *l);   /* NULL is fine */

/* The binding of an object to another key below the prefix. done(e, binding, arg) once, from the loop; binding NULL
 * with e->code 0: it needs none. */
typedef void object_bound_fn(const struct error *e, const uint8_t *binding, void *arg);
void object_bind(struct volume *v, const char *to_key, const void *head, size_t n, object_bound_fn *done, void *arg);
