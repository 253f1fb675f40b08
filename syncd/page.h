/* One page of a list reply: messages until IPC_PAGE_BYTES are reached. */
#pragma once

#include <stdbool.h>
#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

#include "common/alloc.h"
#include "common/ipc.h"

struct page {
    ProtobufCMessage **items;    /* the array is the page's, the messages whose they were */
    size_t n, bytes;             /* bytes: what they are, packed as elements of a list, at most */
};

/* Adds m, or returns false when the page is full. The first one always fits. */
static inline bool page_add(struct page *p, ProtobufCMessage *m)
{
    size_t bytes = protobuf_c_message_get_packed_size(m) + 8;   /* tag and length of the element */

    if (p->n && p->bytes + bytes > IPC_PAGE_BYTES)
        return false;
    *xadd(p->items, p->n) = m;
    p->bytes += bytes;
    return true;
}

/* Frees the array; with `owned` the messages too. */
static inline void page_free(struct page *p, bool owned)
{
    for (size_t i = 0; owned && i < p->n; i++)
        protobuf_c_message_free_unpacked(p->items[i], NULL);
    free(p->items);
    *p = (struct page){ 0 };
}
