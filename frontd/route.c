/* Finds rows. */
#include "frontd/route.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/text.h"

/* A path cut at its slashes, each segment decoded by itself so that an encoded slash stays inside one. */
struct segments {
    char *at[ROUTE_SEGMENTS_MAX];
    size_t n;
};

static int cut(char *path, struct segments *s)
{
    size_t len = strlen(path);

    s->n = 0;
    if (len > 1 && path[len - 1] == '/')
        path[len - 1] = '\0';
    for (path += *path == '/'; path && s->n < ROUTE_SEGMENTS_MAX; s->n++) {
        s->at[s->n] = strsep(&path, "/");
        if (text_percent_decode(s->at[s->n]) < 0)
            return -EINVAL;
    }
    if (path)
        s->n = 0; /* longer than any row */
    return 0;
}

static void add_param(struct route_match *m, const char *name, size_t len, const char *value)
{
    if (m->n_params == ROUTE_PARAMS_MAX)
        return;
    (void)snprintf(m->params[m->n_params].name, ROUTE_NAME_SIZE, "%.*s", (int)len, name);
    m->params[m->n_params++].value = value;
}

/* Compares with the path of a row and collects the parameters on the way. */
static bool matches(const char *template, const struct segments *s, struct route_match *m)
{
    m->n_params = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t len;

        if (*template++ != '/')
            return false;
        len = strcspn(template, "/");
        if (*template == '{' && *s->at[i])
            add_param(m, template + 1, len - 2, s->at[i]);
        else if (strlen(s->at[i]) != len || strncasecmp(template, s->at[i], len) != 0)
            return false;
        template += len;
    }
    return !*template && s->n;
}

/* --- rows by a segment --------------------------------------------------------------------- */

enum { SHELVES = 64, ROWS_MOST = 256 };

/* The rows on shelves, by the segment that tells most of them apart: the second, or the only one. On each they stand in
 * the table's order. */
struct shelves {
    const struct route *first[SHELVES], *next[ROWS_MOST];
};

static size_t shelf_of(const char *segment, size_t len)
{
    size_t h = len;

    for (size_t i = 0; i < len; i++)
        h = h * 31 + (size_t)tolower((unsigned char)segment[i]);
    return h % SHELVES;
}

static size_t row_shelf(const char *template)
{
    const char *first = template + 1, *second = strchr(first, '/'), *segment = second ? second + 1 : first;

    assert(*segment != '{');   /* it tells nothing apart */
    return shelf_of(segment, strcspn(segment, "/"));
}

static void put_on(struct shelves *s, const struct route *all, size_t n)
{
    assert(n <= ROWS_MOST);
    for (size_t i = n; i-- > 0;) {
        const struct route **first = &s->first[row_shelf(all[i].path)];

        s->next[i] = *first;
        *first = &all[i];
    }
}

static const struct shelves *shelves(const struct route *all, size_t n)
{
    static struct shelves made;
    static bool done;

    if (!done)
        put_on(&made, all, n);
    done = true;
    return &made;
}

/* The first row of those that may fit; NULL if none does. */
static const struct route *first_row(const struct shelves *shelves, const struct segments *s)
{
    const char *segment = s->n ? s->at[s->n > 1] : "";

    return shelves->first[shelf_of(segment, strlen(segment))];
}

/* --- finding ------------------------------------------------------------------------------- */

static unsigned bits_of(enum http_method m)
{
    return 1u << m | (m == HTTP_GET ? 1u << HTTP_HEAD : 0) | 1u << HTTP_OPTIONS;
}

int route_find(const char *path, enum http_method method, struct route_match *ret)
{
    size_t n;
    const struct route *all = routes(&n);
    const struct shelves *rows = shelves(all, n);
    struct route_match found = { 0 };
    struct segments s;
    int r;

    *ret = (struct route_match){ .text = strdup(path) };
    if (!ret->text)
        return -ENOMEM;
    if ((r = cut(ret->text, &s)) < 0)
        return r;
    for (const struct route *row = first_row(rows, &s); row; row = rows->next[row - all]) {
        if (!matches(row->path, &s, &found))
            continue;
        ret->methods |= bits_of(row->method);
        if (ret->route || row->method != (method == HTTP_HEAD ? HTTP_GET : method))
            continue;
        ret->route = row;
        ret->n_params = found.n_params;
        memcpy(ret->params, found.params, sizeof(found.params));
    }
    return 0;
}

void route_match_free(struct route_match *m)
{
    free(m->text);
    m->text = NULL;
}

void route_allow(unsigned methods, char out[ALLOW_SIZE])
{
    size_t len = 0;

    out[0] = '\0';
    for (enum http_method m = HTTP_GET; m < HTTP_OTHER; m++)
        if (methods & 1u << m)
            len += (size_t)snprintf(out + len, ALLOW_SIZE - len, "%s%s", len ? ", " : "", http_method_name(m));
}

const ProtobufCMessageDescriptor *route_message(Lf__Envelope__BodyCase body)
{
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(&lf__envelope__descriptor, (unsigned)body);

    return f && f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
}

const ProtobufCMessageDescriptor *route_request(const struct route *r)
{
    return r->own ? r->own : route_message(r->request);
}

/* --- queries ------------------------------------------------------------------------------- */

bool route_take_name(const char **list, char name[ROUTE_NAME_SIZE])
{
    size_t len;

    if (!*list)
        return false;
    *list += strspn(*list, " ");
    len = strcspn(*list, " ");
    if (!len || len >= ROUTE_NAME_SIZE)
        return false;
    memcpy(name, *list, len);
    name[len] = '\0';
    *list += len;
    return true;
}
