/* The state database: migrations, what is refused and how it is kept aside, and its three tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "syncd/store.h"
#include "syncd/store_sql.h"
#include "tests/unit/files.h"

struct fixture {
    char dir[64], db[96];
};

static int set_up(void **state)
{
    static struct fixture f;

    strcpy(f.dir, "/tmp/landfall-store-XXXXXX");
    if (!mkdtemp(f.dir))
        return -1;
    snprintf(f.db, sizeof(f.db), "%s/state.db", f.dir);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    return files_remove(((struct fixture *)*state)->dir);
}

/* --- a database of the test's own --------------------------------------------------------------- */

static const char *const STEPS[] = {
    "CREATE TABLE things(id INTEGER PRIMARY KEY, name TEXT UNIQUE, body BLOB) STRICT;"
    "CREATE TABLE parts(thing INTEGER REFERENCES things(id)) STRICT;",
    "ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7;",
};

static const struct sql_schema ONE = { "the test database", 0x11223344, STEPS, 1, true, true, false };
static const struct sql_schema TWO = { "the test database", 0x11223344, STEPS, 2, true, false, false };
static const struct sql_schema OTHER = { "the other database", 0x55667788, STEPS, 1, true, true, false };

static struct sql *open_sql(const struct fixture *f, const struct sql_schema *schema)
{
    struct sql *s = NULL;
    struct error e = { 0 };
    int r = sql_open(f->db, schema, &s, &e);

    if (r < 0)
        fail_msg("%s", e.text);
    return s;
}

static int64_t get_int(struct sql *s, const char *text)
{
    int64_t value = -1;

    assert_int_equal(sql_get_int(s, &value, text), 0);
    return value;
}

static void migrates_from_each_version(void **state)
{
    struct fixture *f = *state;
    struct sql *s = open_sql(f, &ONE);

    assert_int_equal(get_int(s, "PRAGMA user_version"), 1);
    assert_int_equal(sql_run(s, "INSERT INTO things(name) VALUES(?)", SQL_TEXT("a")), 0);
    sql_close(s);
    s = open_sql(f, &TWO);
    assert_int_equal(get_int(s, "PRAGMA user_version"), 2);
    assert_int_equal(get_int(s, "SELECT size FROM things"), 7);
    sql_close(s);
    s = open_sql(f, &TWO);
    assert_int_equal(get_int(s, "SELECT count(*) FROM things"), 1);
    sql_close(s);
}

static void failed_migration_changes_nothing(void **state)
{
    const char *const bad[] = { STEPS[0], "CREATE TABLE half(a); CREATE TABLE things(b);" };
    const struct sql_schema faulty = { "the test database", 0x11223344, bad, 2, true, true, false };
    struct fixture *f = *state;
    struct error e = { 0 };
    struct sql *s = NULL;

    assert_int_equal(sql_open(f->db, &faulty, &s, &e), -EINVAL);
    assert_non_null(strstr(e.text, "things"));
    s = open_sql(f, &ONE);
    assert_int_equal(get_int(s, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'"), 0);
    sql_close(s);
}

static void newer_version_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct error e = { 0 };
    struct sql *s = open_sql(f, &TWO);

    sql_close(s);
    assert_int_equal(sql_open(f->db, &ONE, &s, &e), -EPROTONOSUPPORT);
    assert_non_null(strstr(e.text, f->db));
    assert_int_equal(access(f->db, F_OK), 0);
    s = open_sql(f, &TWO);
    sql_close(s);
}

/* The only file that was kept aside, in out; fails the test when there is another number of them. */
static void kept_aside(const struct fixture *f, char out[128])
{
    char pattern[128];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "%s.corrupt-*Z", f->db);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(out, 128, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
}

static void garbage_is_kept_aside(void **state)
{
    static const char GARBAGE[] = "this was never a database, but it is somebody's file; keep it.............";
    struct fixture *f = *state;
    char kept[128], bytes[sizeof(GARBAGE)] = "";
    struct error e = { 0 };
    struct sql *s = NULL;
    CLEANUP_CLOSE int fd = -1;

    write_file(f->db, GARBAGE, sizeof(GARBAGE));
    assert_int_equal(sql_open(f->db, &ONE, &s, &e), -EUCLEAN);
    kept_aside(f, kept);
    assert_non_null(strstr(e.text, kept));
    assert_int_equal(access(f->db, F_OK), -1);
    fd = open(kept, O_RDONLY);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
    assert_memory_equal(bytes, GARBAGE, sizeof(bytes));
}

static void second_damage_does_not_overwrite_the_first(void **state)
{
    struct fixture *f = *state;
    struct error e = { 0 };
    struct sql *s = NULL;
    char pattern[128];
    glob_t found;

    for (int i = 0; i < 3; i++) {
        write_file(f->db, "no database at all, whatever it may look like....................", 60);
        assert_int_equal(sql_open(f->db, &ONE, &s, &e), -EUCLEAN);
    }
    snprintf(pattern, sizeof(pattern), "%s.corrupt-*", f->db);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 3);
    globfree(&found);
}

