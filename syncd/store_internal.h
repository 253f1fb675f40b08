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
/* -ENOENT when the last sql_run() that returned `r` changed nothing. */
int store_changed(struct store *s, int r);
