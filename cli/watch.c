/* `landfall watch`: what happens, as both WebSockets tell it. One that ends is opened again, behind the last frame that
 * was heard; what frontd does not keep any more shows as a gap. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/listing.h"
#include "cli/target.h"
#include "cli/watch.h"
#include "cli/websocket.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"

enum { FEEDS = 2, PAUSE_MS = 200 };

struct feed {
    const char *path;
    struct websocket *socket;   /* NULL while it is not open */
    uint64_t heard;             /* id of the last frame */
    bool since;                 /* whether that is told */
    bool json;
};

static void on_frame(struct json_object *frame, void *arg)
{
    struct feed *f = arg;
    struct json_object *id;

    if (json_object_object_get_ex(frame, "Id", &id))
        f->heard = (uint64_t)json_object_get_int64(id);
    if (f->json)
        listing_json(frame);
    else
        watch_print(frame);
    (void)fflush(stdout);
}

static int open_feed(struct json_object *instance, struct feed *f, struct error *e)
{
    char path[64];
    int r;

    (void)snprintf(path, sizeof(path), f->since ? "%s?since=%" PRIu64 : "%s", f->path, f->heard);
    r = websocket_open(instance, path, on_frame, f, &f->socket, e);
    if (r == 0)
        f->since = true;   /* from now on nothing is to be missed */
    return r;
}

static void read_feed(struct feed *f)
{
    if (websocket_read(f->socket) == 0)
        return;
    websocket_free(f->socket);
    f->socket = NULL;
}

/* Waits for frames, or a while for one that is to be opened again. A signal ends the wait. */
static void take_turn(struct json_object *instance, struct feed *feeds, const sigset_t *mask)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    struct pollfd p[FEEDS];
    bool all = true;
    struct error e;

    for (size_t i = 0; i < FEEDS; i++) {
        if (!feeds[i].socket)
            (void)open_feed(instance, &feeds[i], &e);
        all = all && feeds[i].socket;
        p[i] = (struct pollfd){ .fd = feeds[i].socket ? websocket_fd(feeds[i].socket) : -1, .events = POLLIN };
    }
    if (ppoll(p, FEEDS, all ? NULL : &pause, mask) <= 0)
        return;
    for (size_t i = 0; i < FEEDS; i++)
        if (p[i].revents)
            read_feed(&feeds[i]);
}

/* "ID" for both, or "ID:ID". */
static bool read_since(const char *text, struct feed *feeds)
{
    CLEANUP_FREE char *first = strdup(text);
    char *colon = first ? strchr(first, ':') : NULL;

    if (colon)
        *colon++ = '\0';
    feeds[0].since = feeds[1].since = true;
    return first && text_number(first, INT64_MAX, &feeds[0].heard) &&
        text_number(colon ? colon : first, INT64_MAX, &feeds[1].heard);
}

struct wish {
    const char *since;
    bool json;
};

static int watch(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    const struct wish *w = arg;
    struct feed feeds[FEEDS] = { { .path = "/notification", .json = w->json },
                                 { .path = "/statechange", .json = w->json } };
    sigset_t mask;
    int r = 0;

    (void)words;
    (void)n;
    if (w->since && !read_since(w->since, feeds))
        return error_set(e, -EINVAL, "--since takes the Id of a frame, or one of each path: ID:ID.");
    interrupt_catch(&mask);
    for (size_t i = 0; r == 0 && i < FEEDS; i++)
        r = open_feed(instance, &feeds[i], e);
    while (r == 0 && !interrupt_came())
        take_turn(instance, feeds, &mask);
    for (size_t i = 0; i < FEEDS; i++)
        websocket_free(feeds[i].socket);
    return r;
}

int command_watch(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = { { "since", &w.since, NULL }, { "json", NULL, &w.json }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .wanted = "There is nothing to name.",
                                                       .act = watch, .arg = &w });
}
