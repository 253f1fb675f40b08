/* The table of `landfall top`. */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

#include "common/text.h"

/* What is known at one moment. */
struct top {
    struct json_object *transfers, *drives;   /* as the API lists them */
    struct json_object *rates;                /* by transfer id, bytes a second */
};

/* Appends the table, lines of `columns` at most; of the transfers that go on as many as `rows` has room for. */
void top_table(struct text *out, const struct top *t, size_t columns, size_t rows);
