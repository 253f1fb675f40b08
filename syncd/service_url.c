/* A small strict reader of URLs: what it does not know it refuses. */
#include "syncd/service_url.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/address.h"

static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

static bool only(const char *s, size_t n, const char *more)
{
    for (size_t i = 0; i < n; i++)
        if (!s[i] || (!strchr(alnum, s[i]) && !strchr(more, s[i])))
            return false;
    return true;
}

/* A DNS name: labels of letters, digits, '-' and '_', the last not a number, so that no other
 * spelling of an address passes for a name. */
static bool good_name(const char *host)
{
    const char *label = host, *last = host;

    for (;;) {
        size_t n = strcspn(label, ".");

        if (n == 0 || n > 63 || !only(label, n, "-_") || label[0] == '-' || label[n - 1] == '-')
            return false;
        last = label;
        if (!label[n])
            break;
        label += n + 1;
    }
    return last[0] < '0' || last[0] > '9';
}

static int take_scheme(const char **p, struct service_url *u)
{
    const char *colon = strstr(*p, "://");
    size_t n = colon ? (size_t)(colon - *p) : 0;

    u->https = true;
    if (!colon)
        return 0;
    if (n == 4 && strncasecmp(*p, "http", 4) == 0)
        u->https = false;
    else if (n != 5 || strncasecmp(*p, "https", 5) != 0)
        return -EINVAL;
    *p = colon + 3;
    return 0;
}

/* "[::1]" or a name, up to the port or the path. */
static int take_host(const char **p, struct service_url *u)
{
    bool bracket = **p == '[';
    const char *start = *p + bracket;
    size_t n = strcspn(start, bracket ? "]" : ":/");

    if (n == 0 || n >= sizeof(u->host) || (bracket && start[n] != ']'))
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        u->host[i] = (char)(start[i] >= 'A' && start[i] <= 'Z' ? start[i] | 0x20 : start[i]);
    u->host[n] = '\0';
    u->literal = address_host_is_literal(u->host);
    *p = start + n + bracket;
    if (bracket)
        return u->literal && strchr(u->host, ':') ? 0 : -EINVAL;
    return u->literal || good_name(u->host) ? 0 : -EINVAL;
}

static int take_port(const char **p, struct service_url *u)
{
    unsigned long port = 0;
    const char *digits;

    if (**p != ':')
        return 0;
    for (digits = ++*p; **p >= '0' && **p <= '9' && port <= UINT16_MAX; ++*p)
        port = port * 10 + (unsigned long)(**p - '0');
    if (*p == digits || port == 0 || port > UINT16_MAX)
        return -EINVAL;
    u->port = port == (u->https ? 443 : 80) ? 0 : (uint16_t)port;
    return 0;
}

/* Whether one of the path's segments is "." or "..", however it is spelled. `path` is decoded. */
static bool has_dots(const char *path)
{
    for (const char *s = path; s; s = strchr(s, '/')) {
        size_t n;

        s += *s == '/';
        n = strcspn(s, "/");
        if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return true;
    }
    return false;
}

static int take_path(const char **p, struct service_url *u)
{
    size_t n = strlen(*p);
    char decoded[SERVICE_PATH_MAX];

    while (n && (*p)[n - 1] == '/')
        n--;
    if (n >= sizeof(u->path) || (n && (*p)[0] != '/') || !only(*p, n, "/-._~%"))
        return -EINVAL;
    memcpy(u->path, *p, n);
    u->path[n] = '\0';
    memcpy(decoded, u->path, n + 1);
    if (text_percent_decode(decoded) < 0 || has_dots(decoded))
        return -EINVAL;
    *p += strlen(*p);
    return 0;
}

int service_url_parse(const char *text, struct service_url *ret, struct error *e)
{
    const char *p = text;

    memset(ret, 0, sizeof(*ret));
    if (take_scheme(&p, ret) < 0)
        return error_set(e, -EINVAL, "The service URL must begin with https:// or http://.");
    if (take_host(&p, ret) < 0)
        return error_set(e, -EINVAL, "The service URL must name a host, as in https://s3.example.com.");
    if (take_port(&p, ret) < 0)
        return error_set(e, -EINVAL, "The port in the service URL must be a number from 1 to 65535.");
    if (take_path(&p, ret) < 0)
        return error_set(e, -EINVAL, "After its host the service URL may only have a plain path.");
    return 0;
}

int service_url_allowed(const struct service_url *u, const struct config *c, struct error *e)
{
    bool here = address_host_is_loopback(u->host);
    uint16_t api_port, port = u->port ? u->port : u->https ? 443 : 80;
    int r = config_host_port(c, &api_port, e);

    if (r < 0)
        return r;
    if (here && port == api_port)
        return error_set(e, -EINVAL, "The service URL leads to Landfall's own API on port %u.", port);
    if (address_host_is_forbidden(u->host))
        return error_set(e, -EINVAL, "The service URL leads to %s, an address that is no storage service.", u->host);
    if (!u->https && !here && !c->allow_plain_http)
        return error_set(e, -EINVAL, "Plain http to %s would show everything to the network. Use https, or set "
                                     "AllowPlainHttp in the configuration.", u->host);
    return 0;
}

/* One spelling for one folder: no slash twice, none at the end. */
static void tidy(char *path)
{
    char *out = path;

    for (const char *p = path; *p; p++)
        if (*p != '/' || out == path || out[-1] != '/')
            *out++ = *p;
    out -= out > path + 1 && out[-1] == '/';
    *out = '\0';
}

int service_url_folder(const char *text, char **ret, struct error *e)
{
    CLEANUP_FREE char *path = NULL;
    const char *p = text;

    if (strncasecmp(p, "file://", 7) != 0)
        return error_set(e, -EINVAL, "The service URL of a LocalFolder account must read file:///path/of/folder.");
    p += 7;
    if (strncasecmp(p, "localhost/", 10) == 0)
        p += 9;
    if (*p != '/' || strlen(p) >= PATH_MAX || strpbrk(p, "?#"))
        return error_set(e, -EINVAL, "The folder in the service URL must be an absolute path, as in file:///srv/data.");
    path = strdup(p);
    if (!path)
        return -ENOMEM;
    if (text_percent_decode(path) < 0 || has_dots(path))
        return error_set(e, -EINVAL, "The folder in the service URL may not have . or .. in it, or a bad %%-code.");
    tidy(path);
    *ret = take_ptr(path);
    return 0;
}
