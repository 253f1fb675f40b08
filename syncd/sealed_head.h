/* The head of a sealed cache file (common/sealed.h): the key of that file, wrapped. */
#pragma once

#include "common/sealed.h"

/* Writes it. 0 or negative errno. */
int sealed_head_write(int fd, const uint8_t key[CRYPT_KEY]);
/* 0 and the key; -ENODATA (nothing is there), -EUCLEAN (damaged), -EOPNOTSUPP (of a newer version), or -EIO. */
int sealed_head_read(int fd, uint8_t key[CRYPT_KEY]);