/* A page in the middle of the file is overwritten: only the check can see it. */
static void damaged_page_is_found(void **state)
{
    struct fixture *f = *state;
    struct error e = { 0 };
    struct sql *s = open_sql(f, &ONE);
    char kept[128], blot[512], body[1000];
    int fd;

    memset(blot, 0xa5, sizeof(blot));
    memset(body, 'b', sizeof(body));
    for (int i = 0; i < 100; i++)
        assert_int_equal(sql_run(s, "INSERT INTO things(id, name, body) VALUES(?, ?, ?)", SQL_INT(i), SQL_NULL,
                                 SQL_BLOB(body, sizeof(body))), 0);
    sql_close(s);
    fd = open(f->db, O_RDWR);
    assert_int_equal(pwrite(fd, blot, sizeof(blot), 4096 * 5), sizeof(blot));
    close(fd);
    assert_int_equal(sql_open(f->db, &ONE, &s, &e), -EUCLEAN);
    kept_aside(f, kept);
}

/* Where a check after a cut is enough, the log of an earlier life of the machine tells of one. */
static void damaged_page_is_found_after_a_cut(void **state)
{
    struct fixture *f = *state;
    struct sql_schema schema = ONE;
    struct error e = { 0 };
    struct sql *s;
    char kept[128], wal[160], blot[512], body[1000] = "";
    int fd;

    schema.check = SQL_CHECK_AFTER_CUT;
    s = open_sql(f, &schema);
    memset(blot, 0xa5, sizeof(blot));
    for (int i = 0; i < 100; i++)
        assert_int_equal(sql_run(s, "INSERT INTO things(id, name, body) VALUES(?, ?, ?)", SQL_INT(i), SQL_NULL,
                                 SQL_BLOB(body, sizeof(body))), 0);
    sql_close(s);
    fd = open(f->db, O_RDWR);
    assert_int_equal(pwrite(fd, blot, sizeof(blot), 4096 * 5), sizeof(blot));
    close(fd);
    s = open_sql(f, &schema);
    sql_close(s);
    snprintf(wal, sizeof(wal), "%s-wal", f->db);
    fd = open(wal, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(pwrite(fd, blot, sizeof(blot), 0), sizeof(blot));
    assert_int_equal(futimens(fd, (struct timespec[2]){ { 1, 0 }, { 1, 0 } }), 0);
    close(fd);
    assert_int_equal(sql_open(f->db, &schema, &s, &e), -EUCLEAN);
    kept_aside(f, kept);
}

static void other_programs_database_is_kept_aside(void **state)
{
    struct fixture *f = *state;
    struct error e = { 0 };
    struct sql *s = open_sql(f, &OTHER);
    char kept[128];

    sql_close(s);
    assert_int_equal(sql_open(f->db, &ONE, &s, &e), -EUCLEAN);
    assert_non_null(strstr(e.text, "another program"));
    kept_aside(f, kept);
}

static void systems_reason_is_said(void **state)
{
    struct fixture *f = *state;
    struct error e = { 0 };
    struct sql *s = NULL;

    assert_int_equal(rmdir(f->dir), 0);
    assert_true(sql_open(f->db, &ONE, &s, &e) < 0);
    assert_non_null(strstr(e.text, "cannot be opened: unable to open database file (No such file or directory)."));
    assert_int_equal(mkdir(f->dir, 0700), 0);
}

static void one_process_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct sql *s = open_sql(f, &ONE);
    pid_t child = fork();
    int status;

    if (child == 0) {
        struct sql *other = NULL;
        struct error e = { 0 };

        _exit(sql_open(f->db, &ONE, &other, &e) == -EBUSY ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(f->db, F_OK), 0);
    sql_close(s);
}

/* --- statements ------------------------------------------------------------------------------------ */

static void values_come_back_as_they_went(void **state)
{
    struct sql *s = open_sql(*state, &ONE);
    struct sql_query q;
    size_t n;

    assert_int_equal(sql_run(s, "INSERT INTO things(id, name, body) VALUES(?, ?, ?)", SQL_INT(UINT32_MAX),
                             SQL_TEXT("n\xc3\xa4me"), SQL_BLOB("a\0b", 3)), 0);
    assert_int_equal(sql_last_id(s), UINT32_MAX);
    assert_int_equal(sql_run(s, "INSERT INTO things(id, name, body) VALUES(?, ?, ?)", SQL_INT(1), SQL_TEXT(NULL),
                             SQL_BLOB(NULL, 0)), 0);
    q = sql_query(s, "SELECT id, name, body FROM things ORDER BY id DESC");
    assert_int_equal(sql_next(&q), 1);
    assert_int_equal(sql_int(&q, 0), UINT32_MAX);
    assert_string_equal(sql_text(&q, 1), "n\xc3\xa4me");
    assert_memory_equal(sql_blob(&q, 2, &n), "a\0b", 3);
    assert_int_equal(n, 3);
    assert_int_equal(sql_next(&q), 1);
    assert_true(sql_is_null(&q, 1));
    assert_null(sql_text(&q, 1));
    assert_non_null(sql_blob(&q, 2, &n));
    assert_int_equal(n, 0);
    assert_int_equal(sql_next(&q), 0);
    assert_int_equal(sql_next(&q), 0);
    sql_query_end(&q);
    sql_query_end(&q);
    sql_close(s);
}

static int64_t count_slowly(struct sql *s, int depth)
{
    CLEANUP(sql_query_end) struct sql_query q = sql_query(s, "SELECT id FROM things ORDER BY id");
    int64_t sum = 0;

    while (sql_next(&q) > 0)
        sum += depth ? count_slowly(s, depth - 1) : sql_int(&q, 0);
    return sum;
}

static void one_text_runs_inside_itself(void **state)
{
    struct sql *s = open_sql(*state, &ONE);

    for (int i = 1; i <= 3; i++)
        assert_int_equal(sql_run(s, "INSERT INTO things(id) VALUES(?)", SQL_INT(i)), 0);
    assert_int_equal(count_slowly(s, 0), 6);
    assert_int_equal(count_slowly(s, 2), 54);
    assert_int_equal(count_slowly(s, 0), 6);
    sql_close(s);
}

static void errors_have_their_errno(void **state)
{
    struct sql *s = open_sql(*state, &ONE);
    int64_t value;

    assert_int_equal(sql_run(s, "INSERT INTO things(id, name) VALUES(1, 'a')"), 0);
    assert_int_equal(sql_run(s, "INSERT INTO things(id, name) VALUES(1, 'b')"), -EEXIST);
    assert_int_equal(sql_run(s, "INSERT INTO things(id, name) VALUES(2, 'a')"), -EEXIST);
    assert_int_equal(sql_run(s, "INSERT INTO parts(thing) VALUES(9)"), -EBUSY);
    assert_int_equal(sql_run(s, "INSERT INTO things(id) VALUES('no number')"), -EINVAL);
    assert_int_equal(sql_run(s, "no sql at all"), -EINVAL);
    assert_int_equal(sql_get_int(s, &value, "SELECT id FROM things WHERE id = ?", SQL_INT(5)), -ENOENT);
    assert_int_equal(sql_run(s, "UPDATE things SET name = 'z' WHERE id = 5"), 0);
    assert_int_equal(sql_changes(s), 0);
    sql_close(s);
}

static void rollback_undoes(void **state)
{
    struct sql *s = open_sql(*state, &ONE);

    sql_rollback(s);
    assert_int_equal(sql_begin(s), 0);
    assert_true(sql_in_transaction(s));
    assert_int_equal(sql_run(s, "INSERT INTO things(id) VALUES(1)"), 0);
    sql_rollback(s);
    assert_false(sql_in_transaction(s));
    assert_int_equal(get_int(s, "SELECT count(*) FROM things"), 0);
    assert_int_equal(sql_begin(s), 0);
    assert_int_equal(sql_run(s, "INSERT INTO things(id) VALUES(1)"), 0);
    assert_int_equal(sql_commit(s), 0);
    assert_int_equal(get_int(s, "SELECT count(*) FROM things"), 1);
    assert_true(sql_wal_fd(s) >= 0);
    assert_int_equal(fdatasync(sql_wal_fd(s)), 0);
    sql_close(s);
}

/* --- the state database ------------------------------------------------------------------------------ */

static struct store *open_store(const struct fixture *f)
{
    struct store *s = NULL;
    struct error e = { 0 };

    if (store_open(f->dir, &s, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

static void settings_are_kept(void **state)
{
    struct store *s = open_store(*state);
    CLEANUP_FREE char *value = NULL;
    struct stat st;

    assert_int_equal(store_setting_get(s, "a", &value), -ENOENT);
    assert_int_equal(store_setting_set(s, "a", "1"), 0);
    assert_int_equal(store_setting_set(s, "a", "2"), 0);
    store_close(s);
    assert_int_equal(stat(((struct fixture *)*state)->db, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    s = open_store(*state);
    assert_int_equal(store_setting_get(s, "a", &value), 0);
    assert_string_equal(value, "2");
    store_close(s);
}

static void damage_is_not_followed_by_an_empty_start(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    struct error e = { 0 };
    char kept[128], moved[128];

    write_file(f->db, "this is no database, and nobody knows what became of the accounts", 60);
    assert_int_equal(store_open(f->dir, &s, &e), -EUCLEAN);
    kept_aside(f, kept);
    assert_int_equal(store_open(f->dir, &s, &e), -EUCLEAN);
    assert_non_null(strstr(e.text, "state.db.corrupt-"));
    assert_int_equal(access(f->db, F_OK), -1);
    snprintf(moved, sizeof(moved), "%s/elsewhere", f->dir);
    assert_int_equal(rename(kept, moved), 0);
    s = open_store(f);
    store_close(s);
}

static void expect_refused(const struct fixture *f, const char *part)
{
    struct store *s = NULL;
    struct error e = { 0 };

    assert_int_equal(store_open(f->dir, &s, &e), -EUCLEAN);
    assert_null(s);
    if (!strstr(e.text, part))
        fail_msg("%s", e.text);
}

static void an_empty_file_is_no_first_start(void **state)
{
    struct fixture *f = *state;

    store_close(open_store(f));
    assert_int_equal(truncate(f->db, 0), 0);
    expect_refused(f, "is empty");
    expect_refused(f, "is empty");
    assert_int_equal(unlink(f->db), 0);
    store_close(open_store(f));
}

/* Its pages would come into a new database, or into a backup that is put in the place of the lost one. */
static void a_log_without_the_database_is_no_first_start(void **state)
{
    struct fixture *f = *state;
    char log[128], away[128];

    store_close(open_store(f));
    snprintf(log, sizeof(log), "%s-wal", f->db);
    snprintf(away, sizeof(away), "%s/away", f->dir);
    write_file(log, "whatever it is", 14);
    assert_int_equal(truncate(f->db, 0), 0);
    expect_refused(f, log);
    assert_int_equal(unlink(f->db), 0);
    expect_refused(f, log);
    expect_refused(f, log);
    assert_int_equal(rename(log, away), 0);
    store_close(open_store(f));
}

static void drives_without_a_database_are_no_first_start(void **state)
{
    struct fixture *f = *state;
    char drive[128];

    snprintf(drive, sizeof(drive), "%s/drives", f->dir);
    assert_int_equal(mkdir(drive, 0700), 0);
    store_close(open_store(f));
    snprintf(drive, sizeof(drive), "%s/drives/some-id", f->dir);
    assert_int_equal(mkdir(drive, 0700), 0);
    store_close(open_store(f));
    assert_int_equal(unlink(f->db), 0);
    expect_refused(f, "some-id");
    assert_int_equal(access(f->db, F_OK), -1);
}

/* A start that was cut short while the database was made is no damage. */
static void a_first_start_can_be_repeated(void **state)
{
    struct fixture *f = *state;
    char half[128];

    snprintf(half, sizeof(half), "%s.new", f->db);
    write_file(half, "SQLite format 3", 16);
    store_close(open_store(f));
    assert_int_equal(access(half, F_OK), -1);
}

static void modes_are_healed(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    store_close(open_store(f));
    assert_int_equal(chmod(f->db, 0), 0);
    store_close(open_store(f));
    assert_int_equal(stat(f->db, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

/* What was committed last is in the log alone. */
static void a_log_without_its_database_is_kept_aside(void **state)
{
    struct fixture *f = *state;
    char log[128], kept[160];
    struct error e = { 0 };
    struct sql *s = NULL;
    glob_t found;

    snprintf(log, sizeof(log), "%s-wal", f->db);
    write_file(log, "whatever it is", 14);
    assert_int_equal(sql_open(f->db, &ONE, &s, &e), -EUCLEAN);
    assert_int_equal(access(log, F_OK), -1);
    snprintf(kept, sizeof(kept), "%s.corrupt-*Z-wal", f->db);
    assert_int_equal(glob(kept, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    globfree(&found);
    sql_close(open_sql(f, &ONE));
}

static void a_directory_is_kept_aside(void **state)
{
    struct fixture *f = *state;
    char kept[128];

    assert_int_equal(mkdir(f->db, 0700), 0);
    expect_refused(f, "no regular file");
    kept_aside(f, kept);
}

static Lf__CloudAccount new_account(char *id)
{
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;

    a.id = id;
    a.name = (char *)"n";
    a.has_cloud_type = true;
    a.cloud_type = 8;
    return a;
}

static Lf__CloudDrive new_drive(char *id, char *name, char *letter, Lf__CloudAccount *account)
{
    Lf__CloudDrive d = LF__CLOUD_DRIVE__INIT;

    d.id = id;
    d.name = name;
    d.drive_name = letter;
    d.account = account;
    return d;
}

struct seen {
    char ids[128];
    size_t stop_after;
};

static bool see_account(Lf__CloudAccount *model, void *arg)
{
    struct seen *seen = arg;

    strcat(seen->ids, model->id);
    lf__cloud_account__free_unpacked(model, NULL);
    return --seen->stop_after > 0;
}

static bool see_drive(Lf__CloudDrive *model, enum store_drive_state state, void *arg)
{
    struct seen *seen = arg;

    strcat(strcat(seen->ids, model->id), state == STORE_DRIVE_SETTLED ? "+" : state == STORE_DRIVE_LEAVING ? "x" : "-");
    lf__cloud_drive__free_unpacked(model, NULL);
    return --seen->stop_after > 0;
}

static void accounts_are_kept(void **state)
{
    struct store *s = open_store(*state);
    Lf__CloudAccount a = new_account((char *)"a"), b = new_account((char *)"b"), *got = NULL;
    struct seen all = { .stop_after = 9 }, first = { .stop_after = 1 }, rest = { .stop_after = 9 };
    CLEANUP_FREE void *sealed = NULL;
    size_t n = 0;

    a.name = (char *)"first";
    assert_int_equal(store_account_insert(s, &b, NULL, 0), 0);
    assert_int_equal(store_account_insert(s, &a, "sealed", 6), 0);
    assert_int_equal(store_account_insert(s, &a, "other", 5), -EEXIST);
    assert_int_equal(store_account_get(s, "a", &got), 0);
    assert_int_equal(got->cloud_type, 8);
    lf__cloud_account__free_unpacked(got, NULL);
    assert_int_equal(store_account_get(s, "c", &got), -ENOENT);
    assert_int_equal(store_account_sealed(s, "a", &sealed, &n), 0);
    assert_int_equal(n, 6);
    assert_memory_equal(sealed, "sealed", 6);
    free(sealed);
    assert_int_equal(store_account_sealed(s, "b", &sealed, &n), 0);
    assert_null(sealed);
    assert_int_equal(store_account_each(s, "", see_account, &all), 0);
    assert_string_equal(all.ids, "ab");
    assert_int_equal(store_account_each(s, "", see_account, &first), 0);
    assert_string_equal(first.ids, "a");
    assert_int_equal(store_account_each(s, "a", see_account, &rest), 0);
    assert_string_equal(rest.ids, "b");
    assert_int_equal(store_account_delete(s, "a"), 0);
    assert_int_equal(store_account_delete(s, "a"), -ENOENT);
    store_close(s);
}

/* The tables as they were before names of accounts were unique. */
static const char *const BEFORE[] = {
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE accounts(id TEXT PRIMARY KEY, model BLOB NOT NULL, sealed BLOB) STRICT, WITHOUT ROWID;"
    "CREATE TABLE drives(id TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES accounts(id), name TEXT NOT NULL"
    " UNIQUE, letter TEXT UNIQUE COLLATE NOCASE, settled INTEGER NOT NULL DEFAULT 0, model BLOB NOT NULL) STRICT,"
    " WITHOUT ROWID;"
    "CREATE INDEX drives_account ON drives(account_id);",
};
static const struct sql_schema OLD_STATE = { "the state database", 0x4c467374, BEFORE, 1, true, true, false };

static void put_old_account(struct sql *s, char *id, char *name)
{
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;
    uint8_t packed[64];

    a.id = id;
    a.name = name;
    assert_int_equal(sql_run(s, "INSERT INTO accounts(id, model) VALUES(?, ?)", SQL_TEXT(id),
                             SQL_BLOB(packed, lf__cloud_account__pack(&a, packed))), 0);
}

/* Those that share a name from before stay, and the name stays taken until the last of them has gone. */
static void names_of_accounts_become_unique(void **state)
{
    struct fixture *f = *state;
    struct sql *old = open_sql(f, &OLD_STATE);
    Lf__CloudAccount new = LF__CLOUD_ACCOUNT__INIT, *a;
    struct store *s;

    put_old_account(old, (char *)"1", (char *)"same");
    put_old_account(old, (char *)"2", (char *)"same");
    put_old_account(old, (char *)"3", (char *)"other");
    sql_close(old);
    s = open_store(f);
    for (const char *id = "1"; *id; id = id[0] == '1' ? "2" : id[0] == '2' ? "3" : "") {
        assert_int_equal(store_account_get(s, id, &a), 0);
        assert_string_equal(a->name, id[0] == '3' ? "other" : "same");
        lf__cloud_account__free_unpacked(a, NULL);
    }
    new.id = (char *)"4";
    new.name = (char *)"other";
    assert_int_equal(store_account_insert(s, &new, NULL, 0), -EEXIST);
    new.name = (char *)"same";
    assert_int_equal(store_account_insert(s, &new, NULL, 0), -EEXIST);
    assert_int_equal(store_account_delete(s, "1"), 0);
    assert_int_equal(store_account_insert(s, &new, NULL, 0), -EEXIST);
    assert_int_equal(store_account_delete(s, "2"), 0);
    assert_int_equal(store_account_insert(s, &new, NULL, 0), 0);
    store_close(s);
}

static void drives_are_kept(void **state)
{
    struct store *s = open_store(*state);
    Lf__CloudAccount a = new_account((char *)"a"), gone = new_account((char *)"gone");
    Lf__CloudDrive one = new_drive((char *)"1", (char *)"one", (char *)"G", &a);
    Lf__CloudDrive two = new_drive((char *)"2", (char *)"one", NULL, &a);
    struct seen seen = { .stop_after = 9 }, after = { .stop_after = 9 };

    assert_int_equal(store_account_insert(s, &a, NULL, 0), 0);
    assert_int_equal(store_drive_insert(s, &one), 0);
    assert_int_equal(store_drive_insert(s, &two), -EEXIST);    /* the name */
    two.name = (char *)"two";
    two.drive_name = (char *)"g";
    assert_int_equal(store_drive_insert(s, &two), -EEXIST);    /* the letter, in either case */
    two.drive_name = (char *)"";
    two.account = &gone;
    assert_int_equal(store_drive_insert(s, &two), -ENOENT);
    two.account = &a;
    assert_int_equal(store_drive_insert(s, &two), 0);
    assert_int_equal(store_drive_set_state(s, "2", STORE_DRIVE_SETTLED), 0);
    assert_int_equal(store_drive_set_state(s, "3", STORE_DRIVE_SETTLED), -ENOENT);
    assert_int_equal(store_account_delete(s, "a"), -EBUSY);
    assert_int_equal(store_drive_each(s, see_drive, &seen), 0);
    assert_string_equal(seen.ids, "1-2+");
    two.name = (char *)"one";
    assert_int_equal(store_drive_update(s, &two), -EEXIST);
    two.name = (char *)"three";
    assert_int_equal(store_drive_update(s, &two), 0);
    assert_int_equal(store_drive_delete(s, "1"), 0);
    assert_int_equal(store_drive_delete(s, "1"), -ENOENT);
    assert_int_equal(store_drive_set_state(s, "2", STORE_DRIVE_LEAVING), 0);
    store_close(s);
    s = open_store(*state);
    assert_int_equal(store_drive_each(s, see_drive, &after), 0);
    assert_string_equal(after.ids, "2x");
    assert_int_equal(store_drive_delete(s, "2"), 0);
    assert_int_equal(store_account_delete(s, "a"), 0);
    store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(migrates_from_each_version),
        TEST(failed_migration_changes_nothing),
        TEST(newer_version_is_left_alone),
        TEST(garbage_is_kept_aside),
        TEST(second_damage_does_not_overwrite_the_first),
        TEST(damaged_page_is_found),
        TEST(damaged_page_is_found_after_a_cut),
        TEST(other_programs_database_is_kept_aside),
        TEST(systems_reason_is_said),
        TEST(one_process_at_a_time),
        TEST(values_come_back_as_they_went),
        TEST(one_text_runs_inside_itself),
        TEST(errors_have_their_errno),
        TEST(rollback_undoes),
        TEST(settings_are_kept),
        TEST(damage_is_not_followed_by_an_empty_start),
        TEST(an_empty_file_is_no_first_start),
        TEST(a_log_without_the_database_is_no_first_start),
        TEST(drives_without_a_database_are_no_first_start),
        TEST(a_first_start_can_be_repeated),
        TEST(modes_are_healed),
        TEST(a_log_without_its_database_is_kept_aside),
        TEST(a_directory_is_kept_aside),
        TEST(accounts_are_kept),
        TEST(names_of_accounts_become_unique),
        TEST(drives_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
