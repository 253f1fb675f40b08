/* A volume rig whose drive has keys and encrypts objects, with a real cryptd beside it. */
#pragma once

#include "tests/unit/volume_rig.h"

#include "syncd/keys.h"
#include "syncd/object.h"

/* As rig_set_up(). */
int sealed_set_up(void **state);
int sealed_set_up_folder(void **state);   /* over a LocalFolder */
int sealed_tear_down(void **state);
/* For rig_set_up_in(): keys, those of an earlier run if there was one, and nothing is encrypted. */
void sealed_prepare(struct rig *rig);
/* The drive's keys get a new epoch. */
void sealed_rotate(struct rig *rig);
/* cryptd is killed and comes back. */
void sealed_restart_cryptd(struct rig *rig);

/* Until nothing is pending; and as if it had been so for long, so that the next listing is believed. */
void sealed_settle(struct rig *rig);

/* The index is gone, once nothing is pending: what the cloud has is all that there is. */
void sealed_lose_index(struct rig *rig);

/* What is in the object as cryptd opens it under that name; the caller's. NULL: it does not open. */
char *sealed_content(struct rig *rig, const char *key, size_t *ret_n);
/* The object at the key is an age file with these bytes in it. */
void assert_sealed(struct rig *rig, const char *key, const void *bytes, size_t n);
/* The same, or as it is, if others have put it there plain. */
void assert_sealed_or_plain(struct rig *rig, const char *key, const void *bytes, size_t n);
/* An object as others make it, with the drive's recipient alone; the caller's. */
char *sealed_foreign(struct rig *rig, const void *bytes, size_t n, size_t *ret_n);

/* What a program gets that opens the file and reads the byte there: 1 and the byte, 0 behind the end, or a negative
 * errno. */
ssize_t sealed_read_byte(struct rig *rig, const char *name, uint64_t at, char *ret);

/* For volume_stream_open(): how it was answered. */
struct streamed {
    bool done;
    int code;
};
void sealed_streamed(const struct error *e, const struct volume_stream *stream, void *streamed);
