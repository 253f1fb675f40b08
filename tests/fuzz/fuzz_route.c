/* Any text as a path, a query and a Range field. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "frontd/query.h"
#include "frontd/range.h"
#include "frontd/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *text)
{
    char allow[ALLOW_SIZE];

    for (enum http_method method = HTTP_GET; method <= HTTP_OTHER; method++) {
        struct route_match m;
        int r = route_find(text, method, &m);

        if ((r < 0 && m.route) || (m.route && !m.methods) || m.n_params > ROUTE_PARAMS_MAX)
            abort();
        for (size_t i = 0; i < m.n_params; i++)
            if (!*m.params[i].value || strlen(m.params[i].value) > strlen(text))
                abort();
        route_allow(m.methods, allow);
        route_match_free(&m);
    }
}

static void check_query(const char *text)
{
    struct query q;

    if (query_parse(text, &q) == 0)
        for (size_t i = 0; i < q.n; i++)
            if (!query_get(&q, q.pairs[i].name))
                abort();
    query_free(&q);
}

static void check_range(const char *text)
{
    struct range r = range_parse(text);
    char out[CONTENT_RANGE_SIZE];

    if (r.first < 0 || r.last < 0 || (r.kind == RANGE_SPAN && r.last < r.first))
        abort();
    range_content(r.first, r.last, INT64_MAX, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);

    if (!text)
        abort();
    check_path(text);
    check_query(text);
    check_range(text);
    free(text);
    return 0;
}
