/* A whole syncd in the test's process, with everybody it talks to: a frontd that asks, a mountd that
 * reports, a cryptd that seals by turning bits. Its volumes are fake_volume.c's. One loop, one thread. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/ipc.h"
#include "syncd/syncd.h"

enum { MOUNTED_MOST = 16 };

struct fixture {
    struct loop *loop;
    char dir[64], socket[96], cryptd_socket[96], mount_root[96], cloud[96];   /* cloud: a folder that holds buckets */
    struct config *config;
    struct ipc_peer_uid peers[4];
    struct syncd *syncd;
    struct ipc_server *cryptd;
    struct ipc_client *frontd, *mountd;
    /* the mountd */
    const char *mount_failure;          /* NULL: mounts work; else why not */
    const char *unmount_failure;
    char mounted[MOUNTED_MOST][64];     /* drive ids */
    size_t n_mounted;
    size_t lists;                       /* times it has read the list to its end */
    /* the cryptd */
    size_t sealed, unsealed;
    char last_purpose[128];
    bool keys_lost;                     /* it has another key store now */
};

int fixture_set_up(void **state);
/* One on a folder that is empty, or that another one left when it was killed. */
struct fixture *fixture_on(const char *dir);
int fixture_tear_down(void **state);
/* The daemon ends and starts again on the same state. */
void fixture_restart(struct fixture *f);

/* An answer: a copy of the reply, or the error. */
struct answer {
    struct error e;
    Lf__Envelope *reply;                /* NULL with an error */
    int fd;                             /* a descriptor that came along, -1 */
    bool there;
};
void answer_free(struct answer *a);

/* Asks as frontd (or mountd) and turns the loop until the answer is there. */
struct answer fixture_ask(struct fixture *f, Lf__Envelope *request);
struct answer fixture_ask_as_mountd(struct fixture *f, Lf__Envelope *request);
/* Fails the test unless the answer is this error and its sentence has this in it. */
void expect_error(struct answer a, int code, const char *part);

/* An account of type LocalFolder on f->cloud, and a drive on its bucket "bucket". The ids are the caller's to free. */
char *fixture_account(struct fixture *f);
struct answer fixture_insert(struct fixture *f, Lf__CloudDrive *drive);
char *fixture_drive(struct fixture *f, const char *account, const char *name);
bool fixture_is_mounted(const struct fixture *f, const char *drive_id);

/* Whether "<dir><name>" is there. */
bool there(const char *dir, const char *name);

#define wait_until(f, condition) \
    do { \
        int64_t end_ = loop_now_ns() + 60 * INT64_C(1000000000); \
        while (!(condition)) { \
            if (loop_now_ns() > end_) \
                fail_msg("waited in vain for %s", #condition); \
            fixture_turn(f); \
        } \
    } while (0)
void fixture_turn(struct fixture *f);

/* Whether the sealed keys stand in the state database or its log, by their nonce. */
struct store_keys;
bool fixture_has_blob(const struct fixture *f, const struct store_keys *s);
