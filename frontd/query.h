/* The query of a request: pairs of name and value, decoded. Pure text. */
#pragma once

#include <stddef.h>

enum { QUERY_MAX = 64 };

struct query {
    char *text; /* owned; the pairs point into it */
    struct {
        const char *name, *value;
    } pairs[QUERY_MAX];
    size_t n;
};

/* Cuts "a=1&b=x%20y" (NULL: no query) apart; '+' is a space. 0 and a query to be freed with
 * query_free() either way; -EINVAL for a bad escape or an encoded NUL, -E2BIG for more than QUERY_MAX. */
int query_parse(const char *raw, struct query *ret);
void query_free(struct query *q);

/* The value of `name` (any case), NULL without one. Of a name given twice the first counts. */
const char *query_get(const struct query *q, const char *name);
