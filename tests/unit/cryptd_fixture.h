/* A cryptd in this process, with clients of it, for tests and the benchmark: the real handlers, server and pool, on one
 * loop that ask() turns. */
#pragma once

#include <stdbool.h>

#include "common/cleanup.h"
#include "cryptd/serve.h"

#define FIXTURE_DRIVE "01234567-89ab-4def-8123-456789abcdef"
#define FIXTURE_OTHER "11234567-89ab-4def-8123-456789abcdef"

struct cryptd_fixture {
    struct serve serve;
    struct ipc_peer_uid peers[3];
    char dir[40], path[64];
    int code;                    /* of the last ask(): 0 or a negative errno */
    struct error error;
    Lf__Envelope *reply;         /* of the last ask(); NULL when it failed */
    unsigned under_way;
};

/* Aborts the test program when it cannot. */
struct cryptd_fixture *cryptd_fixture_new(unsigned threads);
void cryptd_fixture_free(struct cryptd_fixture *f);

struct ipc_client *cryptd_client(struct cryptd_fixture *f, enum role role);   /* over the socket */
struct ipc_client *cryptd_channel(struct cryptd_fixture *f, int fd);          /* a worker over that channel */

/* Asks and turns the loop until there is an answer: f->reply, f->code, f->error. Returns f->code. */
int ask(struct cryptd_fixture *f, struct ipc_client *c, Lf__Envelope *env, int fd);

/* Turns the loop as long as there is something to do at once. */
void cryptd_idle(struct cryptd_fixture *f);

/* Memory to share: the base, and the descriptor in *ret_fd. */
uint8_t *shared_memory(size_t size, int seals, int *ret_fd);
int ask_region(struct cryptd_fixture *f, struct ipc_client *c, int fd);

/* A new drive's keys, opened; the handle. With blob its sealed form is copied there. */
uint64_t ask_drive(struct cryptd_fixture *f, struct ipc_client *c, const char *drive, uint8_t *blob, size_t *ret_n);
int ask_open(struct cryptd_fixture *f, struct ipc_client *c, const char *drive, const uint8_t *blob, size_t n,
             uint64_t replace, uint64_t *ret);
/* Lends the handle's keys: a worker's client, or NULL and f->code. */
struct ipc_client *ask_lend(struct cryptd_fixture *f, struct ipc_client *c, uint64_t handle);

/* Of a cache file, WRAPPED_KEY_SIZE bytes. */
int ask_cache_key(struct cryptd_fixture *f, struct ipc_client *c, uint64_t handle, uint8_t *out);

/* A call of bulk work; `handle` 0: none. Codes and records of f->reply are copied back into the chunks. */
struct crypt_ask {
    uint64_t handle;
    enum form from, to;
    const uint8_t *from_key, *to_key;
    struct bulk_chunk *chunks;
    size_t n;
};
int ask_crypt(struct cryptd_fixture *f, struct ipc_client *c, const struct crypt_ask *call);
/* The same without waiting: f->under_way is lowered when it is answered. */
void begin_crypt(struct cryptd_fixture *f, struct ipc_client *c, const struct crypt_ask *call);
