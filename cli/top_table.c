/* A row for each transfer that goes on. What does not fit in the width is left out, the name last. */
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "cli/instance.h"
#include "cli/shown.h"
#include "cli/top.h"
#include "common/cleanup.h"
#include "common/number.h"

enum { NAME_MIN = 8, BAR = 14, OTHER_LINES = 4 };

struct row {
    struct json_object *transfer;
    int64_t done, total;
    double rate;
    bool up;
};

static int64_t number(struct json_object *o, const char *key)
{
    return json_object_get_int64(json_object_object_get(o, key));
}

static bool goes_on(struct json_object *transfer)
{
    const char *status = instance_text(transfer, "status");

    return strcmp(status, "running") == 0 || strcmp(status, "paused") == 0;
}

static struct row read_row(struct json_object *transfer, const struct top *t)
{
    struct json_object *rate = json_object_object_get(t->rates, instance_text(transfer, "transferId"));

    return (struct row){ transfer, number(transfer, "transferredBytes"), number(transfer, "totalBytes"),
                         json_object_get_double(rate), *instance_text(transfer, "targetBucket") != '\0' };
}

/* --- columns ------------------------------------------------------------------------------------------ */

static void put_bytes(struct text *out, double bytes, const char *more)
{
    static const char *const units[] = { "  B", "KiB", "MiB", "GiB", "TiB" };
    size_t i = 0;

    for (; bytes >= 1000 && i < ARRAY_SIZE(units) - 1; i++)
        bytes /= 1024;
    (void)text_printf(out, "%7.*f %s%s", i ? 1 : 0, bytes, units[i], more);
}

static void put_direction(struct text *out, const struct row *r)
{
    (void)text_puts(out, r->up ? "up  " : "down");
}

static void put_size(struct text *out, const struct row *r)
{
    put_bytes(out, (double)r->total, "");
}

static void put_bar(struct text *out, const struct row *r)
{
    int filled = r->total > 0 ? (int)least((uint64_t)((BAR - 2) * r->done / r->total), BAR - 2) : 0;

    (void)text_printf(out, "[%.*s%.*s]", filled, "############", BAR - 2 - filled, "............");
}

static void put_percent(struct text *out, const struct row *r)
{
    int percent = r->total > 0 ? (int)least((uint64_t)(100 * r->done / r->total), 100) : 0;

    (void)text_printf(out, "%3d%%", percent);
}

static void put_rate(struct text *out, const struct row *r)
{
    if (strcmp(instance_text(r->transfer, "status"), "paused") == 0)
        (void)text_puts(out, "       paused");
    else
        put_bytes(out, r->rate, "/s");
}

/* Each stands where the terminal has so many columns. */
static const struct column {
    size_t width, from;
    void (*put)(struct text *out, const struct row *r);
    const char *head;
} columns_behind[] = {
    { 11, 56, put_size, "       size" },
    { BAR, 76, put_bar, "              " },
    { 4, 24, put_percent, "done" },
    { 13, 42, put_rate, "         rate" },
};

static size_t name_width(size_t columns)
{
    size_t used = 5;

    for (size_t i = 0; i < ARRAY_SIZE(columns_behind); i++)
        used += columns >= columns_behind[i].from ? columns_behind[i].width + 1 : 0;
    return most(excess(columns, used), NAME_MIN);
}

static void put_name(struct text *out, const struct row *r, size_t columns)
{
    CLEANUP(text_free) struct text name = TEXT_INIT(65536);

    (void)text_printf(&name, "%s/%s", instance_text(r->transfer, r->up ? "targetBucket" : "sourceBucket"),
                      instance_text(r->transfer, r->up ? "targetPath" : "sourcePath"));
    shown_fit(out, name.data ? name.data : "", name_width(columns));
}

static void put_row(struct text *out, const struct row *r, size_t columns)
{
    put_direction(out, r);
    (void)text_puts(out, " ");
    put_name(out, r, columns);
    for (size_t i = 0; i < ARRAY_SIZE(columns_behind); i++)
        if (columns >= columns_behind[i].from) {
            (void)text_puts(out, " ");
            columns_behind[i].put(out, r);
        }
    (void)text_puts(out, "\n");
}

static void put_head(struct text *out, size_t columns)
{
    (void)text_puts(out, "     ");
    shown_fit(out, "object", name_width(columns));
    for (size_t i = 0; i < ARRAY_SIZE(columns_behind); i++)
        if (columns >= columns_behind[i].from)
            (void)text_printf(out, " %s", columns_behind[i].head);
    (void)text_puts(out, "\n");
}

/* --- all of them -------------------------------------------------------------------------------------- */

struct sum {
    size_t n;
    double up, down;
};

static struct sum put_rows(struct text *out, const struct top *t, size_t columns, size_t room)
{
    struct sum sum = { 0 };

    for (size_t i = 0; i < json_object_array_length(t->transfers); i++) {
        struct row r = read_row(json_object_array_get_idx(t->transfers, i), t);

        if (!goes_on(r.transfer))
            continue;
        if (sum.n++ < room)
            put_row(out, &r, columns);
        *(r.up ? &sum.up : &sum.down) += r.rate;
    }
    return sum;
}

static void put_line(struct text *out, struct text *line, size_t columns)
{
    shown_fit(out, line->data ? line->data : "", least(columns, shown_columns(line->data ? line->data : "")));
    (void)text_puts(out, "\n");
    text_free(line);
}

static void put_sum(struct text *out, const struct sum *sum, size_t columns)
{
    struct text line = TEXT_INIT(4096);

    (void)text_printf(&line, "%zu transfer%s  up", sum->n, sum->n == 1 ? "" : "s");
    put_bytes(&line, sum->up, "/s  down");
    put_bytes(&line, sum->down, "/s");
    put_line(out, &line, columns);
}

static void put_pending(struct text *out, const struct top *t, size_t columns)
{
    struct text line = TEXT_INIT(65536);
    int64_t all = 0;

    for (size_t i = 0; i < json_object_array_length(t->drives); i++) {
        struct json_object *drive = json_object_array_get_idx(t->drives, i);
        int64_t n = number(drive, "pendingChanges");

        all += n;
        if (n)
            (void)text_printf(&line, "%s%s %" PRId64, line.len ? ", " : "waiting for the cloud: ",
                              instance_text(drive, "name"), n);
    }
    if (!all)
        (void)text_puts(&line, "All changes are in the cloud.");
    put_line(out, &line, columns);
}

void top_table(struct text *out, const struct top *t, size_t columns, size_t rows)
{
    size_t room = excess(rows, OTHER_LINES);
    struct sum sum;

    put_head(out, columns);
    sum = put_rows(out, t, columns, room);
    if (sum.n > room)
        (void)text_printf(out, "and %zu more\n", sum.n - room);
    put_sum(out, &sum, columns);
    put_pending(out, t, columns);
}
