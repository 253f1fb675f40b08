/* Gathers what there is to look at, has each check look, and shows what they say. */
#include "cli/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/config_list.h"
#include "cli/dir.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/json_pb.h"
#include "common/number.h"
#include "common/text.h"

enum { USUAL_PORT = 29123, ANSWER_SECONDS = 20 };

static const char *const verdicts[] = { [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail" };

static void put(struct json_object *o, const char *key, const char *text)
{
    json_object_object_add(o, key, json_string(text));
}

void doctor_say(struct doctor *d, enum doctor_verdict verdict, const char *remedy, const char *fmt, ...)
{
    struct json_object *o = json_object_new_object();
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    put(o, "check", d->check);
    put(o, "verdict", verdicts[verdict]);
    put(o, "text", text);
    if (*remedy)
        put(o, "remedy", remedy);
    json_object_array_add(d->findings, o);
    d->failed = d->failed || verdict == DOCTOR_FAIL;
}

/* --- what is looked at -------------------------------------------------------------------------------- */

/* The instance itself is the first thing that is checked. */
static void find_instance(struct doctor *d)
{
    struct error e = { 0 };
    int r = dir_check(d->dir, &e);

    if (r == 0)
        r = instance_read(d->dir, &d->instance, &e);
    d->check = "instance";
    if (r == -ENOENT)
        doctor_say(d, DOCTOR_WARN, "`landfall run` starts one; --dir says where another one is.",
                   "No instance runs in %s.", d->dir);
    else if (r < 0)
        doctor_say(d, DOCTOR_FAIL, "Give the directory to whom it belongs, or use another one with --dir.", "%s",
                   error_text(&e));
    else
        doctor_say(d, DOCTOR_OK, "", "It runs in %s.", d->dir);
}

static void find_rest(struct doctor *d)
{
    struct error e = { 0 };

    if (config_of_instance(d->instance, &d->config, &e) < 0)
        d->config = NULL;
    d->port = (uint16_t)json_object_get_int(json_object_object_get(d->instance, "port"));
    d->check = "api";
    if (api_call_within(d->instance, ANSWER_SECONDS, "GET", "/management/clouddrive", NULL, &d->drives, &e) < 0)
        doctor_say(d, DOCTOR_FAIL, "The logs of frontd and syncd say why; `landfall stop` and `landfall run` start it "
                   "anew.", "%s", error_text(&e));
    else
        doctor_say(d, DOCTOR_OK, "", "It answers.");
}

static void look(struct doctor *d, const struct doctor_check *checks)
{
    for (; checks->name; checks++) {
        d->check = checks->name;
        checks->look(d);
    }
}

static void examine(struct doctor *d)
{
    find_instance(d);
    if (d->instance)
        find_rest(d);
    look(d, doctor_machine);
    if (d->instance)
        look(d, doctor_instance);
}

/* --- what is shown ------------------------------------------------------------------------------------ */

static void print(struct json_object *findings)
{
    for (size_t i = 0; i < json_object_array_length(findings); i++) {
        struct json_object *o = json_object_array_get_idx(findings, i);
        const char *remedy = instance_text(o, "remedy");

        printf("%-4s  %-11s ", instance_text(o, "verdict"), instance_text(o, "check"));
        listing_puts(instance_text(o, "text"));
        putchar('\n');
        if (*remedy) {
            printf("                  -> ");
            listing_puts(remedy);
            putchar('\n');
        }
    }
}

static void drop(struct doctor *d)
{
    json_object_put(d->instance);
    json_object_put(d->drives);
    json_object_put(d->findings);
    config_free(d->config);
}

static bool read_port(const char *text, uint16_t *ret)
{
    uint64_t port = USUAL_PORT;

    if (text && (!text_number(text, UINT16_MAX, &port) || port == 0)) {
        fprintf(stderr, "landfall doctor: --port takes a number from 1 to 65535.\n");
        return false;
    }
    *ret = (uint16_t)port;
    return true;
}

int command_doctor(int argc, char **argv)
{
    const char *given, *port = NULL;
    bool json = false;
    const struct target_option options[] = { { "json", NULL, &json }, { "port", &port, NULL }, { 0 } };
    CLEANUP_FREE char *dir = NULL;
    CLEANUP(drop) struct doctor d = { 0 };
    struct error e = { 0 };
    int r = target_read(argc, argv, options, &given);

    if (r)
        return r;
    if (!read_port(port, &d.port))
        return EXIT_USAGE;
    if (dir_resolve(given, &dir, &e) < 0)
        return target_fail(argv[0], &e);
    d.dir = dir;
    d.findings = json_object_new_array();
    examine(&d);
    if (json)
        listing_json(d.findings);
    else
        print(d.findings);
    return d.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
