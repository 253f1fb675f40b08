/* Preloaded (`hesitant`): a daemon stands still now and then, before and after calls at which it meets others: other
 * threads, other processes, the disk. Nothing may depend on that. It spins: sandboxes let nobody sleep. Programs that
 * are none of Landfall's are left alone. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

static bool hesitant;

__attribute__((constructor)) static void look_who_it_is(void)
{
    hesitant = strncmp(program_invocation_short_name, "landfall", strlen("landfall")) == 0;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

/* xorshift64: George Marsaglia, "Xorshift RNGs", 2003. */
static uint64_t dice(void)
{
    static _Thread_local uint64_t state;

    if (!state)
        state = now_ns() ^ (uintptr_t)&state;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void spin(uint64_t ns)
{
    uint64_t until = now_ns() + ns;

    while (now_ns() < until)
        ;
}

/* `weight`: how often, of ten million calls: once for very long, ten times for long, a hundred times briefly. */
static void hesitate(unsigned weight)
{
    static const struct {
        unsigned often;
        uint64_t most_ns;
    } pauses[] = { { 10, 400 * MS }, { 100, 30 * MS }, { 1000, 3 * MS } };
    uint64_t r = dice() % 10000000 / weight;
    int kept = errno;

    for (size_t i = 0; hesitant && i < sizeof(pauses) / sizeof(*pauses); i++)
        if (r < pauses[i].often) {
            spin(dice() % pauses[i].most_ns);
            break;
        }
    errno = kept;
}

#define HESITANT(weight, type, name, parameters, arguments) \
    type name parameters \
    { \
        static type(*real) parameters; \
        type r; \
 \
        if (!real) \
            *(void **)&real = dlsym(RTLD_NEXT, #name); \
        hesitate(weight); \
        r = real arguments; \
        hesitate(weight); \
        return r; \
    }

HESITANT(10, int, epoll_wait, (int fd, struct epoll_event *events, int n, int ms), (fd, events, n, ms))
HESITANT(5, ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
HESITANT(5, ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
HESITANT(1, int, pthread_mutex_unlock, (pthread_mutex_t *m), (m))
HESITANT(5, int, pthread_cond_signal, (pthread_cond_t *c), (c))
HESITANT(5, int, pthread_cond_broadcast, (pthread_cond_t *c), (c))
HESITANT(4, int, close, (int fd), (fd))
HESITANT(20, int, fsync, (int fd), (fd))
HESITANT(20, int, fdatasync, (int fd), (fd))
HESITANT(20, int, rename, (const char *from, const char *to), (from, to))
