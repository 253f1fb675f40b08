/* What the cloud has in plain on a drive that encrypts its objects, encrypted when somebody asks for it: listed in the
 * index (store_encrypt.h), handed to the uploader a few files at a time, which does the work (upload_reseal.c). */
#pragma once

#include "syncd/volume_internal.h"

void encrypter_new(struct volume *v);
/* Begins nothing any more, and who waits hears of it; and after lister_free(), which answers what it still waits for,
 * goes. */
void encrypter_stop(struct volume *v);
void encrypter_free(struct volume *v);
/* Something has come to its end, or may go on: looks again soon, if anything is left. */
void encrypter_kick(struct volume *v);
/* Something was listed. */
void encrypter_begin(struct volume *v);
/* Whether the inode waits to be encrypted, or is just being encrypted for that. */
bool encrypter_marked(struct volume *v, uint64_t ino);
/* The uploader could not do it: whether it is not to be tried again. */
bool encrypter_gives_up(struct volume *v, uint64_t ino, const struct error *e);
