/* All directories below one, listed a few at a time. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "syncd/listing.h"

enum { BRANCHES_AT_ONCE = 8 };

struct tree {
    struct lister *l;
    lister_done_fn *done;
    void *arg;
    uint64_t *dirs;                  /* still to be listed */
    size_t n;
    unsigned n_active;
    bool walking;                    /* walk() is on the stack */
    struct error error;
};

/* One directory of a tree being listed. */
struct branch {
    struct tree *tree;
    uint64_t dir;
};

static void add(struct tree *t, uint64_t dir)
{
    *xadd(t->dirs, t->n) = dir;
}

static bool add_directory(const struct index_inode *i, void *arg)
{
    if (S_ISDIR(i->mode))
        add(arg, i->ino);
    return true;
}

static void walk(struct tree *t);

/* A directory that vanished meanwhile is no failure of the tree. That the drive is being closed is told before all
 * else: who waits is not there any more. */
static void branch_done(const struct error *e, void *arg)
{
    struct branch *b = arg;
    struct tree *t = b->tree;
    int r = e->code;

    if (r == 0)
        r = index_list(t->l->v->index, b->dir, NULL, 0, add_directory, t);
    if (r < 0 && r != -ENOENT && (!t->error.code || r == -ECANCELED))
        t->error = e->code ? *e : (struct error){ .code = r };
    free(b);
    t->n_active--;
    walk(t);
}

static void start_branch(struct tree *t)
{
    struct branch *b = xcalloc(1, sizeof(*b));

    *b = (struct branch){ t, t->dirs[--t->n] };
    t->n_active++;
    lister_ensure(t->l, b->dir, branch_done, b);
}

/* lister_ensure() may answer at once, from inside: then the loop here goes on, not the stack. */
static void walk(struct tree *t)
{
    if (t->walking)
        return;
    t->walking = true;
    while (t->n > 0 && !t->error.code && t->n_active < BRANCHES_AT_ONCE)
        start_branch(t);
    t->walking = false;
    if (t->n_active > 0)
        return;
    t->done(&t->error, t->arg);
    free(t->dirs);
    free(t);
}

void lister_ensure_tree(struct lister *l, uint64_t dir, lister_done_fn *done, void *arg)
{
    struct tree *t = xcalloc(1, sizeof(*t));

    *t = (struct tree){ .l = l, .done = done, .arg = arg };
    add(t, dir);
    walk(t);
}
