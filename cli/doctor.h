/* `landfall doctor`: checks, a row each, of the machine and of an instance. */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

/* What the checks look at. */
struct doctor {
    const char *dir;                  /* of the instance that is meant */
    struct json_object *instance;     /* NULL: none runs there */
    struct json_object *drives;       /* as the API lists them; NULL: it does not answer */
    struct config *config;            /* of the instance; NULL: not known */
    uint16_t port;                    /* of the API, now or at the next start */
    struct json_object *findings;     /* so far */
    const char *check;                /* whose turn it is */
    bool failed;
};

struct doctor_check {
    const char *name;
    void (*look)(struct doctor *d);
};

/* Both end in a row without a name. Those of an instance are for one that runs. */
extern const struct doctor_check doctor_machine[], doctor_instance[];

/* Says what a check found, a sentence; `remedy` is what to do about it, "" for nothing. */
void doctor_say(struct doctor *d, enum doctor_verdict verdict, const char *remedy, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A check: who listens at that port. */
void doctor_port(struct doctor *d);
