/* Replies kept for requests that may come again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/store_index_internal.h"

static uint64_t origin(const struct ipc_identity *who, uint64_t mount)
{
    return mount ? who->origin : 0;
}

int index_replay_get(struct index *x, const struct ipc_identity *who, uint64_t mount, void **ret, size_t *ret_size)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT reply FROM replay WHERE instance = ? AND id = ?"
                  " UNION ALL SELECT reply FROM replay WHERE origin = ? AND mount = ? AND origin <> 0",
                  SQL_INT(who->instance), SQL_INT(who->id), SQL_INT(origin(who, mount)), SQL_INT(mount));
    int r = sql_next(&q);
    const void *reply;

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    reply = sql_blob(&q, 0, ret_size);
    *ret = malloc(*ret_size + 1);
    if (!*ret)
        return -ENOMEM;
    memcpy(*ret, reply, *ret_size);
    return 0;
}

int index_replay_put(struct index *x, const struct ipc_identity *who, uint64_t mount, const void *reply, size_t size)
{
    int r = sql_run(x->sql, "DELETE FROM replay WHERE instance = ? AND id < ?", SQL_INT(who->instance),
                    SQL_INT(who->done_below));

    if (r < 0)
        return r;
    return sql_run(x->sql, "INSERT OR REPLACE INTO replay(instance, id, mount, origin, stored, reply)"
                   " VALUES(?, ?, ?, ?, ?, ?)", SQL_INT(who->instance), SQL_INT(who->id), SQL_INT(mount),
                   SQL_INT(origin(who, mount)), SQL_INT(loop_wall_ns()), SQL_BLOB(reply, size));
}
