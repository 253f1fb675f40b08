/* What a fake_syncd needs to have sealed cache files: a real cryptd, which is a process of its own and can be killed,
 * the keys of a drive there, and keys of files. Everything waits by turning the loop, but what the fake_syncd asks. */
#pragma once

#include <sys/types.h>

#include "common/sealed.h"

enum { FAKE_SEAL_KEYS = 64, FAKE_SEAL_BLOB_MAX = 4096 };

struct fake_seal {
    struct loop *loop;           /* borrowed */
    char dir[40], path[64];
    pid_t cryptd;                /* 0: killed */
    struct ipc_client *client;
    struct crypt *crypt;
    struct sealed_io io;         /* as syncd asks */
    uint8_t blob[FAKE_SEAL_BLOB_MAX];
    size_t blob_size;
    uint64_t handle;
    uint8_t keys[FAKE_SEAL_KEYS][CRYPT_KEY];
    size_t n_keys;               /* given away */
    struct call *again;          /* calls that wait for the drive's keys */
    bool answered;               /* of what is waited for */
    int code;
};

struct fake_seal *fake_seal_new(struct loop *l);
void fake_seal_free(struct fake_seal *s);
void fake_seal_kill(struct fake_seal *s);
/* Starts it again, with the drive's keys open. */
void fake_seal_start(struct fake_seal *s);
/* The worker's end of a channel. */
int fake_seal_lend(struct fake_seal *s);
/* The key of a new file. */
const uint8_t *fake_seal_key(struct fake_seal *s);

/* Opens chunk c of a file of `end` bytes as it is now: its code, and in out CRYPT_CHUNK bytes. */
int fake_seal_open(struct fake_seal *s, struct sealed *file, uint64_t c, uint64_t end, uint8_t *out);
