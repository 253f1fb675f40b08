/* An ordered list of names and values with a bound from birth: request headers, query
 * parameters, the headers of a reply. Knows neither HTTP nor S3. */
#pragma once

#include <stddef.h>

struct pair {
    char *name, *value;   /* owned */
};

/* Like struct text: after the first failure it stays failed, so a chain is checked once. */
struct pairs {
    struct pair *v;       /* owned */
    size_t n;
    size_t bytes, max;    /* of all names and values, with their NULs */
    int error;            /* 0 or -EMSGSIZE, -ENOMEM */
};
#define PAIRS_INIT(maximum) { NULL, 0, 0, (maximum), 0 }

void pairs_free(struct pairs *p);   /* contents; the bound stays */

/* Appends copies. Returns p->error. */
int pairs_add(struct pairs *p, const char *name, const char *value);
int pairs_addn(struct pairs *p, const char *name, size_t name_len, const char *value, size_t value_len);
int pairs_addf(struct pairs *p, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The value of the first pair of that name, without regard to ASCII case; borrowed; NULL if none. */
const char *pairs_get(const struct pairs *p, const char *name);

/* Sorts by name, then value, as bytes. */
void pairs_sort(struct pairs *p);
