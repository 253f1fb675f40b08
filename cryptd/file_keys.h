/* Keys of files and objects that were worked with of late, ready for use: to open a wrapped one, and to derive from it
 * what a chunk is sealed with, takes as long as a chunk does. They lie with the keys of their drive, in locked memory,
 * and are wiped with those. */
#pragma once

#include "cryptd/cache_chunk.h"

enum { FILE_KEYS_KEPT = 8 };

/* As its kind says. To be kept in locked memory. */
struct file_key {
    struct cache_keys cache;
    uint8_t payload[KEY_SIZE];
};

/* Begins as zeros. Only the loop's thread works with it. */
struct file_keys {
    struct {
        uint8_t wrapped[WRAPPED_KEY_SIZE];   /* what it is found by; zeros: nothing */
        struct file_key key;
    } kept[FILE_KEYS_KEPT];
    unsigned next;                           /* the place of the one that was kept longest */
};

/* 0 and *ret, to be wiped; or as wrapped_key_open(). */
int file_keys_open(struct file_keys *f, const struct drive_keys *k, enum wrapped_kind kind, const void *wrapped,
                   size_t n, struct file_key *ret, struct error *e);
