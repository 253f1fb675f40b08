/* The head of a sealed cache file (common/sealed.h): the key of that file, wrapped. */
#pragma once

#include "common/sealed.h"

/* Writes it, for a file that gets this key now. 0 or negative errno. */
int sealed_head_write(int fd, const uint8_t key[CRYPT_KEY]);
/* 0 and the key; -ENODATA (nothing is there), -EUCLEAN (damaged), -EOPNOTSUPP (of a newer version), or -EIO. */
int sealed_head_read(int fd, uint8_t key[CRYPT_KEY]);
/* The same, and the epoch in which the key was made, whatever it is wrapped under by now. */
int sealed_head_made(int fd, uint8_t key[CRYPT_KEY], uint32_t *ret_made);
/* The same key, wrapped otherwise. 0 or negative errno. */
int sealed_head_rewrap(int fd, const uint8_t key[CRYPT_KEY]);

/* The epoch under which a key is wrapped, and the 16 bytes that tell it from other keys, however it is wrapped. */
uint32_t sealed_key_epoch(const uint8_t key[CRYPT_KEY]);
const uint8_t *sealed_key_id(const uint8_t key[CRYPT_KEY]);
