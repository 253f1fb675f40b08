/* The index of a drive: its file, its schema, transactions, and reading inodes. What changes rows
 * is in store_index_change.c. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/name.h"
#include "syncd/store_index_internal.h"

static const int64_t REPLAY_KEPT_NS = INT64_C(86400) * 1000000000;

static const char *const STEPS[] = {
    /* Inode numbers are handed to the kernel, so AUTOINCREMENT: a number is never used again.
     * parent is NULL for the root and for orphans, which then never collide in inode_name. */
    "CREATE TABLE inode(ino INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER, name TEXT,"
    " mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, nlink INTEGER NOT NULL,"
    " size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, atime INTEGER NOT NULL, target TEXT,"
    " cloud_key TEXT, etag TEXT, cloud_size INTEGER NOT NULL, settled INTEGER NOT NULL, pending INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, listed INTEGER NOT NULL, turned INTEGER NOT NULL,"
    " not_before INTEGER NOT NULL DEFAULT 0, reason TEXT);"
    "CREATE UNIQUE INDEX inode_name ON inode(parent, name);"
    "CREATE INDEX inode_parent ON inode(parent);"
    "CREATE INDEX inode_cloud_key ON inode(cloud_key) WHERE cloud_key IS NOT NULL;"
    "CREATE INDEX inode_pending ON inode(not_before, turned) WHERE pending <> 0 AND nlink > 0;"
    "CREATE INDEX inode_orphan ON inode(ino) WHERE nlink = 0;"
    "CREATE TABLE xattr(ino INTEGER NOT NULL, name TEXT NOT NULL,"
    " value BLOB NOT NULL, PRIMARY KEY(ino, name)) WITHOUT ROWID;"
    "CREATE TABLE grave(key TEXT PRIMARY KEY, closed INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE INDEX grave_open ON grave(key) WHERE closed = 0;"
    "CREATE INDEX grave_closed ON grave(closed) WHERE closed <> 0;"
    "CREATE TABLE upload(ino INTEGER PRIMARY KEY, generation INTEGER NOT NULL, part_size INTEGER NOT NULL,"
    " size INTEGER NOT NULL, mtime INTEGER NOT NULL, key TEXT NOT NULL, upload_id TEXT NOT NULL);"
    "CREATE TABLE replay(instance INTEGER NOT NULL, id INTEGER NOT NULL, stored INTEGER NOT NULL, reply BLOB NOT NULL,"
    " PRIMARY KEY(instance, id)) WITHOUT ROWID;",
    "ALTER TABLE grave ADD COLUMN etag TEXT;"
    "CREATE INDEX upload_key ON upload(key);",
    /* What the cache has. */
    "ALTER TABLE inode ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX inode_pinned ON inode(ino) WHERE pinned <> 0;"
    "CREATE TABLE cached(ino INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, in_use INTEGER NOT NULL,"
    " kept INTEGER NOT NULL);"
    "CREATE INDEX cached_in_use ON cached(ino) WHERE in_use <> 0;"
    "CREATE TABLE extent(ino INTEGER NOT NULL, extent INTEGER NOT NULL, queue INTEGER NOT NULL,"
    " turn INTEGER NOT NULL, bytes INTEGER NOT NULL, uses INTEGER NOT NULL, seen INTEGER NOT NULL,"
    " PRIMARY KEY(ino, extent)) WITHOUT ROWID;"
    "CREATE INDEX extent_turn ON extent(queue, turn);",
    "ALTER TABLE grave ADD COLUMN compared INTEGER NOT NULL DEFAULT 0;"
    "UPDATE grave SET compared = 1 WHERE etag IS NULL;",
    /* Renamed directories. `deep` is the bound of index_room_below(); no key was longer until now. */
    "ALTER TABLE inode ADD COLUMN deep INTEGER NOT NULL DEFAULT 1024;"
    "CREATE TABLE moved(ino INTEGER PRIMARY KEY, prefix TEXT NOT NULL, turn INTEGER NOT NULL);"
    "CREATE INDEX moved_prefix ON moved(prefix);"
    "CREATE TABLE renamed(prefix TEXT NOT NULL, ino INTEGER NOT NULL, PRIMARY KEY(prefix, ino)) WITHOUT ROWID;"
    "CREATE INDEX renamed_ino ON renamed(ino);",
    /* Names that stand for other bytes. Until now such names were literal, and are so on. */
    "ALTER TABLE inode ADD COLUMN key_name TEXT;"
    "ALTER TABLE inode ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX inode_cut ON inode(ino) WHERE cut <> 0;",
    /* Directories are counted for the links of the one above. */
    "CREATE INDEX inode_directory ON inode(parent) WHERE (mode & 61440) = 16384;",
    /* When an upload in parts was begun. */
    "ALTER TABLE upload ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;",
    /* What may not be on the disk yet. */
    "CREATE TABLE session(number INTEGER PRIMARY KEY, boot TEXT NOT NULL);"
    "CREATE TABLE unsynced(ino INTEGER PRIMARY KEY, doubtful INTEGER NOT NULL DEFAULT 0,"
    " generation INTEGER NOT NULL DEFAULT -1);",
    /* Requests that a dead worker left to the next one. */
    "ALTER TABLE replay ADD COLUMN mount INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE replay ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX replay_origin ON replay(origin, mount) WHERE origin <> 0;",
    /* What the disk did not take: an errno, negative. */
    "ALTER TABLE unsynced ADD COLUMN fault INTEGER NOT NULL DEFAULT 0;",
    /* The last number that a lost index can have given, which this one follows. */
    "CREATE TABLE predecessor(last INTEGER NOT NULL);",
    /* index_total(), by the rule of index_share(). */
    "CREATE TABLE total(blocks INTEGER NOT NULL, names INTEGER NOT NULL);"
    "INSERT INTO total SELECT ifnull(sum((min(max(size, 0), 1125899906842624) + 511) / 512), 0), count(*) FROM inode"
    " WHERE nlink > 0;",
    /* What sealed cache files must have at least. */
    "CREATE TABLE fresh(ino INTEGER NOT NULL, extent INTEGER NOT NULL, floors BLOB NOT NULL, PRIMARY KEY(ino, extent))"
    " WITHOUT ROWID;",
    /* Encrypted objects. */
    "CREATE TABLE object(ino INTEGER PRIMARY KEY, etag TEXT NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL,"
    " version INTEGER NOT NULL, head BLOB, binding BLOB, fault INTEGER NOT NULL DEFAULT 0,"
    " found INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE sealing(ino INTEGER PRIMARY KEY, generation INTEGER NOT NULL, session INTEGER NOT NULL,"
    " size INTEGER NOT NULL, version INTEGER NOT NULL, head BLOB NOT NULL, key BLOB NOT NULL);"
    "CREATE TABLE sealed(ino INTEGER NOT NULL, part INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY(ino, part))"
    " WITHOUT ROWID;"
    "CREATE TABLE anchor(key BLOB PRIMARY KEY, version INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0)"
    " WITHOUT ROWID;"
    "CREATE INDEX anchor_gone ON anchor(gone) WHERE gone <> 0;",
    /* Versions that agents tell each other: syncd/store_anchor.h. */
    "ALTER TABLE anchor ADD COLUMN above INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE anchor ADD COLUMN accepts INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE anchor ADD COLUMN life INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE anchor ADD COLUMN segment INTEGER;"
    "UPDATE anchor SET life = 1 WHERE gone <> 0;"
    "CREATE INDEX anchor_segment ON anchor(segment) WHERE segment IS NOT NULL;"
    "CREATE TABLE agent(id BLOB NOT NULL, last INTEGER NOT NULL DEFAULT 0, first INTEGER NOT NULL DEFAULT 1,"
    " passed INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE segment(agent BLOB NOT NULL, number INTEGER NOT NULL, etag TEXT NOT NULL, version INTEGER NOT NULL,"
    " first INTEGER NOT NULL, previous INTEGER NOT NULL, fault INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY(agent, number)) WITHOUT ROWID;",
    /* What is to be encrypted though the cloud has it: syncd/store_encrypt.h. */
    "CREATE TABLE encrypting(ino INTEGER PRIMARY KEY, directory INTEGER NOT NULL, state INTEGER NOT NULL,"
    " size INTEGER NOT NULL, tries INTEGER NOT NULL, not_before INTEGER NOT NULL, reason TEXT);"
    "CREATE INDEX encrypting_due ON encrypting(state, directory, not_before);"
    "CREATE TABLE encryption(files INTEGER NOT NULL, bytes INTEGER NOT NULL, directories INTEGER NOT NULL,"
    " done INTEGER NOT NULL, done_bytes INTEGER NOT NULL, failed INTEGER NOT NULL);"
    "INSERT INTO encryption VALUES(0, 0, 0, 0, 0, 0);",
};

