/* Where file systems are mounted that people keep something on, from the mount table.
 *
 * Not shown: what the kernel and the desktop present as files, what is in memory only, images of packages, single
 * files, drives (those of this agent its caller knows, others are other people's), and parts of a file system that is
 * shown as a whole: the sandbox of a service consists of such. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/mount_table.h"
#include "syncd/local_dir.h"

static const char *const PSEUDO[] = {
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fuse.snapfuse", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc",
    "pstore", "ramfs", "resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "squashfs", "sysfs", "tmpfs",
    "tracefs", MOUNT_TABLE_DRIVE,
};

struct found {
    char *point, *device, *root;   /* owned */
    bool is_local;                 /* it can be asked without a network */
};

struct search {
    struct found *found;
    size_t n;
};

static bool is_pseudo(const char *type)
{
    for (size_t i = 0; i < ARRAY_SIZE(PSEUDO); i++)
        if (strcmp(PSEUDO[i], type) == 0)
            return true;
    return false;
}

static void note(const struct mount_entry *m, void *arg)
{
    struct search *s = arg;

    if (!is_pseudo(m->type))
        *xadd(s->found, s->n) = (struct found){
            xstrdup(m->point), xstrdup(m->device), xstrdup(m->root), strncmp(m->source, "/dev/", 5) == 0,
        };
}

static bool is_file(const struct found *f)
{
    struct stat st;

    return f->is_local && stat(f->point, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* Whether `a` is `b` or lies below it. */
static bool lies_in(const char *a, const char *b)
{
    size_t n = strcmp(b, "/") == 0 ? 0 : strlen(b);

    return strncmp(a, b, n) == 0 && (a[n] == '/' || a[n] == '\0');
}

/* Of the same part the shortest path counts, and of two the first. */
static bool is_part_of(const struct search *s, size_t i, size_t other)
{
    const struct found *a = &s->found[i], *b = &s->found[other];
    size_t la = strlen(a->point), lb = strlen(b->point);

    if (i == other || strcmp(a->device, b->device) != 0 || !lies_in(a->root, b->root))
        return false;
    return strcmp(a->root, b->root) != 0 || lb < la || (lb == la && other < i);
}

static bool is_shown(const struct search *s, size_t i)
{
    for (size_t other = 0; other < s->n; other++)
        if (is_part_of(s, i, other))
            return false;
    return !is_file(&s->found[i]);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What is mounted over another has the same point. */
static void add(struct local_points *p, const char *point)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->points[i], point) == 0)
            return;
    *xadd(p->points, p->n) = xstrdup(point);
}

void local_points_find(void *points)
{
    struct local_points *p = points;
    struct search s = { 0 };

    mount_table_each(note, &s);
    for (size_t i = 0; i < s.n; i++)
        if (is_shown(&s, i))
            add(p, s.found[i].point);
    if (p->n)
        qsort(p->points, p->n, sizeof(*p->points), by_bytes);
    for (size_t i = 0; i < s.n; i++) {
        free(s.found[i].point);
        free(s.found[i].device);
        free(s.found[i].root);
    }
    free(s.found);
}

void local_points_done(struct local_points *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->points[i]);
    free(p->points);
}
