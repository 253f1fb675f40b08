/* What unlocks the key store, and where it comes from: a root key of 32 bytes, or a passphrase.
 *
 * A key is exactly 32 bytes, or 64 hexadecimal digits with or without a newline. A passphrase is 1 to 1024 bytes but
 * for a newline at its end, without NUL bytes and other newlines.
 *
 * In this order, the first there is: a passphrase from a descriptor, or from the credential landfall.passphrase; a key
 * from a file, or from the credential landfall.key. What the store is to be unlocked with from now on, if anything: a
 * passphrase from a descriptor or from landfall.new-passphrase, a key from a descriptor or from landfall.new-key.
 * Never from an argument or the environment. */
#pragma once

#include "common/error.h"
#include "cryptd/secret.h"

struct root_sources {
    const char *key_file;         /* the setting KeyFile; "": none */
    const char *credentials;      /* the directory of systemd's credentials; NULL: none */
    int passphrase, new_passphrase, new_key;   /* descriptors, the caller's; -1: none */
};

/* Reads s->now and s->next (ROOT_NONE: nothing is to change). A key file must be a regular file of our user or root
 * that neither group nor others can read. 0, -ENOKEY when there is nothing, -EPERM, -EINVAL, or what open(2) says,
 * with a sentence. */
int root_read(const struct root_sources *from, struct secret *s, struct error *e);

/* The key alone, into s->now. */
int root_key_read(const char *path, const char *credentials, struct secret *s, struct error *e);
