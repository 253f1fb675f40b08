/* The serviceUrl of an account: text from outside, judged before anything is connected. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"

enum { SERVICE_HOST_MAX = 254, SERVICE_PATH_MAX = 256 };

struct service_url {
    bool https;
    char host[SERVICE_HOST_MAX];   /* lower case, an IPv6 address without brackets */
    uint16_t port;                 /* 0: the scheme's own */
    char path[SERVICE_PATH_MAX];   /* "" or "/..." without a slash at its end; as written, percent-encoded */
    bool literal;                  /* host is an address */
};

/* "https://host[:port][/path]", "http://...", or "host[:port]", which means https. 0, or -EINVAL with a
 * sentence: another scheme, a user name, a query, a fragment, a host that is no DNS name and no plain
 * address (octal and one-number spellings are refused), a bad port, dot segments, too long. */
int service_url_parse(const char *text, struct service_url *ret, struct error *e);

/* Whether syncd may go there. 0, or -EINVAL with a sentence: plain http to another machine without
 * AllowPlainHttp, the port of our own API, a metadata service. What names resolve to is judged
 * again when a connection is made (http.c). */
int service_url_allowed(const struct service_url *u, const struct config *c, struct error *e);

/* "file:///absolute/path" (also "file://localhost/..."), percent-encoded: the folder, owned by the
 * caller. 0, or -EINVAL with a sentence: relative, "." or "..", another host, no file URL, too long. */
int service_url_folder(const char *text, char **ret, struct error *e);