static const struct sql_schema SCHEMA = {
    .what = "the index of the drive",
    .check = SQL_CHECK_AFTER_CUT,
    .application_id = 0x4c464958, /* "LFIX" */
    .steps = STEPS,
    .n_steps = ARRAY_SIZE(STEPS),
};

/* --- opening ------------------------------------------------------------------------------------ */

/* A power cut must not take the names of the new files. */
static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    CLEANUP_CLOSE int fd = -1;

    if (!slash || (size_t)(slash - path) >= sizeof(folder))
        return -EINVAL;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    fd = open(slash == path ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int make_root(struct index *x, uint32_t uid, uint32_t gid)
{
    int64_t now = loop_wall_ns();
    struct index_inode root = {
        .ino = INDEX_ROOT, .mode = S_IFDIR | 0700, .uid = uid, .gid = gid, .nlink = 2,
        .mtime_ns = now, .ctime_ns = now, .atime_ns = now, .settled = true,
    };
    struct index_inode found = { 0 };
    int r = index_get(x, INDEX_ROOT, &found);

    index_inode_done(&found);
    return r == -ENOENT ? index_insert(x, &root) : r;
}

static int prepare(struct index *x, const char *path, uint32_t uid, uint32_t gid)
{
    int r = sync_folder(path);

    if (r == 0)
        r = sql_run(x->sql, "PRAGMA cache_size = -16384");
    if (r == 0)
        r = index_begin(x);
    if (r < 0)
        return r;
    r = make_root(x, uid, gid);
    if (r == 0)
        r = sql_run(x->sql, "DELETE FROM replay WHERE stored < ?", SQL_INT(loop_wall_ns() - REPLAY_KEPT_NS));
    if (r == 0)
        r = index_hold_end(x, INDEX_PAUSED);
    if (r == 0)
        r = index_retry_failed(x);   /* what stood in the way may be why somebody started anew */
    return index_end(x, r);
}

int index_open(const char *path, uint32_t uid, uint32_t gid, struct index **ret, struct error *e)
{
    struct index *x = calloc(1, sizeof(*x));
    int r;

    if (!x)
        return error_set(e, -ENOMEM, "There is no memory left to open %s.", path);
    x->version = 1;
    r = sql_open(path, &SCHEMA, &x->sql, e);
    if (r == 0) {
        r = prepare(x, path, uid, gid);
        if (r < 0)
            error_set(e, r, "The index %s cannot be written: %s", path, error_meaning(r)->text);
    }
    if (r < 0) {
        index_close(x);
        return r;
    }
    *ret = x;
    return 0;
}

void index_close(struct index *x)
{
    if (!x)
        return;
    sql_close(x->sql);
    free(x->above);
    free(x);
}

void index_on_damage(struct index *x, void (*fn)(void *arg), void *arg)
{
    sql_on_damage(x->sql, fn, arg);
}

int index_begin(struct index *x)
{
    return sql_begin(x->sql);
}

int index_commit(struct index *x)
{
    int r = index_total_put(x);

    if (r == 0)
        r = sql_commit(x->sql);
    if (r < 0)
        index_rollback(x);
    return r;
}

void index_rollback(struct index *x)
{
    sql_rollback(x->sql);
    x->more = (struct index_share){ 0 };
    x->version++;
}

int index_end(struct index *x, int r)
{
    if (r == 0)
        return index_commit(x);
    index_rollback(x);
    return r;
}

bool index_in_transaction(const struct index *x)
{
    return sql_in_transaction(x->sql);
}

int index_sync_fd(struct index *x)
{
    return sql_wal_fd(x->sql);
}

/* --- rows --------------------------------------------------------------------------------------- */

void index_inode_done(struct index_inode *i)
{
    if (!i)
        return;
    free(i->name);
    free(i->key_name);
    free(i->target);
    free(i->cloud_key);
    free(i->etag);
    i->name = i->key_name = i->target = i->cloud_key = i->etag = NULL;
}

void index_row(struct sql_query *q, struct index_inode *i)
{
    *i = (struct index_inode){
        .ino = (uint64_t)sql_int(q, 0),
        .parent = (uint64_t)sql_int(q, 1),
        .name = (char *)(uintptr_t)sql_text(q, 2),
        .mode = (uint32_t)sql_int(q, 3),
        .uid = (uint32_t)sql_int(q, 4),
        .gid = (uint32_t)sql_int(q, 5),
        .nlink = (uint32_t)sql_int(q, 6),
        .size = (uint64_t)sql_int(q, 7),
        .mtime_ns = sql_int(q, 8),
        .ctime_ns = sql_int(q, 9),
        .atime_ns = sql_int(q, 10),
        .target = (char *)(uintptr_t)sql_text(q, 11),
        .cloud_key = (char *)(uintptr_t)sql_text(q, 12),
        .etag = (char *)(uintptr_t)sql_text(q, 13),
        .cloud_size = (uint64_t)sql_int(q, 14),
        .settled = sql_int(q, 15),
        .pending = (unsigned)sql_int(q, 16),
        .generation = (uint64_t)sql_int(q, 17),
        .listed_ns = sql_int(q, 18),
        .turned_ns = sql_int(q, 19),
        .key_name = (char *)(uintptr_t)sql_text(q, 20),
        .cut = sql_int(q, 21),
    };
    i->name_len = i->name ? strlen(i->name) : 0;
}

int index_first(struct sql_query *q, struct index_inode *ret)
{
    int r = sql_next(q);

    *ret = (struct index_inode){ 0 };
    if (r > 0) {
        index_row(q, ret);
        ret->name = xstrdup(ret->name);
        ret->key_name = xstrdup(ret->key_name);
        ret->target = xstrdup(ret->target);
        ret->cloud_key = xstrdup(ret->cloud_key);
        ret->etag = xstrdup(ret->etag);
    }
    sql_query_end(q);
    return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

int index_each(struct sql_query *q, index_each_fn *each, void *arg)
{
    struct index_inode i;
    int r;

    while ((r = sql_next(q)) > 0) {
        index_row(q, &i);
        if (!each(&i, arg))
            break;
    }
    sql_query_end(q);
    return r < 0 ? r : 0;
}

/* --- lookups ------------------------------------------------------------------------------------ */

int index_get(struct index *x, uint64_t ino, struct index_inode *ret)
{
    struct sql_query q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode WHERE ino = ?", SQL_INT(ino));

    return index_first(&q, ret);
}

/* The name as text; false: no name that the index could hold. */
static bool name_text(const void *name, size_t len, char out[NAME_SIZE])
{
    if (len > NAME_BYTES_MAX || memchr(name, '\0', len))
        return false;
    memcpy(out, name, len);
    out[len] = '\0';
    return true;
}

int index_find(struct index *x, uint64_t parent, const void *name, size_t len, struct index_inode *ret)
{
    char text[NAME_SIZE];
    struct sql_query q;

    *ret = (struct index_inode){ 0 };
    if (len == 0 || !name_text(name, len, text))
        return -ENOENT;
    q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode WHERE parent = ? AND name = ?", SQL_INT(parent),
                  SQL_TEXT(text));
    return index_first(&q, ret);
}

const char *index_component(const struct index_inode *i)
{
    return i->key_name ? i->key_name : i->name;
}

int index_find_key(struct index *x, uint64_t parent, const char *component, bool is_directory, struct index_inode *ret)
{
    char name[NAME_SIZE];
    int r;

    name_of_key(component, false, name);
    r = index_find(x, parent, name, strlen(name), ret);
    if (r < 0 || S_ISDIR(ret->mode) == is_directory)
        return r;
    index_inode_done(ret);
    if (is_directory)
        return -ENOENT;
    name_of_key(component, true, name);
    return index_find(x, parent, name, strlen(name), ret);
}

int index_list(struct index *x, uint64_t parent, const void *after, size_t after_len, index_each_fn *each, void *arg)
{
    char text[NAME_SIZE];
    struct sql_query q;

    if (after_len && !name_text(after, after_len, text))
        return -EINVAL;
    q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode WHERE parent = ? AND name > ? ORDER BY name",
                  SQL_INT(parent), SQL_TEXT(after_len ? text : ""));
    return index_each(&q, each, arg);
}

