/* The index: versions of objects that were seen, put or removed, and which of them are to be told to others. */
#include "syncd/store_anchor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/hash.h"
#include "syncd/store_index_internal.h"

/* Half of a SHA-256 tells keys apart, whatever their length. */
static struct sql_value anchor_key(const char *key, uint8_t digest[HASH_SHA256])
{
    hash_sha256(key, strlen(key), digest);
    return SQL_BLOB(digest, ANCHOR_KEY);
}

/* --- reading ------------------------------------------------------------------------------------------- */

/* What was removed is not to come back. */
uint64_t index_anchor(struct index *x, const char *key)
{
    uint8_t digest[HASH_SHA256];
    int64_t version = 0;

    return sql_get_int(x->sql, &version, "SELECT version + (gone <> 0) FROM anchor WHERE key = ?",
                       anchor_key(key, digest)) == 0 ? (uint64_t)version : 0;
}

uint64_t index_anchor_seen(struct index *x, const char *key)
{
    uint8_t digest[HASH_SHA256];
    int64_t version = 0;

    return sql_get_int(x->sql, &version, "SELECT version FROM anchor WHERE key = ?", anchor_key(key, digest)) == 0
        ? (uint64_t)version : 0;
}

/* The columns that row() expects. */
#define COLUMNS "key, version, above, accepts, life"

static struct anchor row(struct sql_query *q)
{
    struct anchor a = {
        .version = (uint64_t)sql_int(q, 1), .above = (uint64_t)sql_int(q, 2), .accepts = (uint32_t)sql_int(q, 3),
        .life = (uint32_t)sql_int(q, 4),
    };
    size_t n;
    const void *key = sql_blob(q, 0, &n);

    if (key && n == ANCHOR_KEY)
        memcpy(a.key, key, n);
    return a;
}

/* --- what happens here --------------------------------------------------------------------------------- */

int index_anchor_raise(struct index *x, const char *key, uint64_t version)
{
    uint8_t digest[HASH_SHA256];

    return sql_run(x->sql, "INSERT INTO anchor(key, version) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET"
                   " life = iif(version = excluded.version, life + (life & 1), 0), version = excluded.version, gone = 0"
                   " WHERE version <= excluded.version", anchor_key(key, digest), SQL_INT(version));
}

static int tell(struct index *x, const char *key, int r)
{
    uint8_t digest[HASH_SHA256];

    return r < 0 ? r : sql_run(x->sql, "UPDATE anchor SET segment = 0 WHERE key = ?", anchor_key(key, digest));
}

int index_anchor_put(struct index *x, const char *key, uint64_t version)
{
    return tell(x, key, index_anchor_raise(x, key, version));
}

int index_anchor_accept(struct index *x, const char *key, uint64_t version)
{
    uint8_t digest[HASH_SHA256];

    return tell(x, key, sql_run(x->sql, "INSERT INTO anchor(key, version, accepts) VALUES(?, ?, 1) ON CONFLICT(key)"
                                " DO UPDATE SET above = max(above, version), accepts = accepts + 1,"
                                " version = excluded.version, life = 0, gone = 0", anchor_key(key, digest),
                                SQL_INT(version)));
}

/* Of what was not encrypted nothing can come back. */
int index_anchor_gone(struct index *x, const char *key, int64_t now_ns)
{
    uint8_t digest[HASH_SHA256];

    return sql_run(x->sql, "UPDATE anchor SET gone = ?2, life = life | 1, segment = 0 WHERE key = ?1 AND gone = 0"
                   " AND version > 0", anchor_key(key, digest), SQL_INT(now_ns));
}

int index_forget_anchors(struct index *x, uint64_t most)
{
    int64_t n;
    int r = sql_get_int(x->sql, &n, "SELECT count(*) FROM anchor WHERE gone <> 0");

    if (r < 0 || n <= (int64_t)most)
        return r;
    return sql_run(x->sql, "DELETE FROM anchor WHERE key IN (SELECT key FROM anchor WHERE gone <> 0 ORDER BY gone"
                   " LIMIT ?)", SQL_INT(n - (int64_t)most));
}

/* --- what others tell ---------------------------------------------------------------------------------- */

