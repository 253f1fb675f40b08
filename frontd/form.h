/* multipart/form-data (RFC 7578, RFC 2046 5.1): cuts a body into its parts as it comes, whatever pieces it comes in.
 * Keeps no more of it than a boundary and the header of one part. Pure: knows no connection and no field by name. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    FORM_BOUNDARY_MAX = 70,       /* RFC 2046 */
    FORM_HEADER_MAX = 8192,       /* of one part, in all */
    FORM_PARTS_MAX = 64,
    FORM_NAME_SIZE = 256,         /* of a field, or of a file */
};

/* The boundary that a Content-Type names. False: it is no multipart/form-data, or names none that can be one. */
bool form_boundary(const char *content_type, char out[FORM_BOUNDARY_MAX + 1]);

struct form_part {
    char name[FORM_NAME_SIZE];
    bool has_filename;
    char filename[FORM_NAME_SIZE];    /* as it was sent: a path, perhaps of another system */
};

struct form_ops {
    /* The header of a part has been read; its bytes in runs; it is complete. 0, or a negative errno which ends it. */
    int (*begin)(const struct form_part *part, void *arg);
    int (*data)(const void *bytes, size_t n, void *arg);
    int (*end)(void *arg);
};

struct form;

/* Never NULL. `ops` is borrowed. */
struct form *form_new(const char *boundary, const struct form_ops *ops, void *arg);
void form_free(struct form *f);   /* NULL is fine */

/* The next bytes of the body. 0; -EBADMSG: it is malformed; -E2BIG: more parts, a longer header or a longer name than
 * there may be; or what one of the ops returned. After a failure it stays failed. */
int form_push(struct form *f, const void *bytes, size_t n);
/* Whether the last boundary was there. */
bool form_complete(const struct form *f);
