/* Reads /proc/self/mountinfo, whose form is in proc(5). */
#include "common/mount_table.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

/* Blanks and backslashes stand as \040 in it. In place. */
static void unescape(char *s)
{
    char *out = s;

    for (; *s; s++) {
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* "36 35 0:50 / /mnt rw,nosuid - fuse.x source opts": device, root and mount point are the third to fifth field, the
 * type and the source stand after the lone dash. */
static void each_line(char *line, void (*fn)(const struct mount_entry *m, void *arg), void *arg)
{
    CLEANUP_FREE char *device = NULL, *root = NULL, *point = NULL, *type = NULL, *source = NULL;
    char *tail = strstr(line, " - ");

    if (!tail || sscanf(line, "%*s %*s %ms %ms %ms", &device, &root, &point) != 3 ||
        sscanf(tail + 3, "%ms %ms", &type, &source) != 2)
        return;
    unescape(root);
    unescape(point);
    unescape(source);
    fn(&(struct mount_entry){ point, type, source, device, root }, arg);
}

void mount_table_each(void (*fn)(const struct mount_entry *m, void *arg), void *arg)
{
    CLEANUP_FCLOSE FILE *f = fopen("/proc/self/mountinfo", "re");
    CLEANUP_FREE char *line = NULL;
    size_t size = 0;

    while (f && getline(&line, &size, f) >= 0)
        each_line(line, fn, arg);
}

struct search {
    const char *path, *type;
    size_t longest;
    bool found;
};

static void consider(const struct mount_entry *m, void *arg)
{
    struct search *s = arg;
    size_t n = strcmp(m->point, "/") == 0 ? 0 : strlen(m->point);

    if (n < s->longest || strncmp(s->path, m->point, n) != 0 || (s->path[n] != '/' && s->path[n] != '\0'))
        return;
    s->longest = n;
    s->found = strcmp(m->type, s->type) == 0;
}

bool mount_table_on(const char *path, const char *type)
{
    struct search s = { .path = path, .type = type };

    mount_table_each(consider, &s);
    return s.found;
}
