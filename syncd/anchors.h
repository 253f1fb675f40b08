/* Version anchors of encrypted objects, carried between the agents of one drive inside its bucket: each agent writes
 * what it has put, removed or accepted to segments below ANCHORS_FOLDER, encrypted objects that are bound to their
 * names and have versions of their own, and reads those of the others (docs/FORMATS.md, "Version anchors"). Drives
 * without keys have none: then all of this does nothing. */
#pragma once

#include <stdbool.h>

#include "syncd/volume_internal.h"

#define ANCHORS_FOLDER ".landfall-versions"

void anchors_new(struct volume *v);
/* After keys_stop(). What was begun ends in the cloud or does not; nothing of it is lost. */
void anchors_free(struct volume *v);

/* Whether the key, below the drive's prefix, is kept for segments: it is not shown, and no program can make it. */
bool anchors_reserve(const struct volume *v, const char *key);
/* The index has something to tell, or will have with this transaction. */
void anchors_changed(struct volume *v);
/* Somebody looks at the drive, and the cloud answers: what the others tell is read, if that is due. */
void anchors_look(struct volume *v);

/* What is to be told is written at once, also while the drive is paused: it may be the last time for long. done(arg)
 * once, in a turn of the loop of its own: when it was, or cannot be now, or takes too long, or the drive is closed. */
void anchors_tell(struct volume *v, void (*done)(void *arg), void *arg);

/* The drive has other keys: what could not be read is read again, before anything else is. */
void anchors_keys_changed(struct volume *v);

/* Whether segments were never read, and may be now: then anchors_await() calls fn(arg) once, from the loop, when they
 * were, or it took too long, or the drive is closed. */
bool anchors_unread(const struct volume *v);
void anchors_await(struct volume *v, void (*fn)(void *arg), void *arg);

/* Segments that are missing, older than they were, or cannot be read. */
uint64_t anchors_faulty(const struct volume *v);
/* One of them, as a sentence for a person that says what to do. False: there is none. */
bool anchors_trouble(const struct volume *v, struct error *ret);
