/* Opening a SQLite database: lock, checks, migrations, and the way a damaged file is kept aside. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/text.h"
#include "syncd/store_sql_internal.h"

enum { PATH_SIZE = PATH_MAX };

/* Statements whose text is made at run time or that are several: not cached. */
static int execute(struct sql *s, const char *text)
{
    return sql_errno(sqlite3_exec(s->db, text, NULL, NULL, NULL));
}

static int set_pragma(struct sql *s, const char *name, int64_t value)
{
    char text[96];

    snprintf(text, sizeof(text), "PRAGMA %s = %" PRId64, name, value);
    return execute(s, text);
}

/* Renames path+suffix to aside+suffix. A file that is not there is fine. */
static int move_aside(const char *path, const char *aside, const char *suffix)
{
    char from[PATH_SIZE], to[PATH_SIZE];

    if (snprintf(from, sizeof(from), "%s%s", path, suffix) >= (int)sizeof(from) ||
        snprintf(to, sizeof(to), "%s%s", aside, suffix) >= (int)sizeof(to))
        return -ENAMETOOLONG;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}

/* Keeps the damaged database under another name: "<path>.corrupt-20260131T235959Z", with "-2" and so
 * on behind it when that is taken. */
static int keep_aside(const char *path, char *aside, size_t size)
{
    char date[DATE_SIZE];
    int r = -EEXIST;

    date_iso(loop_wall_ns(), date);
    for (char *p = date, *q = date;; p++) {
        if (*p != '-' && *p != ':')
            *q++ = *p;
        if (!*p)
            break;
    }
    for (unsigned i = 1; r == -EEXIST && i < 100; i++) {
        int n = i == 1 ? snprintf(aside, size, "%s.corrupt-%s", path, date)
                       : snprintf(aside, size, "%s.corrupt-%s-%u", path, date, i);

        r = n >= (int)size ? -ENAMETOOLONG : move_aside(path, aside, "");
    }
    if (r == 0)
        r = move_aside(path, aside, "-wal");
    return r;
}

/* --- damage that was found in use ---------------------------------------------------------------- */

static int damage_note(const struct sql *s, char out[PATH_SIZE])
{
    return snprintf(out, PATH_SIZE, "%s.damaged", s->path) < PATH_SIZE ? 0 : -ENAMETOOLONG;
}

int sql_failed(struct sql *s, int code)
{
    char name[PATH_SIZE];
    int r = sql_errno(code);

    if (r != -EUCLEAN || s->damaged)
        return r;
    s->damaged = true;
    LOG(LOG_CRIT, "database_damaged", "path=%s", s->path, "error=%s", sqlite3_errmsg(s->db));
    if (damage_note(s, name) == 0)
        (void)close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (s->on_damage)
        s->on_damage(s->arg);
    return r;
}

void sql_on_damage(struct sql *s, void (*fn)(void *arg), void *arg)
{
    s->on_damage = fn;
    s->arg = arg;
}

static bool was_found_damaged(const struct sql *s)
{
    char name[PATH_SIZE];

    return damage_note(s, name) == 0 && access(name, F_OK) == 0;
}

static void forget_damage(struct sql *s)
{
    char name[PATH_SIZE];

    if (damage_note(s, name) == 0)
        (void)unlink(name);
}

/* A log from before the machine was started is one that nobody closed. */
static bool was_cut_off(const char *path)
{
    char name[PATH_SIZE];
    struct timespec up;
    struct stat st;

    if (snprintf(name, sizeof(name), "%s-wal", path) >= (int)sizeof(name) || stat(name, &st) < 0 || st.st_size == 0)
        return false;
    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    return st.st_mtim.tv_sec <= loop_wall_ns() / 1000000000 - up.tv_sec;
}

/* The first line of the check's verdict is "ok", or the first fault, which goes into *e. */
static int check(struct sql *s, const struct sql_schema *schema, struct error *e)
{
    CLEANUP(sql_query_end) struct sql_query q = schema->check == SQL_CHECK_FULL || was_found_damaged(s)
        ? sql_query(s, "PRAGMA integrity_check(1)") : sql_query(s, "PRAGMA quick_check(1)");
    int r = sql_next(&q);

    if (r <= 0)
        return r < 0 ? r : -EUCLEAN;
    return strcmp(sql_text(&q, 0), "ok") == 0 ? 0 : error_set(e, -EUCLEAN, "%s", sql_text(&q, 0));
}

