/* `landfall encrypt`: what a drive that encrypts its objects has in the cloud in plain, encrypted there. The agent does
 * it; this asks for it and waits, or says how far it is. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/loop.h"

enum { ASK_SECONDS = 1, SLACK_SECONDS = 60, RESTART_SECONDS = 20, PAUSE_MS = 200 };

#define S INT64_C(1000000000)

static const char status_path[] = "/management/object_encrypt_status";

struct wish {
    bool background, status, stop, json;
};

static int64_t number(struct json_object *o, const char *key)
{
    return json_object_get_int64(json_object_object_get(o, key));
}

static int ask_for(struct json_object *instance, const char *endpoint, const char *path, struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    struct json_object *o = NULL;
    int r = place_request(endpoint, path, "", &request, e);

    if (r == 0)
        r = api_call(instance, "POST", request, NULL, &o, e);
    json_object_put(o);
    return r;
}

static int get_status(struct json_object *instance, const char *path, int seconds, struct json_object **ret,
                      struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    char more[32];
    int r;

    (void)snprintf(more, sizeof(more), "&seconds=%d", seconds);
    r = place_request(status_path, path, more, &request, e);
    return r < 0 ? r : api_call_within(instance, seconds + SLACK_SECONDS, "GET", request, NULL, ret, e);
}

/* --- what is said ------------------------------------------------------------------------------------- */

static void print_amount(int64_t files, int64_t bytes)
{
    printf("%" PRId64 " file%s (%.1f MiB)", files, files == 1 ? "" : "s", (double)bytes / (1 << 20));
}

static bool has_left(struct json_object *p)
{
    return number(p, "filesLeft") > 0 || number(p, "foldersLeft") > 0;
}

static void print_progress(struct json_object *p)
{
    int64_t folders = number(p, "foldersLeft"), failed = number(p, "failed");

    print_amount(number(p, "filesDone"), number(p, "bytesDone"));
    printf(" encrypted, ");
    print_amount(number(p, "filesLeft"), number(p, "bytesLeft"));
    printf(" left");
    if (folders)
        printf(", %" PRId64 " folder%s still to be looked through", folders, folders == 1 ? "" : "s");
    if (failed)
        printf(", %" PRId64 " failed", failed);
}

static void print_failures(struct json_object *p)
{
    struct json_object *failures = json_object_object_get(p, "failures");
    size_t n = failures ? json_object_array_length(failures) : 0;
    int64_t more = number(p, "failed") - (int64_t)n;

    for (size_t i = 0; i < n; i++) {
        struct json_object *one = json_object_array_get_idx(failures, i);

        listing_puts(instance_text(one, "path"));
        listing_puts(" stays as it is: ");
        listing_puts(instance_text(one, "reason"));
        putchar('\n');
    }
    if (more > 0)
        printf("And %" PRId64 " more; the log names them.\n", more);
}

static void print_end(struct json_object *p)
{
    print_amount(number(p, "filesDone"), number(p, "bytesDone"));
    printf(" encrypted; nothing is left.%s\n", number(p, "filesDone") == 0 ? "" :
           " Where the bucket keeps older versions of its objects, those are still plain.");
    print_failures(p);
}

/* --- waiting ------------------------------------------------------------------------------------------ */

static const char going_on[] = "\nThe work goes on without this command. `landfall encrypt --status` says how far it "
                               "is, `landfall encrypt --stop PATH` ends it.\n";

static void on_interrupt(int sig)
{
    (void)sig;
    (void)!write(STDERR_FILENO, going_on, sizeof(going_on) - 1);
    _exit(EXIT_INTERRUPTED);
}

static void show(struct json_object *p)
{
    if (!isatty(STDOUT_FILENO))
        return;
    printf("\r");
    print_progress(p);
    printf("\033[K");
    (void)fflush(stdout);
}

static void clear(void)
{
    if (isatty(STDOUT_FILENO))
        printf("\r\033[K");
}

/* A process that is restarted breaks the exchange off, or does not know the drive at once. *ret may be NULL: ask
 * again. */
static int step(struct json_object *instance, const char *path, int seconds, int64_t *answered_ns,
                struct json_object **ret, struct error *e)
{
    int r = get_status(instance, path, seconds, ret, e);

