/* The rules, each one a function of its own; guard_check() is the order they stand in. */
#include "frontd/guard.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "frontd/form.h"

enum { HTTP_PORT = 80, ORIGIN_MAX = 512 };

static const char *const own_hosts[] = { "localhost", "127.0.0.1", "[::1]" };

/* --- hosts --------------------------------------------------------------------------------- */

/* Whether `rest` is ":<our port>"; or nothing, where the port may be left out. */
static bool is_own_port(const struct guard *g, const char *rest, bool optional)
{
    char port[8];

    if (!*rest)
        return optional || g->port == HTTP_PORT;
    (void)snprintf(port, sizeof(port), ":%u", g->port);
    return strcmp(rest, port) == 0;
}

static bool is_own_authority(const struct guard *g, const char *authority, bool port_optional)
{
    for (size_t i = 0; i < ARRAY_SIZE(own_hosts); i++) {
        size_t len = strlen(own_hosts[i]);

        if (strncasecmp(authority, own_hosts[i], len) == 0 && is_own_port(g, authority + len, port_optional))
            return true;
    }
    return false;
}

static struct http_refusal check_host(const struct guard *g, const struct http_head *h, const struct peer *p)
{
    const char *host = http_head_field(h, "Host");

    if (!host || http_head_count(h, "Host") != 1 || !is_own_authority(g, host, p->local))
        return HTTP_REFUSE(421, "This address serves localhost only; the Host header names something else.");
    if (h->authority && !is_own_authority(g, h->authority, p->local))
        return HTTP_REFUSE(421, "This address serves localhost only; the request names another host.");
    return HTTP_FINE;
}

/* --- origins ------------------------------------------------------------------------------- */

static bool is_own_origin(const struct guard *g, const char *origin)
{
    size_t scheme = strlen("http://");

    return strncasecmp(origin, "http://", scheme) == 0 && is_own_authority(g, origin + scheme, false);
}

static const char *find_origin(const struct guard *g, const char *origin)
{
    for (size_t i = 0; g->origins && g->origins[i]; i++)
        if (strcasecmp(g->origins[i], origin) == 0)
            return g->origins[i];
    return NULL;
}

/* Of a field that is there twice nobody knows which one a browser wrote. */
static bool says_once(const struct http_head *h, const char *name)
{
    return http_head_count(h, name) <= 1;
}

static struct http_refusal check_origin(const struct guard *g, const struct http_head *h, const char **allow_origin)
{
    const char *origin = http_head_field(h, "Origin"), *site = http_head_field(h, "Sec-Fetch-Site");

    *allow_origin = NULL;
    if (!says_once(h, "Origin") || !says_once(h, "Sec-Fetch-Site"))
        return HTTP_REFUSE(403, "Origin and Sec-Fetch-Site may each be there only once.");
    *allow_origin = origin ? find_origin(g, origin) : NULL;
    if (*allow_origin)
        return HTTP_FINE;
    if (origin && !is_own_origin(g, origin))
        return HTTP_REFUSE(403, "Web pages of this origin may not use the API; see CorsOrigins.");
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return HTTP_REFUSE(403, "Web pages of another site may not use the API; see CorsOrigins.");
    return HTTP_FINE;
}

struct http_refusal guard_check_change(const struct guard *g, const struct http_head *h)
{
    const char *referer = http_head_field(h, "Referer"), *host;
    char origin[ORIGIN_MAX];
    size_t len;

    if (!referer || !*referer)
        return HTTP_FINE;
    host = strstr(referer, "://");
    len = host && says_once(h, "Referer") ? (size_t)(host - referer) + 3 + strcspn(host + 3, "/?#") : sizeof(origin);
    if (len < sizeof(origin)) {
        memcpy(origin, referer, len);
        origin[len] = '\0';
        if (is_own_origin(g, origin) || find_origin(g, origin))
            return HTTP_FINE;
    }
    return HTTP_REFUSE(403, "Web pages of another origin may not change anything here; see CorsOrigins.");
}

/* scheme://host[:port], nothing behind it. */
static bool is_origin(const char *s)
{
    const char *host = strstr(s, "://");

    if (!host || host == s || !host[3] || strlen(s) >= ORIGIN_MAX)
        return false;
    for (const char *p = s; p < host; p++)
        if (!isalnum((unsigned char)*p) && !strchr("+-.", *p))
            return false;
    for (const char *p = host + 3; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-._:[]", *p))
            return false;
    return true;
}

int guard_init(struct guard *g, uint16_t port, uid_t served_uid, char *const *origins, struct error *e)
{
    *g = (struct guard){ .port = port, .served_uid = served_uid, .origins = (const char *const *)origins };
    for (size_t i = 0; origins && origins[i]; i++)
        if (!is_origin(origins[i]))
            return error_set(e, -EINVAL, "CorsOrigins: %s is not an origin; write it as https://app.example.org.",
                             origins[i]);
    return 0;
}

/* --- peers --------------------------------------------------------------------------------- */

bool guard_welcomes(const struct guard *g, const struct peer *p)
{
    return p->known && (p->uid == g->served_uid || p->uid == 0);
}

struct guard_verdict guard_check(const struct guard *g, const struct http_head *h, const struct peer *p)
{
    struct guard_verdict v = { .refusal = check_host(g, h, p) };

    if (!v.refusal.status)
        v.refusal = check_origin(g, h, &v.allow_origin);
    if (!v.refusal.status && !guard_welcomes(g, p))
        v.refusal = HTTP_REFUSE(401, "This agent serves another user of this machine.");
    return v;
}

/* --- bodies -------------------------------------------------------------------------------- */

/* "application/json", whatever its parameters. */
static bool is_json(const char *type)
{
    size_t len = strlen("application/json");

    return strncasecmp(type, "application/json", len) == 0 && (!type[len] || strchr("; \t", type[len]));
}

struct http_refusal guard_check_form(const struct http_head *h, uint64_t max)
{
    const char *type = http_head_field(h, "Content-Type");
    char boundary[FORM_BOUNDARY_MAX + 1];

    if (!type || http_head_count(h, "Content-Type") != 1 || !form_boundary(type, boundary))
        return HTTP_REFUSE(415, "The body must be multipart/form-data with a boundary.");
    if (h->content_length > max)
        return HTTP_REFUSE(413, "The form is too large; see MaxFormBytes.");
    return HTTP_FINE;
}

struct http_refusal guard_check_body(const struct http_head *h, uint64_t max)
{
    const char *type = http_head_field(h, "Content-Type");
    bool carries = http_head_has_body(h), may = h->method == HTTP_POST || h->method == HTTP_PUT;

    if ((carries && !type) || (type && (carries || may) && (http_head_count(h, "Content-Type") != 1 || !is_json(type))))
        return HTTP_REFUSE(415, "The body must be application/json.");
    if (h->content_length > max)
        return HTTP_REFUSE(413, "The body is too large; see MaxBodyBytes.");
    return HTTP_FINE;
}
