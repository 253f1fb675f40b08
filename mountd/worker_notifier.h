/* The process that writes a worker's notifications. It is told what over a SOCK_SEQPACKET channel: one message is one
 * notification (linux/fuse.h: struct fuse_out_header with `unique` 0, and what follows), written in the order given;
 * for each it sends one byte back when the kernel has taken it. */
#pragma once

#include <limits.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

enum { NOTICE_MAX = NAME_MAX + 64 };   /* bytes of a notification */

/* FUSE_NOTIFY_STORE: what the kernel is to keep of a file lies in memory that both processes have. */
struct notice_store {
    struct fuse_out_header head;       /* `len` is without `at`, and with the bytes */
    struct fuse_notify_store_out out;
    uint64_t at;                       /* in that memory */
};

/* Starts it; before the worker's sandbox, which allows no processes. `memory`, of `size` bytes, is shared with it by
 * then. Its channel (owned) and *ret_pid, or a negative errno. It ends when the channel is closed. */
int notifier_start(const void *memory, size_t size, pid_t *ret_pid);
/* Gives it the FUSE connection, which stays the caller's as well. 0 or negative errno. */
int notifier_connect(int channel, int fuse);
/* Its sandbox: it receives, writes and answers, and can do nothing else. 0, or a negative errno with a sentence. */
int notifier_sandbox(struct error *e);
