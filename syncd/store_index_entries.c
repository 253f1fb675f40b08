/* The index: how much a directory contains, or all of it, without looking at everything where that may be a million
 * names.
 *
 * Must not know what the entries are; reading them is store_index.c's. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/store_index_internal.h"

enum { BLOCK = 512 };

bool index_empty(struct index *x, uint64_t parent)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM inode WHERE parent = ? LIMIT 1", SQL_INT(parent)) == -ENOENT;
}

uint32_t index_directories(struct index *x, uint64_t parent)
{
    int64_t n = 0;

    (void)sql_get_int(x->sql, &n, "SELECT count(*) FROM inode INDEXED BY inode_directory WHERE parent = ?"
                      " AND (mode & 61440) = 16384", SQL_INT(parent));
    return (uint32_t)n;
}

uint64_t index_entries(struct index *x, uint64_t parent, uint64_t most)
{
    int64_t n;

    return sql_get_int(x->sql, &n, "SELECT count(*) FROM (SELECT 1 FROM inode INDEXED BY inode_parent WHERE parent = ?"
                       " LIMIT ?)", SQL_INT(parent), SQL_INT(most)) < 0 ? most : (uint64_t)n;
}

/* --- all there is ------------------------------------------------------------------------------------- */

struct index_share index_share(uint64_t size, uint32_t nlink)
{
    static const uint64_t PIB = UINT64_C(1) << 50;

    if (nlink == 0)
        return (struct index_share){ 0 };
    return (struct index_share){ .blocks = (int64_t)((least(size, PIB) + BLOCK - 1) / BLOCK), .names = 1 };
}

int index_share_of(struct index *x, uint64_t ino, struct index_share *ret)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT size, nlink FROM inode WHERE ino = ?",
                                                          SQL_INT(ino));
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = index_share((uint64_t)sql_int(&q, 0), (uint32_t)sql_int(&q, 1));
    return 0;
}

int index_share_changed(struct index *x, struct index_share was, struct index_share is)
{
    x->more.blocks += is.blocks - was.blocks;
    x->more.names += is.names - was.names;
    return index_in_transaction(x) ? 0 : index_total_put(x);
}

int index_total_put(struct index *x)
{
    struct index_share more = x->more;

    x->more = (struct index_share){ 0 };
    if (more.blocks == 0 && more.names == 0)
        return 0;
    return sql_run(x->sql, "UPDATE total SET blocks = blocks + ?, names = names + ?", SQL_INT(more.blocks),
                   SQL_INT(more.names));
}

static uint64_t sum(int64_t stored, int64_t more)
{
    return stored + more > 0 ? (uint64_t)(stored + more) : 0;
}

int index_total(struct index *x, uint64_t *ret_blocks, uint64_t *ret_names)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT blocks, names FROM total");
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    *ret_blocks = sum(sql_int(&q, 0), x->more.blocks);
    *ret_names = sum(sql_int(&q, 1), x->more.names);
    return 0;
}

/* --- samples ------------------------------------------------------------------------------------------ */

static bool take_file(const struct index_inode *i, void *arg)
{
    char **component = arg;

    if (!S_ISDIR(i->mode))
        *component = xstrdup(index_component(i));
    return S_ISDIR(i->mode);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Numbers are given out in the order of the listing that brought the names, so what is evenly spread among them is so
 * among the names, more or less. */
size_t index_sample(struct index *x, uint64_t parent, size_t least, char **ret, size_t n)
{
    int64_t first, last;
    size_t entries = (size_t)index_entries(x, parent, least * (n + 1)), found = 0, kept = 0;

    if (entries < 2 * least ||
        sql_get_int(x->sql, &first, "SELECT min(ino) FROM inode WHERE parent = ?", SQL_INT(parent)) < 0 ||
        sql_get_int(x->sql, &last, "SELECT max(ino) FROM inode WHERE parent = ?", SQL_INT(parent)) < 0)
        return 0;
    if (n > entries / least - 1)
        n = entries / least - 1;
    for (size_t i = 0; i < n; i++) {
        char *component = NULL;

        (void)index_scan(x, parent, (uint64_t)(first + (last - first) / (int64_t)(n + 1) * (int64_t)(i + 1)), take_file,
                         &component);
        if (component)
            ret[found++] = component;
    }
    qsort(ret, found, sizeof(*ret), by_bytes);
    for (size_t i = 0; i < found; i++)
        if (kept && strcmp(ret[kept - 1], ret[i]) == 0)
            free(ret[i]);
        else
            ret[kept++] = ret[i];
    return kept;
}
