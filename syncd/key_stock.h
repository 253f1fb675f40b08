/* Keys for new cache files of a drive, made by cryptd ahead of them: opening a file must not wait for one. */
#pragma once

#include "common/error.h"
#include "common/sealed.h"

struct key_stock;

/* Begins to fill. */
struct key_stock *key_stock_new(struct loop *l, const struct sealed_io *io);
/* Who waits is told -ECANCELED. NULL is fine. */
void key_stock_free(struct key_stock *s);

/* 0 and a key; -EAGAIN: there is none at the moment. */
int key_stock_take(struct key_stock *s, uint8_t key[CRYPT_KEY]);
/* There are fewer than one request may take. */
bool key_stock_empty(const struct key_stock *s);
/* Calls done(e, arg), at once or later: there are keys (e->code 0), though others may take them first; or there will be
 * none for now, with the reason. */
typedef void key_stock_fn(const struct error *e, void *arg);
void key_stock_wait(struct key_stock *s, key_stock_fn *done, void *arg);
/* Drops who waits with this arg. NULL is fine. */
void key_stock_forget(struct key_stock *s, const void *arg);
/* The drive has newer keys: those that were made are thrown away. */
void key_stock_renew(struct key_stock *s);
