/* The index: which numbers it gives to inodes. One that takes the place of a lost index begins where that one cannot
 * have come: workers, the kernel and cache files still have its numbers, and must not find other files under them.
 *
 * Must not know why the other one was lost. */
#include "common/loop.h"
#include "syncd/store_index_internal.h"

/* Whoever gives out fewer than a million numbers a second stays behind the clock. */
static const int64_t MICROSECOND_NS = 1000, BEGINNING_NS = INT64_C(1577836800000000000);   /* 2020 */

uint64_t index_last_ino(struct index *x)
{
    int64_t last = 0;

    (void)sql_get_int(x->sql, &last, "SELECT seq FROM sqlite_sequence WHERE name = 'inode'");
    return (uint64_t)last;
}

static uint64_t predecessor(struct index *x)
{
    int64_t last = 0;

    (void)sql_get_int(x->sql, &last, "SELECT last FROM predecessor");
    return (uint64_t)last;
}

bool index_gave(struct index *x, uint64_t ino)
{
    return ino == INDEX_ROOT || (ino > predecessor(x) && ino <= index_last_ino(x));
}

static int begin_behind(struct index *x, int64_t last)
{
    int r = sql_run(x->sql, "INSERT INTO predecessor(last) VALUES(?)", SQL_INT(last));

    return r < 0 ? r : sql_run(x->sql, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'inode'", SQL_INT(last));
}

int index_succeed(struct index *x)
{
    int64_t last = (loop_wall_ns() - BEGINNING_NS) / MICROSECOND_NS;
    int r;

    if (index_last_ino(x) != INDEX_ROOT || last <= INDEX_ROOT)
        return 0;
    r = index_begin(x);
    return r < 0 ? r : index_end(x, begin_behind(x, last));
}
