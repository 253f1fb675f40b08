/* The memory that holds keys and what is opened with them: locked, left out of core dumps, wiped in a child. Keys live
 * here and, while a function works with them, on its stack, which is wiped; what OpenSSL copies from them it wipes
 * itself. process_lock_memory() locks stacks and OpenSSL's copies too, where the limit allows it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { KEY_SIZE = 32 };

enum { PASSPHRASE_MAX = 1024 };
enum root_kind { ROOT_NONE = 0, ROOT_KEY = 1, ROOT_PASSPHRASE = 2 };   /* numbers of the key store's format */

/* What unlocks the key store. */
struct root {
    enum root_kind kind;
    uint8_t key[KEY_SIZE];            /* of ROOT_KEY */
    uint8_t passphrase[PASSPHRASE_MAX + 2];   /* as read: perhaps a newline, perhaps too long */
    size_t passphrase_len;
};

struct secret {
    struct root now, next;        /* only until the key store is open; next: what unlocks it from now on */
    uint8_t root_key[KEY_SIZE];   /* the key, or what a passphrase became */
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

/* A locked array of `n` slots of `size` bytes. 0 and *ret, or a negative errno with a sentence. Only the loop's thread
 * takes and gives. */
struct secret_pool;
int secret_pool_new(size_t n, size_t size, struct secret_pool **ret, struct error *e);
void secret_pool_free(struct secret_pool *p);           /* wipes; NULL is fine */
void *secret_pool_take(struct secret_pool *p);          /* zeroed; NULL: all are taken */
void secret_pool_give(struct secret_pool *p, void *slot);   /* wipes; NULL is fine */
