/* The index: which agent of its drive it is, and the segments of all of them that were written or read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/store_anchor.h"
#include "syncd/store_index_internal.h"

/* --- the agent ------------------------------------------------------------------------------------------ */

static int make_agent(struct index *x, struct index_agent *ret)
{
    *ret = (struct index_agent){ .first = 1 };
    arc4random_buf(ret->id, sizeof(ret->id));
    return sql_run(x->sql, "INSERT INTO agent(id) VALUES(?)", SQL_BLOB(ret->id, sizeof(ret->id)));
}

int index_agent_get(struct index *x, struct index_agent *ret)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(x->sql, "SELECT id, last, first, passed FROM agent");
    int r = sql_next(&q);
    size_t n;
    const void *id = r > 0 ? sql_blob(&q, 0, &n) : NULL;

    if (r < 0)
        return r;
    if (!id)
        return make_agent(x, ret);
    if (n != sizeof(ret->id))
        return -EUCLEAN;
    *ret = (struct index_agent){
        .last = (uint32_t)sql_int(&q, 1), .first = (uint32_t)sql_int(&q, 2), .passed = sql_int(&q, 3),
    };
    memcpy(ret->id, id, n);
    return 0;
}

int index_agent_put(struct index *x, const struct index_agent *a)
{
    return sql_run(x->sql, "UPDATE agent SET last = ?, first = ?, passed = ?", SQL_INT(a->last), SQL_INT(a->first),
                   SQL_INT(a->passed));
}

int index_agent_renew(struct index *x)
{
    struct index_agent was, is;
    int r = index_agent_get(x, &was);

    if (r == 0)
        r = sql_run(x->sql, "DELETE FROM agent");
    if (r == 0)
        r = make_agent(x, &is);
    is.passed = was.passed;
    if (r == 0)
        r = index_agent_put(x, &is);
    return r < 0 ? r : sql_run(x->sql, "UPDATE anchor SET segment = 0 WHERE segment > 0");
}

/* --- segments ------------------------------------------------------------------------------------------- */

#define COLUMNS "agent, number, etag, version, first, previous, fault"

/* Its ETag is borrowed. */
static struct index_segment row(struct sql_query *q)
{
    struct index_segment s = {
        .number = (uint32_t)sql_int(q, 1), .etag = (char *)(uintptr_t)sql_text(q, 2),
        .version = (uint64_t)sql_int(q, 3), .first = (uint32_t)sql_int(q, 4), .previous = (uint32_t)sql_int(q, 5),
        .fault = (int)sql_int(q, 6),
    };
    size_t n;
    const void *agent = sql_blob(q, 0, &n);

    if (agent && n == sizeof(s.agent))
        memcpy(s.agent, agent, n);
    return s;
}

int index_segment_get(struct index *x, const uint8_t agent[ANCHOR_AGENT], uint32_t number, struct index_segment *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT " COLUMNS " FROM segment WHERE agent = ? AND number = ?",
                  SQL_BLOB(agent, ANCHOR_AGENT), SQL_INT(number));
    int r = sql_next(&q);

    *ret = (struct index_segment){ 0 };
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = row(&q);
    ret->etag = xstrdup(ret->etag);
    return 0;
}

int index_segment_put(struct index *x, const struct index_segment *s)
{
    return sql_run(x->sql, "INSERT OR REPLACE INTO segment(" COLUMNS ") VALUES(?, ?, ?, ?, ?, ?, ?)",
                   SQL_BLOB(s->agent, ANCHOR_AGENT), SQL_INT(s->number), SQL_TEXT(s->etag ? s->etag : ""),
                   SQL_INT(s->version), SQL_INT(s->first), SQL_INT(s->previous), SQL_INT(s->fault));
}

int index_segment_remove(struct index *x, const uint8_t agent[ANCHOR_AGENT], uint32_t number)
{
    return sql_run(x->sql, "DELETE FROM segment WHERE agent = ? AND number = ?", SQL_BLOB(agent, ANCHOR_AGENT),
                   SQL_INT(number));
}

void index_segment_done(struct index_segment *s)
{
    free(take_ptr(s->etag));
}

int index_segments(struct index *x, const uint8_t agent[ANCHOR_AGENT], index_segment_fn *each, void *arg)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT " COLUMNS " FROM segment WHERE ?1 IS NULL OR agent = ?1 ORDER BY agent, number",
                  agent ? SQL_BLOB(agent, ANCHOR_AGENT) : SQL_NULL);
    int r;

    while ((r = sql_next(&q)) > 0) {
        struct index_segment s = row(&q);

        if (!each(&s, arg))
            break;
    }
    return r < 0 ? r : 0;
}

uint64_t index_segments_faulty(struct index *x)
{
    int64_t n = 0;

    (void)sql_get_int(x->sql, &n, "SELECT count(*) FROM segment WHERE fault <> 0");
    return (uint64_t)n;
}

int index_segments_forgive(struct index *x)
{
    return sql_run(x->sql, "UPDATE segment SET etag = '' WHERE fault <> 0");
}
