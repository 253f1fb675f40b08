/* `landfall wait`: returns when files, or all that is below directories, are in the cloud. The agent is asked to answer
 * when that is so; this only asks again when an answer took long, and when a process was restarted meanwhile. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/target.h"
#include "cli/wait.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "common/number.h"
#include "common/text.h"

enum { ASK_SECONDS = 30, ASK_VERBOSE_SECONDS = 1, SLACK_SECONDS = 60, RESTART_SECONDS = 20, PAUSE_MS = 200 };

#define S INT64_C(1000000000)

struct waiting {
    struct json_object *instance;
    const char *path;
    int64_t until_ns;           /* INT64_MAX: no limit */
    bool verbose, json;
    char id[32];                /* of the object, once it is known: wherever it is by then */
    char told[ERROR_TEXT_MAX];  /* what was printed last */
    char waits_for[ERROR_TEXT_MAX];
    int64_t answered_ns;        /* when the last answer came */
    struct json_object *last;   /* that answer */
};

static int seconds_left(const struct waiting *w)
{
    int most_seconds = w->verbose ? ASK_VERBOSE_SECONDS : ASK_SECONDS;
    int64_t left = w->until_ns - loop_now_ns();

    return left <= 0 ? 0 : (int)least((uint64_t)most_seconds, (uint64_t)((left + S - 1) / S));
}

static int ask(struct waiting *w, struct json_object **ret, struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    char more[128];
    int r;

    (void)snprintf(more, sizeof(more), "&seconds=%d%s%s", seconds_left(w), *w->id ? "&id=" : "", w->id);
    r = place_request("/management/object_wait", w->path, more, &request, e);
    return r < 0 ? r : api_call_within(w->instance, ASK_SECONDS + SLACK_SECONDS, "GET", request, NULL, ret, e);
}

/* A process that is restarted breaks the exchange off; its successor knows all that there is to know. */
static bool will_come_back(const struct waiting *w, int code)
{
    return (code == -EPROTO || code == -ECONNRESET || code == -EPIPE) &&
        loop_now_ns() - w->answered_ns < RESTART_SECONDS * S && loop_now_ns() < w->until_ns;
}

static void show(struct waiting *w, struct json_object *arrival)
{
    char line[ERROR_TEXT_MAX];

    (void)snprintf(line, sizeof(line), "%" PRId64 " to do. %s",
                   json_object_get_int64(json_object_object_get(arrival, "pending")),
                   instance_text(arrival, "waitsFor"));
    if (strcmp(line, w->told) == 0)
        return;
    (void)memcpy(w->told, line, sizeof(line));
    listing_puts(w->path);
    listing_puts(": ");
    listing_puts(line);
    putchar('\n');
    (void)fflush(stdout);
}

static bool is_set(struct json_object *o, const char *key)
{
    return json_object_get_boolean(json_object_object_get(o, key));
}

/* 1: it is there; 0: not yet; or negative errno with what stands in the way. */
static int take(struct waiting *w, struct json_object *arrival, struct error *e)
{
    w->answered_ns = loop_now_ns();
    (void)snprintf(w->id, sizeof(w->id), "%s", instance_text(arrival, "id"));
    (void)snprintf(w->waits_for, sizeof(w->waits_for), "%s", instance_text(arrival, "waitsFor"));
    json_object_put(w->last);
    w->last = json_object_get(arrival);
    if (is_set(arrival, "there"))
        return 1;
    if (is_set(arrival, "stuck"))
        return error_set(e, -EIO, "%.200s is not in the cloud. %.300s", w->path, w->waits_for);
    if (w->verbose && !w->json)
        show(w, arrival);
    if (loop_now_ns() >= w->until_ns)
        return error_set(e, -ETIME, "The time is over and %.200s is not in the cloud. %.250s", w->path, w->waits_for);
    return 0;
}

static int step(struct waiting *w, struct error *e)
{
    struct json_object *arrival = NULL;
    int r = ask(w, &arrival, e);

    if (r == 0)
        r = take(w, arrival, e);
    else if (will_come_back(w, r))
        r = poll(NULL, 0, PAUSE_MS);
    json_object_put(arrival);
    return r;
}

/* The exit status, with a sentence on stderr when it is not there. */
static int wait_for(struct waiting *w, const char *command)
{
    struct error e = { 0 };
    int r;

    w->answered_ns = loop_now_ns();
    while ((r = step(w, &e)) == 0)
        ;
    if (w->json && w->last)
        listing_json(w->last);
    json_object_put(w->last);
    if (r > 0)
        return EXIT_SUCCESS;
    (void)target_fail(command, &e);
    return r == -ETIME ? EXIT_LATE : EXIT_FAILURE;
}

/* One after the other: who waits for all has to wait for the last. */
static int wait_for_all(const struct waiting *how, const char *const *paths, size_t n)
{
    int status = EXIT_SUCCESS;

    for (size_t i = 0; i < n && status == EXIT_SUCCESS; i++) {
        struct waiting w = *how;

        w.path = paths[i];
        status = wait_for(&w, "wait");
    }
    return status;
}

int wait_for_cloud(struct json_object *instance, const char *path)
{
    return wait_for_all(&(struct waiting){ .instance = instance, .until_ns = INT64_MAX }, &path, 1);
}

/* 0, or the status for a wrong call. */
static int read_timeout(const char *timeout, int64_t *ret_until_ns)
{
    uint64_t seconds;

    *ret_until_ns = INT64_MAX;
    if (!timeout)
        return 0;
    if (!text_number(timeout, INT32_MAX, &seconds)) {
        fprintf(stderr, "landfall wait: --timeout %s is not a number of seconds.\n", timeout);
        return EXIT_USAGE;
    }
    *ret_until_ns = loop_now_ns() + (int64_t)seconds * S;
    return 0;
}

int command_wait(int argc, char **argv)
{
    CLEANUP_FREE const char **paths = calloc((size_t)argc, sizeof(*paths));
    const char *timeout = NULL;
    struct waiting w = { 0 };
    const struct target_option options[] = {
        { "timeout", &timeout, NULL }, { "v", NULL, &w.verbose }, { "json", NULL, &w.json }, { 0 },
    };
    size_t n = 0;
    int r = paths ? target_open_paths(argc, argv, options, paths, &n, &w.instance) : EXIT_FAILURE;

    if (r == 0 && n == 0) {
        fprintf(stderr, "landfall wait: give the paths to wait for.\n");
        r = EXIT_USAGE;
    }
    if (r == 0)
        r = read_timeout(timeout, &w.until_ns);
    if (r == 0)
        r = wait_for_all(&w, paths, n);
    json_object_put(w.instance);
    return r;
}
