/* Decodes queries in a copy of their own. */
#include "frontd/query.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/text.h"

static int decode(char *s)
{
    for (char *p = s; *p; p++)
        if (*p == '+')
            *p = ' ';
    return text_percent_decode(s) < 0 ? -EINVAL : 0;
}

static int add_pair(struct query *q, char *name)
{
    char *value = strchr(name, '=');

    if (!*name)
        return 0;
    if (q->n == QUERY_MAX)
        return -E2BIG;
    if (value)
        *value++ = '\0';
    if (decode(name) < 0 || (value && decode(value) < 0))
        return -EINVAL;
    q->pairs[q->n].name = name;
    q->pairs[q->n++].value = value ? value : "";
    return 0;
}

int query_parse(const char *raw, struct query *ret)
{
    char *rest;
    int r = 0;

    ret->n = 0;
    ret->text = rest = strdup(raw ? raw : "");
    if (!rest)
        return -ENOMEM;
    while (rest && r == 0)
        r = add_pair(ret, strsep(&rest, "&"));
    return r;
}

void query_free(struct query *q)
{
    free(q->text);
    q->text = NULL;
    q->n = 0;
}

const char *query_get(const struct query *q, const char *name)
{
    for (size_t i = 0; i < q->n; i++)
        if (strcasecmp(q->pairs[i].name, name) == 0)
            return q->pairs[i].value;
    return NULL;
}
