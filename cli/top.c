/* `landfall top`: transfers while they go on, drawn again twice a second. */
#include "cli/top.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/interrupt.h"
#include "cli/listing.h"
#include "cli/shown.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/loop.h"

enum { PAUSE_MS = 500, ANSWER_SECONDS = 20, WIDE = 120, TABLE_MAX = 1 << 20 };

struct wish {
    bool once, json;
};

/* --- what is known ------------------------------------------------------------------------------------ */

struct state {
    struct top now;
    struct json_object *bytes;   /* by transfer id, when `at_ns` was */
    int64_t at_ns;
};

static void drop(struct state *s)
{
    json_object_put(s->now.transfers);
    json_object_put(s->now.drives);
    s->now.transfers = s->now.drives = NULL;
}

static int get(struct json_object *instance, const char *path, struct json_object **ret, struct error *e)
{
    int r = api_call_within(instance, ANSWER_SECONDS, "GET", path, NULL, ret, e);

    if (r == 0 && !json_object_is_type(*ret, json_type_array)) {
        json_object_put(*ret);
        *ret = NULL;
        r = error_set(e, -EPROTO, "Landfall's answer to %s is not a list.", path);
    }
    return r;
}

/* Half of what it was and half of what it is: a rate that can be read. */
static double rate_of(const struct state *s, const char *id, int64_t bytes, double seconds)
{
    struct json_object *before, *rate;
    double now;

    if (!json_object_object_get_ex(s->bytes, id, &before) || seconds <= 0)
        return 0;
    now = (double)(bytes - json_object_get_int64(before)) / seconds;
    now = now < 0 ? 0 : now;
    return json_object_object_get_ex(s->now.rates, id, &rate) ? (json_object_get_double(rate) + now) / 2 : now;
}

static void measure(struct state *s)
{
    struct json_object *bytes = json_object_new_object(), *rates = json_object_new_object();
    int64_t now = loop_now_ns();

    for (size_t i = 0; i < json_object_array_length(s->now.transfers); i++) {
        struct json_object *o = json_object_array_get_idx(s->now.transfers, i);
        const char *id = instance_text(o, "transferId");
        int64_t done = json_object_get_int64(json_object_object_get(o, "transferredBytes"));

        if (json_object_object_get_ex(s->bytes, id, NULL))
            json_object_object_add(rates, id, json_object_new_double(rate_of(s, id, done,
                                                                             (double)(now - s->at_ns) / 1e9)));
        json_object_object_add(bytes, id, json_object_new_int64(done));
    }
    json_object_put(s->bytes);
    json_object_put(s->now.rates);
    s->bytes = bytes;
    s->now.rates = rates;
    s->at_ns = now;
}

static int look(struct json_object *instance, struct state *s, struct error *e)
{
    int r;

    drop(s);
    r = get(instance, "/cloud/client_transfer/all", &s->now.transfers, e);
    if (r == 0)
        r = get(instance, "/management/clouddrive", &s->now.drives, e);
    if (r == 0)
        measure(s);
    return r;
}

/* --- on a terminal ------------------------------------------------------------------------------------ */

static void find_size(size_t *ret_columns, size_t *ret_rows)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;

    *ret_columns = known ? size.ws_col : 80;
    *ret_rows = known ? size.ws_row : 24;
}

/* Each line of the table, and nothing of what was there. */
static void draw(const struct text *table)
{
    printf("\033[H");
    for (const char *at = table->data ? table->data : ""; *at;) {
        size_t n = strcspn(at, "\n");

        printf("%.*s\033[K\n", (int)n, at);
        at += n + (at[n] == '\n');
    }
    printf("\033[J");
    (void)fflush(stdout);
}

static void draw_now(const struct state *s, const char *trouble)
{
    CLEANUP(text_free) struct text table = TEXT_INIT(TABLE_MAX);
    size_t columns, rows;

    find_size(&columns, &rows);
    if (trouble)
        shown_fit(&table, trouble, columns);
    else
        top_table(&table, &s->now, columns, rows);
    draw(&table);
}

/* A screen of its own: what was on the terminal is there again when this ends. */
static void show(struct json_object *instance, struct state *s)
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    struct error e = { 0 };
    sigset_t mask;

    interrupt_catch(&mask);
    printf("\033[?1049h\033[?25l");
    while (!interrupt_came()) {
        draw_now(s, look(instance, s, &e) < 0 ? error_text(&e) : NULL);
        (void)ppoll(NULL, 0, &pause, &mask);
    }
    printf("\033[?25h\033[?1049l");
    (void)fflush(stdout);
}

/* --- once --------------------------------------------------------------------------------------------- */

static void print_json(const struct state *s)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "transfers", json_object_get(s->now.transfers));
    json_object_object_add(o, "drives", json_object_get(s->now.drives));
    json_object_object_add(o, "rates", json_object_get(s->now.rates));
    listing_json(o);
    json_object_put(o);
}

/* Two looks: a rate is what came between them. */
static int print(struct json_object *instance, struct state *s, bool json, struct error *e)
{
    CLEANUP(text_free) struct text table = TEXT_INIT(TABLE_MAX);
    int r = look(instance, s, e);

    (void)poll(NULL, 0, r == 0 ? PAUSE_MS : 0);
    if (r == 0)
        r = look(instance, s, e);
    if (r < 0)
        return r;
    if (json) {
        print_json(s);
        return 0;
    }
    top_table(&table, &s->now, WIDE, SIZE_MAX);
    return fputs(table.data ? table.data : "", stdout) < 0 ? -EIO : 0;
}

static int top(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    const struct wish *w = arg;
    struct state s = { 0 };
    int r = 0;

    (void)words;
    (void)n;
    if (w->once || w->json || !isatty(STDOUT_FILENO))
        r = print(instance, &s, w->json, e);
    else
        show(instance, &s);
    drop(&s);
    json_object_put(s.bytes);
    json_object_put(s.now.rates);
    return r;
}

int command_top(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = { { "once", NULL, &w.once }, { "json", NULL, &w.json }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .wanted = "There is nothing to name.",
                                                       .act = top, .arg = &w });
}
