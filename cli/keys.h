/* The key pair of an S3 account, from where a secret may stand: the environment or a file. Never
 * from arguments, which every user of the machine can read. */
#pragma once

#include "common/error.h"

enum { KEY_TEXT_MAX = 256 };

struct key_pair {
    char access[KEY_TEXT_MAX], secret[KEY_TEXT_MAX];
};

/* Reads `path`: lines "aws_access_key_id = ..." and "aws_secret_access_key = ..." in any case, as in
 * an AWS credentials file or as a shell would assign them; the first of each counts. With path NULL
 * the environment variables of those names. 0, or a negative errno with a sentence that holds no key. */
int keys_read(const char *path, struct key_pair *ret, struct error *e);
void keys_wipe(struct key_pair *k);