int index_scan(struct index *x, uint64_t parent, uint64_t cookie, index_each_fn *each, void *arg)
{
    struct sql_query q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode INDEXED BY inode_parent"
                                   " WHERE parent = ? AND ino > ? ORDER BY ino", SQL_INT(parent), SQL_INT(cookie));

    return index_each(&q, each, arg);
}

int index_orphans(struct index *x, uint64_t after, index_each_fn *each, void *arg)
{
    struct sql_query q = sql_query(x->sql, "SELECT " INDEX_COLUMNS " FROM inode WHERE nlink = 0 AND ino > ?"
                                   " ORDER BY ino", SQL_INT(after));

    return index_each(&q, each, arg);
}

/* From what is cut upwards, because that is little and a subtree may be everything. Without an answer: yes. */
bool index_cut_below(struct index *x, uint64_t ino)
{
    int64_t one;

    return sql_get_int(x->sql, &one, "WITH RECURSIVE above(ino) AS (SELECT ino FROM inode WHERE cut <> 0"
                       " UNION SELECT i.parent FROM above a JOIN inode i ON i.ino = a.ino)"
                       " SELECT 1 FROM above WHERE ino = ? LIMIT 1", SQL_INT(ino)) != -ENOENT;
}

bool index_climb(struct index *x, uint64_t *ino, bool names, char *buffer, size_t *at)
{
    CLEANUP(sql_query_end) struct sql_query q =
        sql_query(x->sql, "SELECT parent, mode, iif(?2, name, ifnull(key_name, name)) FROM inode WHERE ino = ?1",
                  SQL_INT(*ino), SQL_INT(names));
    const char *name;
    size_t len, slash;

    if (sql_next(&q) <= 0 || sql_is_null(&q, 0))
        return false;
    name = sql_text(&q, 2);
    len = strlen(name);
    slash = S_ISDIR(sql_int(&q, 1));
    if (*at < len + slash)
        return false;
    *at -= len + slash;
    memcpy(buffer + *at, name, len);
    if (slash)
        buffer[*at + len] = '/';
    *ino = (uint64_t)sql_int(&q, 0);
    return true;
}

