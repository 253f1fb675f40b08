/* The state database: where it lies, its migrations, the settings. Its tables have files of their
 * own. A damaged database is kept aside and never followed by an empty one on its own. */
#include "syncd/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/store_internal.h"

/* "LFst" */
enum { APPLICATION_ID = 0x4c467374 };

/* Released steps are never changed; new ones are added at the end. */
static const char *const STEPS[] = {
    "CREATE TABLE settings("
    "  name TEXT PRIMARY KEY,"
    "  value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE accounts("
    "  id TEXT PRIMARY KEY,"
    "  model BLOB NOT NULL,"
    "  sealed BLOB) STRICT, WITHOUT ROWID;"
    "CREATE TABLE drives("
    "  id TEXT PRIMARY KEY,"
    "  account_id TEXT NOT NULL REFERENCES accounts(id),"
    "  name TEXT NOT NULL UNIQUE,"
    "  letter TEXT UNIQUE COLLATE NOCASE,"
    "  settled INTEGER NOT NULL DEFAULT 0,"
    "  model BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX drives_account ON drives(account_id);",
    "ALTER TABLE accounts ADD COLUMN name TEXT;"   /* NULL: store_account_claim_names() */
    "CREATE UNIQUE INDEX accounts_name ON accounts(name);",
    "CREATE TABLE keys("
    "  drive_id TEXT PRIMARY KEY REFERENCES drives(id) ON DELETE CASCADE,"
    "  serial INTEGER NOT NULL,"
    "  blob BLOB,"                             /* NULL: destroyed */
    "  destroyed INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;"
    "CREATE TABLE former_keys("
    "  drive_id TEXT NOT NULL REFERENCES drives(id) ON DELETE CASCADE,"
    "  replaced INTEGER NOT NULL,"
    "  blob BLOB NOT NULL,"
    "  PRIMARY KEY(drive_id, replaced)) STRICT, WITHOUT ROWID;",
    "ALTER TABLE drives ADD COLUMN cache_move INTEGER NOT NULL DEFAULT 0;"   /* enum store_cache_move */
    "ALTER TABLE drives ADD COLUMN cache_other TEXT;",
    "ALTER TABLE drives ADD COLUMN sealed_objects INTEGER NOT NULL DEFAULT 1;"   /* of older rows it is not known */
    "CREATE TABLE kept_keys("
    "  drive_id TEXT NOT NULL,"
    "  replaced INTEGER NOT NULL,"             /* 0: they were not */
    "  name TEXT NOT NULL,"
    "  service TEXT NOT NULL,"
    "  bucket TEXT NOT NULL,"
    "  prefix TEXT NOT NULL,"
    "  recipient TEXT,"                        /* NULL: they were not open */
    "  deleted INTEGER NOT NULL,"
    "  serial INTEGER NOT NULL,"
    "  blob BLOB NOT NULL,"
    "  heir TEXT REFERENCES drives(id) ON DELETE SET NULL,"
    "  PRIMARY KEY(drive_id, replaced)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX kept_keys_heir ON kept_keys(heir);",
    "CREATE TABLE hauls("
    "  number INTEGER PRIMARY KEY,"
    "  id TEXT NOT NULL,"
    "  origin TEXT,"
    "  kind INTEGER NOT NULL,"                 /* enum store_haul_kind */
    "  state INTEGER NOT NULL,"                /* enum store_haul_state */
    "  uid INTEGER NOT NULL,"
    "  begun INTEGER NOT NULL,"
    "  account_id TEXT NOT NULL,"              /* the account may go before */
    "  account BLOB,"                          /* of one that is not in the table of accounts */
    "  sealed BLOB,"
    "  bucket TEXT NOT NULL,"
    "  key TEXT NOT NULL,"
    "  path TEXT NOT NULL,"
    "  overwrite INTEGER NOT NULL,"
    "  size INTEGER NOT NULL,"
    "  inode INTEGER NOT NULL,"
    "  mtime INTEGER NOT NULL,"
    "  part_size INTEGER NOT NULL,"
    "  stamp TEXT,"
    "  parts_begun INTEGER NOT NULL DEFAULT 0,"
    "  upload_id TEXT,"
    "  after TEXT NOT NULL DEFAULT '',"
    "  n_found INTEGER NOT NULL DEFAULT 0,"
    "  n_failed INTEGER NOT NULL DEFAULT 0,"
    "  bytes INTEGER NOT NULL DEFAULT 0,"
    "  first_code INTEGER NOT NULL DEFAULT 0,"
    "  first_text TEXT) STRICT;"
    "CREATE TABLE haul_files("
    "  haul INTEGER NOT NULL REFERENCES hauls(number) ON DELETE CASCADE,"
    "  key TEXT NOT NULL,"
    "  etag TEXT,"
    "  name TEXT,"                             /* NULL: it is all there */
    "  size INTEGER NOT NULL,"
    "  done INTEGER NOT NULL,"
    "  PRIMARY KEY(haul, key)) STRICT, WITHOUT ROWID;",
};

static const struct sql_schema SCHEMA = {
    .what = "the state database",
    .application_id = APPLICATION_ID,
    .steps = STEPS,
    .n_steps = ARRAY_SIZE(STEPS),
    .full_sync = true,
    .overwrite = true,
    .check = SQL_CHECK_FULL,
};

static void close_dir(DIR **dir)
{
    if (*dir)
        (void)closedir(*dir);
}

static bool kept_aside(const char *name)
{
    static const char PREFIX[] = "state.db.corrupt-";

    return strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0 && !strstr(name, "-wal");
}

