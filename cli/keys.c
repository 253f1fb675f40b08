/* Finds a key pair; keeps no copy. */
#include "cli/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

static const struct {
    const char *name;
    size_t field;
} names[] = {
    { "AWS_ACCESS_KEY_ID", offsetof(struct key_pair, access) },
    { "AWS_SECRET_ACCESS_KEY", offsetof(struct key_pair, secret) },
};

static void set(struct key_pair *k, size_t i, const char *value)
{
    (void)snprintf((char *)k + names[i].field, KEY_TEXT_MAX, "%s", value);
}

static char *trim(char *s)
{
    size_t n;

    s += strspn(s, " \t\"'");
    n = strlen(s);
    while (n && (isspace((unsigned char)s[n - 1]) || s[n - 1] == '"' || s[n - 1] == '\''))
        s[--n] = '\0';
    return s;
}

static void take_line(struct key_pair *k, char *line)
{
    char *value = strchr(line, '='), *name = line;

    if (!value)
        return;
    *value++ = '\0';
    name = trim(name);
    if (strncasecmp(name, "export ", 7) == 0)
        name = trim(name + 7);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcasecmp(name, names[i].name) == 0 && ((char *)k + names[i].field)[0] == '\0')
            set(k, i, trim(value));
}

static int read_file(const char *path, struct key_pair *k, struct error *e)
{
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    char line[2 * KEY_TEXT_MAX];

    if (!f)
        return error_set(e, -errno, "The keys file %s cannot be read: %m.", path);
    (void)setvbuf(f, NULL, _IONBF, 0);   /* no second copy of the keys in a buffer */
    while (fgets(line, sizeof(line), f))
        take_line(k, line);
    explicit_bzero(line, sizeof(line));
    return 0;
}

static void read_environment(struct key_pair *k)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *value = getenv(names[i].name);

        set(k, i, value ? value : "");
    }
}

int keys_read(const char *path, struct key_pair *ret, struct error *e)
{
    int r = 0;

    *ret = (struct key_pair){ 0 };
    if (path)
        r = read_file(path, ret, e);
    else
        read_environment(ret);
    if (r == 0 && (!ret->access[0] || !ret->secret[0]))
        r = error_set(e, -ENOENT, "%s does not hold both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
                      path ? path : "The environment");
    if (r < 0)
        keys_wipe(ret);
    return r;
}

void keys_wipe(struct key_pair *k)
{
    explicit_bzero(k, sizeof(*k));
}
