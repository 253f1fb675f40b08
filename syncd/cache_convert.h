/* The form of pairs of cache files: plain, or sealed (common/sealed.h) under the drive's newest keys. A drive that is
 * to have another form than what lies in its cache, or newer keys, is in use all the time: what comes has the new form,
 * and what is there gets it behind, a few pairs at a time, those that somebody uses once nobody does.
 *
 * A conversion copies the bytes into a second file, or the other one of the pair, and one call makes that the pair's
 * bytes: what crashes before or after has one of the two, whole. */
#pragma once

#include "syncd/cache.h"

/* What a pair lacks. */
enum convert_to { CONVERT_NOTHING, CONVERT_SEAL, CONVERT_UNSEAL, CONVERT_RESEAL, CONVERT_KINDS };

/* --- cache_convert.c: all of them ------------------------------------------------------------------------- */

/* Begins to look through the folder. For a cache with keys; for others nothing happens. */
void convert_start(struct cache *c);
void convert_end(struct cache *c);
/* The drive is to have another form, or has newer keys: looks through the folder anew. done(e, n, arg), which may be
 * NULL, when no key is wrapped under an older epoch any more: n were. */
void convert_look(struct cache *c, volume_rotated_fn *done, void *arg);
/* The drive's keys were opened, and may be newer ones. */
void convert_keys_opened(struct cache *c);
/* A pair went out of use. */
void convert_kick(struct cache *c);
/* Whether it is being encrypted right now. */
bool convert_seals(const struct cache *c, uint64_t ino);

/* Pairs that have another form than they shall have; whose keys are wrapped under an older epoch; whose keys were made
 * in one. */
struct convert_left {
    uint64_t form, wrapped, made;
    bool known;                   /* false: nobody has looked at all of them yet */
};
struct convert_left convert_left(const struct cache *c);

/* --- cache_convert_pair.c: one of them --------------------------------------------------------------------- */

struct conversion;
/* How it ended: 0; -EBUSY: it is in use, or was used meanwhile; or what went wrong. Then it is as it was. */
typedef void conversion_fn(uint64_t ino, int code, void *arg);

/* Of the drive's keys; 0: they were never open. */
uint32_t convert_newest_epoch(const struct cache *c);
/* What the pair lacks, by what lies in the folder. *ret_old: and its key is under an older epoch, in old_key. */
enum convert_to conversion_of(struct cache *c, uint64_t ino, uint8_t old_key[CRYPT_KEY], bool *ret_old);
/* What is plain beside the sealed bytes of a pair that nobody uses goes. */
void conversion_clear(struct cache *c, uint64_t ino);
/* 0: done() will be called once, from the loop, unless it is ended; -EALREADY: nothing is to be done; or as for
 * conversion_fn. */
int conversion_begin(struct cache *c, uint64_t ino, conversion_fn *done, void *arg, struct conversion **ret);
/* For the end of the cache, when cryptd has answered all. */
void conversion_end(struct conversion *t);
/* It comes to nothing soon, unless it is done already. */
void conversion_stop(struct conversion *t);

/* --- cache_rewrap.c: keys of pairs under the newest epoch --------------------------------------------------- */

struct rewrap;
/* How many are under way; the first error, taken by who asks. */
struct rewrap *rewrap_new(struct cache *c, void (*ended)(void *arg), void *arg);
void rewrap_free(struct rewrap *w);
/* Of a sealed pair whose key is under an older epoch. ended() is called, later, when it is done or has failed. */
void rewrap_begin(struct rewrap *w, uint64_t ino, const uint8_t key[CRYPT_KEY]);
size_t rewrap_running(const struct rewrap *w);
/* What was rewrapped since it was asked for last. */
uint64_t rewrap_take_count(struct rewrap *w, struct error *e);
