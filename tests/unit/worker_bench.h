/* A worker on a bench: the kernel, mountd and syncd around it are played by the test, in one process
 * and on one loop. The kernel's end of the FUSE connection is a SOCK_SEQPACKET socket, over which a
 * message is a message as on /dev/fuse. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/fuse.h>

#include "mountd/worker.h"
#include "tests/unit/fake_syncd.h"
#include "tests/unit/ipc_fixture.h"

enum { BENCH_UID = 4242, BENCH_TAG = 77, BENCH_PACKETS = 256, BENCH_PACKET_MAX = 300 * 1024 };

/* What the worker wrote to the kernel. */
struct packet {
    struct fuse_out_header head;
    char *body;
    size_t size;          /* of the body */
};

struct bench {
    struct loop *loop;
    struct fake_syncd *syncd;
    struct ipc_server *mountd;
    struct ipc_peer *control;
    struct worker *worker;
    int kernel;
    bool old_kernel;      /* it does not send again, and has no passthrough */
    int owed;             /* of owed_make() */
    size_t init_size;     /* of its FUSE_INIT; 0: as that of a recent kernel */
    struct event *readable;
    struct packet packets[BENCH_PACKETS];
    size_t n_packets;
    uint64_t unique;
    uint32_t uid;         /* that requests come from */
    unsigned ready;       /* WorkerReady events */
    bool no_backing;      /* mountd refuses BackingOpen */
    unsigned backings;    /* registered; the last one's number */
    unsigned closed_backings;
    uint32_t closed_backing;
};

/* A worker that has been started with FUSE_INIT and has its channel to syncd. */
struct bench *bench_new(void);
/* The same with a kernel before 6.9. */
struct bench *bench_new_old_kernel(void);
void bench_free(struct bench *b);
/* What the worker wrote so far is forgotten. */
void bench_forget(struct bench *b);
/* The worker dies and another takes its place, as a replay. */
void bench_replace_worker(struct bench *b);
/* Gives the worker a channel to syncd. */
void bench_attach(struct bench *b);

/* Sends a request; its body is the parts in a row, ending in NULL: pointer, size_t. Returns its number. */
uint64_t bench_send(struct bench *b, uint32_t opcode, uint64_t node, ...) __attribute__((sentinel));
/* The answer to a request; waits for it. The body is valid until the bench ends. */
const struct packet *bench_answer(struct bench *b, uint64_t unique);
bool bench_answered(const struct bench *b, uint64_t unique);
/* A notification (unique 0) of that code; waits for it. */
const struct packet *bench_notified(struct bench *b, int code);

/* Whole requests. Each asserts that the answer has `error` (0 or negative errno). */
uint64_t bench_open(struct bench *b, uint64_t ino, int flags);
void bench_release(struct bench *b, uint64_t ino, int flags);
uint64_t bench_send_read(struct bench *b, uint64_t ino, uint64_t offset, uint32_t size, int flags);
uint64_t bench_send_write(struct bench *b, uint64_t ino, uint64_t offset, const char *data, uint32_t size);
#define BENCH_PART(x) &(x), sizeof(x)
