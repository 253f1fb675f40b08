/* What audit.c (appending) and audit_check.c (reading) share. */
#pragma once

#include <sys/queue.h>

#include "common/number.h"
#include "syncd/audit_chain.h"
#include "syncd/syncd.h"

/* Numbers that are left out behind a damaged end: of what stood there some may have been shown to somebody. */
enum { SKIPPED = 1000000 };

struct audit_call;

struct audit_syncing {
    struct audit *audit;          /* NULL: closed */
    int fd;
};

struct audit {
    struct loop *loop;
    int dir, fd;                  /* fd: of the newest file; -1: none is begun */
    struct audit_head head;
    uint64_t bytes, max_bytes;    /* of that file */
    size_t max_files;
    LIST_HEAD(, audit_call) calls;    /* whose first line is not written yet */
    struct audit_syncing *syncing;
    uint64_t synced_seq;
};

/* What was appended is to be on the disk soon. */
void audit_sync(struct audit *a);
