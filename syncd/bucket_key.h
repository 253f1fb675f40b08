/* Keys of objects as people and programs give them. A key is taken as it is or refused, never mended: who deletes
 * "a/../b" would otherwise delete "b". Pure. */
#pragma once

#include "common/error.h"

enum { BUCKET_KEY_MAX = 1024 };   /* bytes, as S3 has it */

/* 0; -EINVAL when it is missing, too long, no UTF-8, or has characters that are no text; -EPERM when one of its
 * components is "." or "..", which what stands between a URL and the cloud takes out. Each with a sentence, in which
 * `member` names it. */
int bucket_key_check(const char *member, const char *key, struct error *e);

/* The key of `name` in the folder `folder` ("/photos/2026", "photos/2026/", "/", NULL), with `tail` behind it ("/"
 * makes a folder's marker). 0 and a key for free(), or as above; -EINVAL also for a name with a slash. `member` names
 * the name. */
int bucket_key_make(const char *member, const char *folder, const char *name, const char *tail, char **ret,
                    struct error *e);