static bool is_entry(const char *name)
{
    return name[0] != '.';
}

/* The first name in state_dir/folder that is one; false: none is. */
static bool find(const char *state_dir, const char *folder, bool (*is)(const char *name), char out[NAME_MAX + 1])
{
    CLEANUP(close_dir) DIR *dir = NULL;
    struct dirent *entry;
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s", state_dir, folder) >= (int)sizeof(path))
        return false;
    dir = opendir(path);
    while (dir && (entry = readdir(dir)))
        if (is(entry->d_name)) {
            (void)snprintf(out, NAME_MAX + 1, "%s", entry->d_name);
            return true;
        }
    return false;
}

/* An empty start forgets everything, so there is one only where nothing ever was. A database that we made was never
 * empty (create()). */
static int refuse_empty_start(const char *state_dir, const char *path, struct error *e)
{
    char name[NAME_MAX + 1], log[PATH_MAX];
    struct stat st;
    bool missing = lstat(path, &st) < 0;

    if (!missing && (!S_ISREG(st.st_mode) || st.st_size > 0))
        return 0;
    if (snprintf(log, sizeof(log), "%s-wal", path) < (int)sizeof(log) && lstat(log, &st) == 0 && st.st_size > 0)
        return error_set(e, -EUCLEAN, "The state database %s is missing or empty, but its log %s is there. Move the "
                         "log elsewhere, also before you restore a backup: its changes would come into that.", path,
                         log);
    if (!missing)
        return error_set(e, -EUCLEAN, "The state database %s is empty: what was in it is lost. Restore a backup in its "
                         "place, or remove it to start without accounts and drives.", path);
    if (find(state_dir, ".", kept_aside, name))
        return error_set(e, -EUCLEAN, "The state database %s is missing, and a damaged one was kept as %s beside "
                         "it. Restore a backup as state.db, or move the damaged one elsewhere to start without "
                         "accounts and drives.", path, name);
    if (find(state_dir, "drives", is_entry, name))
        return error_set(e, -EUCLEAN, "The state database %s is missing, but there is the index of a drive, %s/drives/"
                         "%s. Restore a backup as state.db, or move the folders drives and cache elsewhere to start "
                         "without accounts and drives.", path, state_dir, name);
    return 0;
}

/* Under another name until it is whole. */
static int create(const char *state_dir, const char *path, struct error *e)
{
    CLEANUP_CLOSE int folder = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[PATH_MAX];
    struct sql *sql;
    int r;

    if (access(path, F_OK) == 0)
        return 0;
    if (snprintf(name, sizeof(name), "%s.new", path) >= (int)sizeof(name))
        return error_set(e, -ENAMETOOLONG, "The path %s is too long.", path);
    (void)unlinkat(folder, "state.db.new", 0);
    (void)unlinkat(folder, "state.db.new-wal", 0);
    r = sql_open(name, &SCHEMA, &sql, e);
    if (r < 0)
        return r;
    sql_close(sql);
    if (rename(name, path) < 0 || fsync(folder) < 0)
        return error_set(e, -errno, "The state database %s cannot be made: %s.", path, strerror(errno));
    return 0;
}

int store_open(const char *state_dir, struct store **ret, struct error *e)
{
    char path[PATH_MAX];
    struct sql *sql;
    int r;

    if (snprintf(path, sizeof(path), "%s/state.db", state_dir) >= (int)sizeof(path))
        return error_set(e, -ENAMETOOLONG, "The path %s is too long.", state_dir);
    r = refuse_empty_start(state_dir, path, e);
    if (r == 0)
        r = create(state_dir, path, e);
    if (r == 0)
        r = sql_open(path, &SCHEMA, &sql, e);
    if (r < 0)
        return r;
    *ret = xcalloc(1, sizeof(**ret));
    (*ret)->sql = sql;
    r = store_account_claim_names(*ret);
    if (r == 0)
        return 0;
    store_close(*ret);
    return error_set(e, r, "The accounts in the state database %s cannot be read.", path);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    sql_close(s->sql);
    free(s);
}

int store_setting_get(struct store *s, const char *name, char **ret)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s->sql, "SELECT value FROM settings WHERE name = ?",
                                                          SQL_TEXT(name));
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = sql_text_copy(&q, 0);
    return 0;
}

int store_setting_set(struct store *s, const char *name, const char *value)
{
    return sql_run(s->sql, "INSERT INTO settings(name, value) VALUES(?, ?)"
                   " ON CONFLICT(name) DO UPDATE SET value = excluded.value", SQL_TEXT(name), SQL_TEXT(value));
}

int store_settings_set(struct store *s, const struct store_setting *settings, size_t n)
{
    int r = sql_begin(s->sql);

    for (size_t i = 0; r == 0 && i < n; i++)
        r = store_setting_set(s, settings[i].name, settings[i].value);
    if (r == 0)
        r = sql_commit(s->sql);
    sql_rollback(s->sql);
    return r;
}

void *store_pack(const ProtobufCMessage *m, size_t *ret_size)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *packed = xcalloc(1, size ? size : 1);

    *ret_size = protobuf_c_message_pack(m, packed);
    return packed;
}

ProtobufCMessage *store_unpack(struct sql_query *q, int column, const ProtobufCMessageDescriptor *d)
{
    size_t size;
    const void *data = sql_blob(q, column, &size);

    return data ? protobuf_c_message_unpack(d, NULL, size, data) : NULL;
}

int store_changed(struct store *s, int r)
{
    return r < 0 || sql_changes(s->sql) > 0 ? r : -ENOENT;
}
