/* serviceUrl of an account: whatever is taken must come out as a host and a path that can stand in a request. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/service_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct service_url *u)
{
    if (!*u->host || strpbrk(u->host, "/@?#\\ \t\r\n%") || strpbrk(u->path, "?#\\ \t\r\n") || strstr(u->path, "/../"))
        abort();
    if (*u->path && (u->path[0] != '/' || u->path[strlen(u->path) - 1] == '/'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_FREE char *text = strndup((const char *)data, size), *folder = NULL;
    struct service_url u;
    struct error e;

    if (text && service_url_parse(text, &u, &e) == 0)
        check(&u);
    if (text && service_url_folder(text, &folder, &e) == 0 && (folder[0] != '/' || strstr(folder, "/../")))
        abort();
    return 0;
}
