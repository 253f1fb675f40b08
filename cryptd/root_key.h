/* The root key, which unlocks the key store: 32 bytes that live outside the key store's directory.
 *
 * A key file holds exactly 32 bytes, or 64 hexadecimal digits with or without a newline. */
#pragma once

#include "common/error.h"
#include "cryptd/secret.h"

/* Reads it into s->root_key from `path` (the setting KeyFile), or when that is empty from landfall.key in
 * `credentials`, the directory of systemd's credentials (NULL: none). A key file must be a regular file of our
 * user or root that neither group nor others can read. 0, -ENOKEY when there is none, -EPERM, -EINVAL, or
 * what open(2) says, with a sentence. */
int root_key_read(const char *path, const char *credentials, struct secret *s, struct error *e);