static int known(struct index *x, const struct anchor *a, struct anchor *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT " COLUMNS " FROM anchor WHERE key = ?", SQL_BLOB(a->key, ANCHOR_KEY));
    int r = sql_next(&q);

    if (r > 0)
        *ret = row(&q);
    return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

int index_anchor_take(struct index *x, const struct anchor *a, int64_t now_ns, bool *ret_accepted)
{
    struct anchor was = *a, is = *a;
    int r = known(x, a, &was);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == 0)
        is = anchor_join(&was, a);
    if (r == 0 && anchor_same(&was, &is))
        return 0;
    if (is.accepts && (r < 0 || is.accepts != was.accepts))
        *ret_accepted = true;
    return sql_run(x->sql, "INSERT INTO anchor(key, version, above, accepts, life, gone) VALUES(?, ?, ?, ?, ?, ?)"
                   " ON CONFLICT(key) DO UPDATE SET version = excluded.version, above = excluded.above,"
                   " accepts = excluded.accepts, life = excluded.life, gone = excluded.gone, segment ="
                   " iif(?7 OR segment IS NULL, NULL, 0)", SQL_BLOB(is.key, ANCHOR_KEY), SQL_INT(is.version),
                   SQL_INT(is.above), SQL_INT(is.accepts), SQL_INT(is.life), SQL_INT(is.life & 1 ? now_ns : 0),
                   SQL_INT(anchor_same(a, &is)));
}

struct refused {
    uint64_t ino, version;
    int fault;
    char *key;
};

static int forgive(struct index *x, const struct refused *f)
{
    uint64_t anchor = index_anchor(x, f->key);

    if (f->fault == -EREMCHG ? f->version < anchor : anchor > 0)
        return 0;
    return sql_run(x->sql, "UPDATE object SET fault = 0, found = 0 WHERE ino = ?", SQL_INT(f->ino));
}

/* One after the other by number, since what is read is changed. */
int index_anchor_forgive(struct index *x)
{
    struct refused f = { 0 };
    int r;

    do {
        CLEANUP(sql_query_end) struct sql_query q =
            sql_query(x->sql, "SELECT o.ino, o.version, o.fault, i.cloud_key FROM object o JOIN inode i"
                      " ON i.ino = o.ino WHERE o.ino > ? AND (o.fault = ? OR (o.fault = ? AND o.kind = 1))"
                      " AND i.cloud_key IS NOT NULL ORDER BY o.ino LIMIT 1", SQL_INT(f.ino), SQL_INT(-EREMCHG),
                      SQL_INT(-EUCLEAN));

        r = sql_next(&q);
        if (r > 0) {
            f = (struct refused){ (uint64_t)sql_int(&q, 0), (uint64_t)sql_int(&q, 1), (int)sql_int(&q, 2),
                                  sql_text_copy(&q, 3) };
            sql_query_end(&q);
            r = forgive(x, &f);
            free(f.key);
            r = r < 0 ? r : 1;
        }
    } while (r > 0);
    return r;
}

/* --- what is told ------------------------------------------------------------------------------------- */

int index_anchors_in(struct index *x, uint32_t number, struct anchor *ret, size_t n)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT " COLUMNS " FROM anchor WHERE segment = ? LIMIT ?", SQL_INT(number), SQL_INT(n));
    int found = 0, r;

    while ((r = sql_next(&q)) > 0)
        ret[found++] = row(&q);
    return r < 0 ? r : found;
}

int index_anchors_told(struct index *x, uint32_t number, const struct anchor *a, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++)
        r = sql_run(x->sql, "UPDATE anchor SET segment = ?6 WHERE key = ?1 AND segment = 0 AND version = ?2"
                    " AND above = ?3 AND accepts = ?4 AND life = ?5", SQL_BLOB(a[i].key, ANCHOR_KEY),
                    SQL_INT(a[i].version), SQL_INT(a[i].above), SQL_INT(a[i].accepts), SQL_INT(a[i].life),
                    SQL_INT(number));
    return r;
}

int index_anchors_untell_below(struct index *x, uint32_t number)
{
    return sql_run(x->sql, "UPDATE anchor SET segment = 0 WHERE segment > 0 AND segment < ?", SQL_INT(number));
}

int index_anchors_untell(struct index *x, uint32_t number)
{
    return sql_run(x->sql, "UPDATE anchor SET segment = 0 WHERE segment = ?", SQL_INT(number));
}

int index_anchors_count(struct index *x, uint32_t number, struct index_told *ret)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT count(*), ifnull(sum(segment = 0), 0), ifnull(min(nullif(segment, 0)), ?1)"
                  " FROM anchor WHERE segment >= 0 AND segment <> ?1", SQL_INT(number));
    int r = sql_next(&q);

    *ret = (struct index_told){ .lowest = number };
    if (r > 0)
        *ret = (struct index_told){ (uint64_t)sql_int(&q, 0), (uint64_t)sql_int(&q, 1), (uint32_t)sql_int(&q, 2) };
    return r < 0 ? r : 0;
}

bool index_anchors_untold(struct index *x)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "SELECT 1 FROM anchor WHERE segment = 0 LIMIT 1") == 0;
}