static int set_up(struct sql *s, const struct sql_schema *schema)
{
    static const char *const SETTINGS[] = {
        "PRAGMA journal_mode = WAL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA temp_store = MEMORY",
        "PRAGMA trusted_schema = OFF",
        "PRAGMA journal_size_limit = 67108864",
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(SETTINGS); i++)
        r = execute(s, SETTINGS[i]);
    if (r == 0)
        r = execute(s, schema->full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    return r < 0 ? r : set_pragma(s, "secure_delete", schema->overwrite);
}

static int migrate_step(struct sql *s, const struct sql_schema *schema, size_t step, struct error *e)
{
    int r = sql_begin(s);

    if (r == 0)
        r = execute(s, schema->steps[step]);
    if (r == 0)
        r = set_pragma(s, "user_version", (int64_t)step + 1);
    if (r == 0)
        r = set_pragma(s, "application_id", schema->application_id);
    if (r == 0)
        r = sql_commit(s);
    if (r < 0)
        error_set(e, r, "Bringing %s %s from version %zu to %zu failed: %s.", schema->what, s->path, step, step + 1,
                  sqlite3_errmsg(s->db));
    sql_rollback(s);
    return r;
}

static int migrate(struct sql *s, const struct sql_schema *schema, size_t version, struct error *e)
{
    int r = 0;

    for (size_t step = version; r == 0 && step < schema->n_steps; step++)
        r = migrate_step(s, schema, step, e);
    return r;
}

/* Nothing is written before all of this has passed. */
static int inspect(struct sql *s, const struct sql_schema *schema, int64_t *ret_version, struct error *e)
{
    bool trusted = schema->check == SQL_CHECK_AFTER_CUT && !was_cut_off(s->path) && !was_found_damaged(s);
    int64_t application_id = 0, tables = 0;
    int r = execute(s, "PRAGMA locking_mode = EXCLUSIVE");

    if (r == 0)
        r = sql_get_int(s, ret_version, "PRAGMA user_version");
    if (r == 0)
        r = sql_get_int(s, &application_id, "PRAGMA application_id");
    if (r == 0)
        r = sql_get_int(s, &tables, "SELECT count(*) FROM sqlite_schema");
    if (r < 0)
        return r;
    if (tables && (uint32_t)application_id != schema->application_id)
        return error_set(e, -EUCLEAN, "it is the database of another program");
    if (*ret_version < 0 || (*ret_version == 0 && tables))
        return error_set(e, -EUCLEAN, "its version number is %" PRId64, *ret_version);
    if ((size_t)*ret_version > schema->n_steps)
        return error_set(e, -EPROTONOSUPPORT, "The file %s, %s, was written by a newer Landfall (version %" PRId64
                         ", this one knows %zu). Install that one again; the file is left as it is.",
                         s->path, schema->what, *ret_version, schema->n_steps);
    return trusted ? 0 : check(s, schema, e);
}

static void disconnect(struct sql *s)
{
    for (size_t i = 0; i < STATEMENTS; i++) {
        assert(!s->statements[i].busy);
        sqlite3_finalize(s->statements[i].stmt);
    }
    memset(s->statements, 0, sizeof(s->statements));
    (void)sqlite3_close_v2(s->db);
    s->db = NULL;
}

/* SQLite's own words do not say why the system refused a file. */
static void say_fault(struct sql *s, char out[ERROR_TEXT_MAX])
{
    int code = sqlite3_errcode(s->db) & 0xff, number = sqlite3_system_errno(s->db);
    bool of_system = number && (code == SQLITE_CANTOPEN || code == SQLITE_IOERR);

    snprintf(out, ERROR_TEXT_MAX, "%.160s%s%.40s%s", sqlite3_errmsg(s->db), of_system ? " (" : "",
             of_system ? strerror(number) : "", of_system ? ")" : "");
}

/* Closes without a checkpoint, so that a damaged file stays as it was found, and says what became of it. */
static int refuse(struct sql *s, const struct sql_schema *schema, int code, struct error *e)
{
    char aside[PATH_SIZE], fault[ERROR_TEXT_MAX];
    int r;

    if (e->text[0])
        snprintf(fault, sizeof(fault), "%.200s", e->text);
    else
        say_fault(s, fault);
    if (code == -EPROTONOSUPPORT)
        return code;
    if (code == -EBUSY)
        return error_set(e, code, "The file %s, %s, is in use by another process.", s->path, schema->what);
    if (code != -EUCLEAN)
        return error_set(e, code, "The file %s, %s, cannot be opened: %s.", s->path, schema->what, fault);
    disconnect(s);
    forget_damage(s);
    r = keep_aside(s->path, aside, sizeof(aside));
    if (r < 0)
        return error_set(e, code, "The file %s, %s, is damaged (%s); it could not be renamed and is left as it is.",
                         s->path, schema->what, fault);
    return error_set(e, code, "The file %s, %s, is damaged (%s). It is kept as %s.", s->path, schema->what, fault,
                     aside);
}

static struct sql *new_connection(const char *path)
{
    struct sql *s = xcalloc(1, sizeof(*s));

    s->wal_fd = -1;
    s->path = xstrdup(path);
    return s;
}

/* It is ours, whatever became of its mode. Bytes in it, 0 when it is not there. */
static int make_usable(const char *path, const char *suffix, off_t *ret_size, struct error *e)
{
    char name[PATH_SIZE];
    struct stat st;

    *ret_size = 0;
    if (snprintf(name, sizeof(name), "%s%s", path, suffix) >= (int)sizeof(name))
        return -ENAMETOOLONG;
    if (lstat(name, &st) < 0)
        return 0;
    if (!S_ISREG(st.st_mode))
        return error_set(e, -EUCLEAN, "%s is no regular file", name);
    (void)chmod(name, 0600);
    *ret_size = st.st_size;
    return 0;
}

/* SQLite would remove a log that has lost its database. A database has its first page before it has a log. */
static int connect_to(struct sql *s, struct error *e)
{
    off_t size, log;
    int r = make_usable(s->path, "", &size, e);

    if (r == 0)
        r = make_usable(s->path, "-wal", &log, e);
    if (r == 0 && size == 0 && log > 0)
        r = error_set(e, -EUCLEAN, "it is missing or empty, and its log is not");
    if (r < 0)
        return r;
    r = sql_errno(sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                  SQLITE_OPEN_EXRESCODE, NULL));
    if (r < 0)
        return r;
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)chmod(s->path, 0600);
    return 0;
}

