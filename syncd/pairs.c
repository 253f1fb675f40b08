/* Bounded lists of names and values. Pure; must not know what the pairs mean. */
#include "syncd/pairs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

void pairs_free(struct pairs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i].name);
        free(p->v[i].value);
    }
    free(p->v);
    p->v = NULL;
    p->n = p->bytes = 0;
    p->error = 0;
}

static int grow(struct pairs *p, size_t more)
{
    struct pair *grown;

    if (more > p->max || p->bytes > p->max - more)
        return p->error = -EMSGSIZE;
    if ((p->n & (p->n - 1)) != 0)   /* room is doubled at powers of two */
        return 0;
    grown = realloc(p->v, (p->n ? p->n * 2 : 1) * sizeof(*grown));
    if (!grown)
        return p->error = -ENOMEM;
    p->v = grown;
    return 0;
}

int pairs_addn(struct pairs *p, const char *name, size_t name_len, const char *value, size_t value_len)
{
    CLEANUP_FREE char *n = NULL, *v = NULL;

    if (p->error || grow(p, name_len + value_len + 2) < 0)
        return p->error;
    n = strndup(name, name_len);
    v = strndup(value, value_len);
    if (!n || !v)
        return p->error = -ENOMEM;
    p->bytes += name_len + value_len + 2;
    p->v[p->n].name = take_ptr(n);
    p->v[p->n++].value = take_ptr(v);
    return 0;
}

int pairs_add(struct pairs *p, const char *name, const char *value)
{
    return pairs_addn(p, name, strlen(name), value, strlen(value));
}

int pairs_addf(struct pairs *p, const char *name, const char *fmt, ...)
{
    CLEANUP_FREE char *value = NULL;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vasprintf(&value, fmt, args);
    va_end(args);
    if (n < 0) {
        value = NULL;
        return p->error ? p->error : (p->error = -ENOMEM);
    }
    return pairs_add(p, name, value);
}

const char *pairs_get(const struct pairs *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcasecmp(p->v[i].name, name) == 0)
            return p->v[i].value;
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int r = strcmp(x->name, y->name);

    return r ? r : strcmp(x->value, y->value);
}

void pairs_sort(struct pairs *p)
{
    if (p->n > 1)
        qsort(p->v, p->n, sizeof(*p->v), by_name);
}
