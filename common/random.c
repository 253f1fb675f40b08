/* Owns a thread's store of random bytes, each of which is given out once. Knows nothing of what they are for. */
#include "common/random.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* getrandom(2) is never cut short below 256 bytes. */
enum { IDS = 32 };

static _Thread_local struct {
    uint64_t ids[IDS];
    size_t left;
} store;

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Of a process that forks one thread lives on in the child, and this runs there. */
static void forget(void)
{
    store.left = 0;
}

static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, forget) != 0)
        abort();
}

static void fill(void)
{
    (void)pthread_once(&once, watch_forks);
    if (getrandom(store.ids, sizeof(store.ids), 0) != (ssize_t)sizeof(store.ids))
        abort();
    store.left = IDS;
}

uint64_t random_id(void)
{
    uint64_t id = 0;

    while (id == 0) {
        if (store.left == 0)
            fill();
        id = store.ids[--store.left];
    }
    return id;
}