static char *way_to(struct index *x, uint64_t ino, bool names)
{
    char buffer[INDEX_KEY_BYTES];
    size_t at = sizeof(buffer) - 1;

    buffer[at] = '\0';
    while (ino != INDEX_ROOT)
        if (!index_climb(x, &ino, names, buffer, &at))
            return NULL;
    return strdup(buffer + at);
}

char *index_key(struct index *x, uint64_t ino)
{
    return way_to(x, ino, false);
}

char *index_path(struct index *x, uint64_t ino)
{
    return way_to(x, ino, true);
}

/* The bound only grows; when it is too great it is made what it is. */
int index_room_below(struct index *x, uint64_t ino, size_t room)
{
    int64_t deep;
    int r = sql_get_int(x->sql, &deep, "SELECT deep FROM inode WHERE ino = ?", SQL_INT(ino));

    if (r < 0 || (size_t)deep <= room)
        return r;
    r = sql_get_int(x->sql, &deep,
                    "WITH RECURSIVE below(ino, len) AS (SELECT ?1, 0 UNION ALL"
                    " SELECT i.ino, b.len + length(CAST(ifnull(i.key_name, i.name) AS BLOB))"
                    " + ((i.mode & 61440) = 16384)"
                    " FROM below b JOIN inode i ON i.parent = b.ino) SELECT max(len) FROM below", SQL_INT(ino));
    if (r == 0)
        r = sql_run(x->sql, "UPDATE inode SET deep = ?2 WHERE ino = ?1", SQL_INT(ino), SQL_INT(deep));
    return r < 0 ? r : (size_t)deep <= room ? 0 : -ENAMETOOLONG;
}
