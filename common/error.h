/* The closed set of failures and what each one means outside.
 *
 * Inside, a failure is a negative errno from this set; one table maps it to an HTTP status, the
 * API's error code and the errno a FUSE caller sees. An errno that is not in the table counts as
 * EIO inside and as 500 outside. */
#pragma once

#include <stddef.h>

enum { ERROR_TEXT_MAX = 512 };

/* A failure with the sentence a person reads. `code` is negative, 0 when nothing failed. */
struct error {
    int code;
    char text[ERROR_TEXT_MAX];
};

struct error_meaning {
    int code;          /* positive errno */
    int http_status;
    const char *type;  /* the API's code: "DUPLICATE" */
    int fuse_errno;    /* positive */
    const char *text;  /* sentence used when the failure carries none */
};

/* The row for `code` (either sign); the EIO row for codes outside the set. Never NULL. */
const struct error_meaning *error_meaning(int code);

/* Every row, for tests and for the OpenAPI document. */
const struct error_meaning *error_table(size_t *ret_n);

/* Fills *e (which may be NULL) and returns `code`, so that a failing function reads
 * `return error_set(e, -ENOENT, "There is no drive %s.", id);`. The text is cut at ERROR_TEXT_MAX
 * and control characters in it are replaced by '?'. */
int error_set(struct error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The text of *e, or the table's sentence for its code when it has none. Never NULL. */
const char *error_text(const struct error *e);