    if (r == 0)
        *answered_ns = loop_now_ns();
    else if (loop_now_ns() - *answered_ns < RESTART_SECONDS * S)
        r = poll(NULL, 0, PAUSE_MS);
    return r;
}

static int wait_for(struct json_object *instance, const char *path, struct error *e)
{
    int64_t answered_ns = loop_now_ns();
    struct json_object *p = NULL;
    int seconds = 0, r;

    while ((r = step(instance, path, seconds, &answered_ns, &p, e)) == 0 && (!p || has_left(p))) {
        if (p)
            show(p);
        json_object_put(p);
        p = NULL;
        seconds = ASK_SECONDS;
    }
    clear();
    if (r == 0)
        print_end(p);
    if (r == 0 && number(p, "failed") > 0)
        r = error_set(e, -EIO, "Not everything could be encrypted.");
    json_object_put(p);
    return r;
}

/* --- what is asked for -------------------------------------------------------------------------------- */

/* Where the drive of that name is mounted, owned by the caller; NULL: there is no such drive, so it is a path. */
static int find_drive(struct json_object *instance, const char *name, char **ret, struct error *e)
{
    struct json_object *drive = NULL;
    int r = listing_find(instance, "/management/clouddrive", listing_named, (void *)(uintptr_t)name, &drive, e);

    *ret = drive ? strdup(instance_text(drive, "localPath")) : NULL;
    json_object_put(drive);
    return r;
}

static int show_status(struct json_object *instance, const char *path, bool json, struct error *e)
{
    struct json_object *p = NULL;
    int r = get_status(instance, path, 0, &p, e);

    if (r == 0 && json) {
        listing_json(p);
    } else if (r == 0) {
        listing_puts(path);
        listing_puts(": ");
        print_progress(p);
        printf(".\n");
        print_failures(p);
    }
    json_object_put(p);
    return r;
}

static int show_all(struct json_object *instance, bool json, struct error *e)
{
    struct json_object *list = NULL;
    int r = listing_get(instance, "/management/clouddrive", &list, e);

    for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
        struct json_object *drive = json_object_array_get_idx(list, i);

        if (json_object_get_boolean(json_object_object_get(drive, "cloudObjectsEncrypted")))
            r = show_status(instance, instance_text(drive, "localPath"), json, e);
    }
    json_object_put(list);
    return r;
}

static int act(struct json_object *instance, const char *argument, const struct wish *w, struct error *e)
{
    CLEANUP_FREE char *drive = NULL;
    int r = w->status || w->stop ? find_drive(instance, argument, &drive, e) : 0;
    const char *path = drive ? drive : argument;

    if (r < 0)
        return r;
    if (w->status)
        return show_status(instance, path, w->json, e);
    return ask_for(instance, w->stop ? "/management/object_encrypt_stop" : "/management/object_encrypt", path, e);
}

/* All of it is asked for before anything is waited for. */
static int run(struct json_object *instance, const char *const *paths, size_t n, const struct wish *w, struct error *e)
{
    int r = n == 0 ? show_all(instance, w->json, e) : 0;

    if (!w->background && !w->status && !w->stop)
        (void)signal(SIGINT, on_interrupt);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = act(instance, paths[i], w, e);
    for (size_t i = 0; r == 0 && i < n && !w->background && !w->status && !w->stop; i++)
        r = wait_for(instance, paths[i], e);
    return r;
}

int command_encrypt(int argc, char **argv)
{
    CLEANUP_FREE const char **paths = calloc((size_t)argc, sizeof(*paths));
    struct wish w = { 0 };
    const struct target_option options[] = {
        { "background", NULL, &w.background }, { "status", NULL, &w.status }, { "stop", NULL, &w.stop },
        { "json", NULL, &w.json }, { 0 },
    };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    size_t n = 0;
    int r = paths ? target_open_paths(argc, argv, options, paths, &n, &instance) : EXIT_FAILURE;

    if (r == 0 && ((n == 0 && !w.status) || w.background + w.status + w.stop > 1)) {
        fprintf(stderr, "landfall encrypt: give the paths of what is to be encrypted, or --status, or --stop PATH.\n");
        r = EXIT_USAGE;
    }
    if (r == 0)
        r = run(instance, paths, n, &w, &e) < 0 ? target_fail(argv[0], &e) : EXIT_SUCCESS;
    json_object_put(instance);
    return r;
}
