/* struct store as store.c and its tables see it. Only syncd/store*.c includes this. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "syncd/store.h"
#include "syncd/store_sql.h"

struct store {
    struct sql *sql;
};

/* The message packed, in memory of the caller; aborts without memory. */
void *store_pack(const ProtobufCMessage *m, size_t *ret_size);
/* Column as a message of the type, or NULL when it does not unpack. */
ProtobufCMessage *store_unpack(struct sql_query *q, int column, const ProtobufCMessageDescriptor *d);
/* Accounts from before names were unique have none in the table. Each gets its own unless another account has it:
 * those that share a name all stay, and the name is taken until the last of them has gone. */
int store_account_claim_names(struct store *s);
/* What was claimed for that drive goes; to be wiped from the log. */
int store_kept_end_claimed(struct store *s, const char *heir);
/* -ENOENT when the last sql_run() that returned `r` changed nothing. */
int store_changed(struct store *s, int r);
