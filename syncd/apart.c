/* Owns threads that may hang, one for each piece of work. A thread tells of its end by the address of the piece in a
 * pipe; nothing is shared, so there is no lock. */
#include "syncd/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

struct apart {
    struct event *readable;
    int ends[2];                /* of the pipe */
    unsigned n, most;           /* under way */
};

struct piece {
    void (*work)(void *arg), (*done)(void *arg);
    void *arg;
    int told;                   /* the pipe */
};

static void *run(void *arg)
{
    struct piece *p = arg;

    p->work(p->arg);
    /* Nobody listens any more, or the piece is the loop's from here on: less than PIPE_BUF goes whole. */
    (void)!write(p->told, &p, sizeof(p));
    return NULL;
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
    struct apart *a = arg;
    struct piece *p;

    (void)what;
    if (read(fd, &p, sizeof(p)) != (ssize_t)sizeof(p))
        return;
    a->n--;
    p->done(p->arg);
    free(p);
}

struct apart *apart_new(struct loop *l, unsigned most)
{
    struct apart *a = xcalloc(1, sizeof(*a));

    a->most = most;
    if (pipe2(a->ends, O_CLOEXEC) < 0) {
        free(a);
        return NULL;
    }
    (void)fcntl(a->ends[0], F_SETFL, O_NONBLOCK);
    a->readable = event_new(loop_base(l), a->ends[0], EV_READ | EV_PERSIST, on_end, a);
    if (!a->readable || event_add(a->readable, NULL) < 0)
        abort();
    return a;
}

void apart_free(struct apart *a)
{
    if (!a)
        return;
    event_free(a->readable);
    (void)close(a->ends[0]);
    if (a->n == 0)
        (void)close(a->ends[1]);   /* else a thread writes to it, whenever that may be */
    free(a);
}

/* Signals are the loop's. */
static int start(struct piece *p)
{
    pthread_t thread;
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, NULL, run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        pthread_detach(thread);
    return r == 0 ? 0 : -EAGAIN;
}

int apart_run(struct apart *a, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct piece *p;
    int r;

    if (a->n == a->most)
        return -EAGAIN;
    p = xcalloc(1, sizeof(*p));
    *p = (struct piece){ work, done, arg, a->ends[1] };
    r = start(p);
    if (r < 0)
        free(p);
    else
        a->n++;
    return r;
}