int sql_open(const char *path, const struct sql_schema *schema, struct sql **ret, struct error *e)
{
    struct error local = { 0 };
    int64_t version = 0;
    struct sql *s = new_connection(path);
    int r;

    if (!e)
        e = &local;
    *e = (struct error){ 0 };
    s->damaged = true;   /* what is met before it is in use is said by the refusal */
    r = connect_to(s, e);
    if (r == 0)
        r = inspect(s, schema, &version, e);
    if (r == 0)
        r = set_up(s, schema);
    if (r < 0)
        r = refuse(s, schema, r, e);
    else
        r = migrate(s, schema, (size_t)version, e);
    if (r < 0) {
        sql_close(s);
        return r;
    }
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    forget_damage(s);
    s->damaged = false;
    *ret = s;
    return 0;
}

void sql_close(struct sql *s)
{
    if (!s)
        return;
    disconnect(s);
    cleanup_close(&s->wal_fd);
    free(s->path);
    free(s);
}

static int overwrite(int fd, off_t size)
{
    static const char zeros[64 * 1024];

    for (off_t at = 0; at < size;) {
        ssize_t n = pwrite(fd, zeros, size - at < (off_t)sizeof(zeros) ? (size_t)(size - at) : sizeof(zeros), at);

        if (n < 0)
            return -errno;
        at += n;
    }
    return fdatasync(fd) < 0 ? -errno : 0;
}

/* All of the log is in the database, and on the disk there: from then on nobody reads it, whatever it has. */
static int bring_in(struct sql *s, int mode)
{
    int in_log = 0, brought = 0;
    int r = sql_errno(sqlite3_wal_checkpoint_v2(s->db, NULL, mode, &in_log, &brought));

    return r == 0 && in_log != brought ? -EBUSY : r;
}

int sql_wipe_log(struct sql *s)
{
    int fd = sql_wal_fd(s), r = fd < 0 ? fd : bring_in(s, SQLITE_CHECKPOINT_RESTART);
    struct stat st;

    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return -errno;
    r = overwrite(fd, st.st_size);
    return r < 0 ? r : bring_in(s, SQLITE_CHECKPOINT_TRUNCATE);
}

int sql_wal_fd(struct sql *s)
{
    char name[PATH_SIZE];

    if (s->wal_fd >= 0)
        return s->wal_fd;
    if (snprintf(name, sizeof(name), "%s-wal", s->path) >= (int)sizeof(name))
        return -ENAMETOOLONG;
    s->wal_fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return s->wal_fd < 0 ? -errno : s->wal_fd;
}
