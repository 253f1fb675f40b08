/* Owns the orders in which programs go through a directory: by the numbers of the inodes, which is the order of
 * readdir(3) and nearly that of the names, and by the number in the name ("scan-9", "scan-10").
 *
 * Must not know who goes through it, nor what for. */
#include "syncd/scan_order.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

enum { NEAR = 4 };   /* entries of its kind that a step may reach over: what is there already */

struct near {
    unsigned passed, near;     /* entries that may still be looked at, in all and of the kind */
    bool is_directory;
    uint64_t ino;
    bool found;
};

void scan_place_set(struct scan_place *p, const struct index_inode *i)
{
    p->ino = i->ino;
    memcpy(p->name, i->name, i->name_len + 1);
}

/* --- by number ------------------------------------------------------------------------------------ */

static bool compare_entry(const struct index_inode *i, void *arg)
{
    struct near *n = arg;

    n->found = i->ino == n->ino;
    n->near -= S_ISDIR(i->mode) == n->is_directory;
    return !n->found && n->near > 0 && --n->passed > 0;
}

static bool is_near(struct volume *v, const struct scan_place *last, const struct index_inode *i)
{
    struct near n = { .passed = SCAN_PASSED, .near = NEAR, .is_directory = S_ISDIR(i->mode), .ino = i->ino };

    return i->ino > last->ino && index_scan(v->index, i->parent, last->ino, compare_entry, &n) == 0 && n.found;
}

static bool copy_number(const struct index_inode *i, void *arg)
{
    uint64_t *ino = arg;

    *ino = i->ino;
    return false;
}

static bool step_number(struct volume *v, uint64_t dir, struct scan_place *at)
{
    uint64_t before = at->ino;

    return index_scan(v->index, dir, before, copy_number, &at->ino) == 0 && at->ino != before;
}

/* --- by name -------------------------------------------------------------------------------------- */

/* The last number in the name is one more, with as many digits at least. False: there is none, or no room. */
static bool name_after(const char *name, char ret[NAME_SIZE])
{
    size_t end = strlen(name), begin, len;
    unsigned long long number;

    while (end > 0 && !isdigit((unsigned char)name[end - 1]))
        end--;
    for (begin = end; begin > 0 && end - begin < 18 && isdigit((unsigned char)name[begin - 1]);)
        begin--;
    if (begin == end)
        return false;
    number = strtoull(name + begin, NULL, 10) + 1;
    len = (size_t)snprintf(ret, NAME_SIZE, "%.*s%0*llu%s", (int)begin, name, (int)(end - begin), number, name + end);
    return len < NAME_SIZE;
}

static bool is_named_next(struct volume *v, const struct scan_place *last, const struct index_inode *i)
{
    char next[NAME_SIZE];

    (void)v;
    return name_after(last->name, next) && strcmp(i->name, next) == 0;
}

static bool step_name(struct volume *v, uint64_t dir, struct scan_place *at)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    char next[NAME_SIZE];

    if (!name_after(at->name, next) || index_find(v->index, dir, next, strlen(next), &i) < 0)
        return false;
    scan_place_set(at, &i);
    return true;
}

const struct scan_next scan_orders[SCAN_ORDERS] = {
    [SCAN_BY_NUMBER] = { is_near, step_number },
    [SCAN_BY_NAME] = { is_named_next, step_name },
};
