/* A frame of the WebSockets in a line: a row for each kind. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/states.h"
#include "cli/watch.h"
#include "common/cleanup.h"

static int64_t number(struct json_object *o, const char *key)
{
    return json_object_get_int64(json_object_object_get(o, key));
}

/* Of text where it may be null. */
static const char *text(struct json_object *o, const char *key)
{
    struct json_object *value = json_object_object_get(o, key);

    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

static void put_word(const char *word, int columns)
{
    printf("%-*.*s ", columns, 24, word);
}

static void put_part(const char *before, const char *part)
{
    if (!*part)
        return;
    fputs(before, stdout);
    listing_puts(part);
}

static void print_gap(struct json_object *o)
{
    int64_t missed = number(o, "Missed");

    put_word("gap", 11);
    if (missed)
        printf("%" PRId64 " events before this were missed", missed);
    else
        printf("events before this may have been missed");
}

static void print_progress(struct json_object *data)
{
    int64_t bytes = number(data, "Bytes"), size = number(data, "Size"), speed = number(data, "Speed");

    put_word(text(data, "TransferMode"), 11);
    put_word(text(data, "Status"), 11);
    listing_puts(text(data, "Path"));
    if (size > 0)
        printf("  %d %% of %.1f MiB", (int)(100.0 * (double)bytes / (double)size), (double)size / (1 << 20));
    if (speed > 0)
        printf("  %.1f MiB/s", (double)speed / (1 << 20));
    put_part("  ", text(data, "Error"));
}

static void print_notice(struct json_object *data)
{
    if (strcmp(text(data, "Kind"), "gap") == 0) {
        print_gap(data);
        return;
    }
    put_word("notice", 11);
    put_part("", text(data, "Text"));
    put_part("  ", text(data, "Path"));
}

static void print_call(struct json_object *data)
{
    put_word(strcmp(text(data, "Operation"), "AppExit") == 0 ? "exit" : "call", 11);
    put_part("", text(data, "HttpMethod"));
    put_part(" ", text(data, "EndpointAddress"));
    put_part("  by ", text(data, "Origin"));
    put_part("  ", text(data, "Data"));
}

static void print_other(struct json_object *data)
{
    put_word("other", 11);
    listing_puts(json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void print_state(struct json_object *o)
{
    if (!*text(o, "Path")) {
        print_gap(o);
        return;
    }
    put_word("state", 11);
    put_word(states_change(number(o, "State")), 11);
    listing_puts(text(o, "Path"));
}

static const struct {
    int64_t type;
    void (*print)(struct json_object *data);
} rows[] = { { 1, print_progress }, { 2, print_notice }, { 4, print_call } };

static void print_typed(struct json_object *frame)
{
    struct json_object *data = json_object_object_get(frame, "Data");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].type == number(frame, "Type")) {
            rows[i].print(data);
            return;
        }
    print_other(frame);
}

void watch_print(struct json_object *frame)
{
    time_t now = time(NULL);
    struct tm local;
    char clock[16] = "";

    if (localtime_r(&now, &local))
        (void)strftime(clock, sizeof(clock), "%H:%M:%S", &local);
    printf("%s  ", clock);
    if (json_object_object_get_ex(frame, "Type", NULL))
        print_typed(frame);
    else
        print_state(frame);
    putchar('\n');
}
