/* The page that holds every key of the process: locked into memory, left out of core dumps, wiped in
 * a child. Keys live here and nowhere else; what OpenSSL copies from them it wipes itself. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { KEY_SIZE = 32 };

struct secret {
    uint8_t root_key[KEY_SIZE];   /* only until the key store is open */
    uint8_t data_key[KEY_SIZE];   /* of the key store; everything sealed hangs on it */
    uint8_t work_key[KEY_SIZE];   /* derived for one operation, wiped after it */
    uint8_t text[128];            /* a key file as read, wiped once parsed */
};

/* A zeroed page. 0 and *ret, or a negative errno with a sentence. */
int secret_new(struct secret **ret, struct error *e);
void secret_free(struct secret *s);   /* wipes; NULL is fine */
void secret_freep(struct secret **s);

/* Overwrites memory in a way the compiler keeps. */
void secret_wipe(void *p, size_t n);

/* Random bytes from the kernel; aborts when it gives none. */
void secret_random(void *p, size_t n);
