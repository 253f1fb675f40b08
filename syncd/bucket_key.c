/* Keys as they are given. Must not know any cloud. */
#include "syncd/bucket_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/path.h"

static bool is_dots(const char *component, size_t n)
{
    return (n == 1 || n == 2) && strspn(component, ".") >= n;
}

static bool has_dots(const char *key)
{
    for (const char *p = key;; p++) {
        size_t n = strcspn(p, "/");

        if (is_dots(p, n))
            return true;
        p += n;
        if (!*p)
            return false;
    }
}

static bool has_control(const char *key)
{
    for (const char *p = key; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return true;
    return false;
}

int bucket_key_check(const char *member, const char *key, struct error *e)
{
    size_t n = key ? strlen(key) : 0;

    if (n == 0)
        return error_set(e, -EINVAL, "%s is missing.", member);
    if (n > BUCKET_KEY_MAX)
        return error_set(e, -EINVAL, "%s is longer than %d bytes.", member, BUCKET_KEY_MAX);
    if (!utf8_valid(key, n) || has_control(key))
        return error_set(e, -EINVAL, "%s has characters that are no text.", member);
    if (has_dots(key))
        return error_set(e, -EPERM, "%s has a component that is \".\" or \"..\"; such an object is not touched here.",
                         member);
    return 0;
}

int bucket_key_make(const char *member, const char *folder, const char *name, const char *tail, char **ret,
                    struct error *e)
{
    CLEANUP_FREE char *prefix = path_prefix(folder), *key = NULL;
    int r;

    if (!name || !*name)
        return error_set(e, -EINVAL, "%s is missing.", member);
    if (strchr(name, '/'))
        return error_set(e, -EINVAL, "%s is one name, without a slash.", member);
    if (asprintf(&key, "%s%s%s", prefix, name, tail) < 0)
        abort();
    r = bucket_key_check(member, key, e);
    if (r == 0)
        *ret = take_ptr(key);
    return r;
}
