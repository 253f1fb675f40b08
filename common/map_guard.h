/* Shared maps of files whose disk may fail. A page that cannot be read, or not be made writable, is told by SIGBUS,
 * which would end the process. Here the whole map is replaced by private memory instead, with what `lost` puts there,
 * and the access goes on in that: the user chooses contents that are safe for whoever is in the middle of something,
 * and looks at `is_lost` where it begins anything. */
#pragma once

#include <signal.h>
#include <stddef.h>
#include <sys/queue.h>

struct map_guard {
    LIST_ENTRY(map_guard) next;
    char *at;                          /* NULL: guards nothing */
    size_t size;
    void (*lost)(void *at);            /* called in a signal handler, with zeros */
    volatile sig_atomic_t is_lost;
};

/* By the thread that alone touches guarded maps. The guard is the caller's and stays where it is until it is
 * removed. */
void map_guard_add(struct map_guard *g, void *at, size_t size, void (*lost)(void *at));
/* Before the map is unmapped. Nothing when it guards nothing. */
void map_guard_remove(struct map_guard *g);
