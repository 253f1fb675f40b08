/* The index of a drive: what it keeps, what it finds, what it says must be done in the cloud. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/loop.h"
#include "syncd/store_index.h"

struct world {
    char folder[64], path[96];
    struct index *x;
};

static void reopen(struct world *w)
{
    struct error e = { 0 };

    index_close(w->x);
    assert_int_equal(index_open(w->path, 1000, 100, &w->x, &e), 0);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    snprintf(w->folder, sizeof(w->folder), "/tmp/test_index.XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->path, sizeof(w->path), "%s/index.db", w->folder);
    reopen(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char pattern[128];
    glob_t found;

    index_close(w->x);
    snprintf(pattern, sizeof(pattern), "%s/*", w->folder);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    rmdir(w->folder);
    free(w);
    return 0;
}

/* A new inode; `cloud_key` NULL: the cloud never had it. */
static uint64_t add(struct world *w, uint64_t parent, const char *name, uint32_t mode, const char *cloud_key,
                    unsigned pending_bits)
{
    struct index_inode i = {
        .parent = parent, .name = (char *)(uintptr_t)name, .name_len = strlen(name), .mode = mode, .uid = 1, .gid = 2,
        .nlink = 1, .size = 10, .mtime_ns = 5, .cloud_key = (char *)(uintptr_t)cloud_key, .cloud_size = 10,
        .pending = pending_bits, .generation = 1,
    };

    assert_int_equal(index_insert(w->x, &i), 0);
    assert_true(i.ino > INDEX_ROOT);
    return i.ino;
}

static uint64_t add_dir(struct world *w, uint64_t parent, const char *name, const char *cloud_key)
{
    return add(w, parent, name, S_IFDIR | 0755, cloud_key, 0);
}

static uint64_t add_file(struct world *w, uint64_t parent, const char *name, const char *cloud_key)
{
    return add(w, parent, name, S_IFREG | 0644, cloud_key, 0);
}

static struct index_inode get(struct world *w, uint64_t ino)
{
    struct index_inode i;

    assert_int_equal(index_get(w->x, ino, &i), 0);
    return i;
}

static unsigned pending(struct world *w, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = get(w, ino);

    return i.pending;
}

static uint64_t generation(struct world *w, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = get(w, ino);

    return i.generation;
}

/* Joins what a callback saw: "a,b,c". */
struct seen {
    char text[4096];
    size_t n, most;
};

static bool see(struct seen *s, const char *what)
{
    size_t len = strlen(s->text);

    snprintf(s->text + len, sizeof(s->text) - len, "%s%s", len ? "," : "", what);
    return ++s->n != s->most;
}

static bool see_inode(const struct index_inode *i, void *arg)
{
    assert_int_equal(i->name_len, i->name ? strlen(i->name) : 0);
    return see(arg, i->name ? i->name : "-");
}

static bool see_key(const char *key, void *arg)
{
    return see(arg, key);
}

/* --- opening ------------------------------------------------------------------------------------ */

static void test_new_index_has_a_root(void **state)
{
    struct world *w = *state;
    CLEANUP(index_inode_done) struct index_inode root = get(w, INDEX_ROOT);
    struct stat st;

    assert_int_equal(root.mode, S_IFDIR | 0700);
    assert_int_equal(root.uid, 1000);
    assert_int_equal(root.gid, 100);
    assert_int_equal(root.parent, 0);
    assert_null(root.name);
    assert_true(root.settled);
    assert_int_equal(root.pending, 0);
    assert_true(index_empty(w->x, INDEX_ROOT));
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_what_was_committed_is_there_again(void **state)
{
    struct world *w = *state;
    uint64_t ino;
    struct index_inode i;

    assert_int_equal(index_begin(w->x), 0);
    ino = add_file(w, INDEX_ROOT, "kept", "kept");
    assert_int_equal(index_commit(w->x), 0);
    assert_int_equal(index_begin(w->x), 0);
    add_file(w, INDEX_ROOT, "lost", "lost");
    index_rollback(w->x);
    index_rollback(w->x);
    reopen(w);
    assert_int_equal(index_find(w->x, INDEX_ROOT, "kept", 4, &i), 0);
    assert_int_equal(i.ino, ino);
    assert_string_equal(i.cloud_key, "kept");
    index_inode_done(&i);
    assert_int_equal(index_find(w->x, INDEX_ROOT, "lost", 4, &i), -ENOENT);
    assert_true(fcntl(index_sync_fd(w->x), F_GETFD) >= 0);
}

static void test_numbers_are_never_used_again(void **state)
{
    struct world *w = *state;
    uint64_t first = add_file(w, INDEX_ROOT, "a", NULL);

    assert_int_equal(index_last_ino(w->x), first);
    assert_int_equal(index_remove(w->x, first), 0);
    reopen(w);
    assert_true(add_file(w, INDEX_ROOT, "b", NULL) > first);
}

/* Workers and the kernel have numbers of the lost one. */
static void test_successor_gives_other_numbers(void **state)
{
    struct world *w = *state;
    uint64_t lost = add_file(w, INDEX_ROOT, "a", NULL), first, second;

    assert_int_equal(index_succeed(w->x), 0);   /* it is the same one still */
    assert_int_equal(add_file(w, INDEX_ROOT, "b", NULL), lost + 1);
    assert_true(index_gave(w->x, lost) && !index_gave(w->x, lost + 2));
    index_close(w->x);
    w->x = NULL;
    assert_int_equal(unlink(w->path), 0);
    reopen(w);
    assert_int_equal(index_succeed(w->x), 0);
    first = add_file(w, INDEX_ROOT, "a", NULL);
    assert_true(first > UINT32_MAX);
    assert_false(index_gave(w->x, lost));
    assert_false(index_gave(w->x, first - 1));
    assert_true(index_gave(w->x, first) && index_gave(w->x, INDEX_ROOT));
    reopen(w);
    assert_int_equal(index_succeed(w->x), 0);
    assert_int_equal(add_file(w, INDEX_ROOT, "b", NULL), first + 1);
    index_close(w->x);
    w->x = NULL;
    assert_int_equal(unlink(w->path), 0);
    reopen(w);
    assert_int_equal(index_succeed(w->x), 0);
    second = add_file(w, INDEX_ROOT, "a", NULL);
    assert_true(second > first + 1);
}

static void test_damaged_file_is_kept_aside(void **state)
{
    static const char GARBAGE[] = "this is no database, but somebody may want to look at it";
    struct world *w = *state;
    struct error e = { 0 };
    char pattern[128], back[sizeof(GARBAGE)] = "";
    glob_t found;
    FILE *f;

    index_close(w->x);
    w->x = NULL;
    f = fopen(w->path, "w");
    for (int i = 0; i < 100; i++)
        fwrite(GARBAGE, sizeof(GARBAGE), 1, f);
    fclose(f);
    assert_int_equal(index_open(w->path, 1, 1, &w->x, &e), -EUCLEAN);
    assert_null(w->x);
    snprintf(pattern, sizeof(pattern), "%s.corrupt-*", w->path);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_non_null(strstr(e.text, found.gl_pathv[0]));
    f = fopen(found.gl_pathv[0], "r");
    assert_int_equal(fread(back, sizeof(GARBAGE), 1, f), 1);
    fclose(f);
    assert_string_equal(back, GARBAGE);
    globfree(&found);
    reopen(w);
    assert_true(index_empty(w->x, INDEX_ROOT));
}

/* --- how much there is ---------------------------------------------------------------------------- */

/* By all rows. */
static void check_total(struct world *w)
{
    uint64_t blocks = 0, names = 0, told_blocks, told_names;

    for (uint64_t ino = INDEX_ROOT; ino <= index_last_ino(w->x); ino++) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        if (index_get(w->x, ino, &i) == 0 && i.nlink > 0) {
            blocks += (i.size + 511) / 512;
            names++;
        }
    }
    assert_int_equal(index_total(w->x, &told_blocks, &told_names), 0);
    assert_int_equal(told_blocks, blocks);
    assert_int_equal(told_names, names);
}

static void make_some(struct world *w)
{
    static unsigned made;
    char name[32];

    snprintf(name, sizeof(name), "n%u", made++);
    (void)(rand() % 4 ? add_file(w, INDEX_ROOT, name, name) : add_dir(w, INDEX_ROOT, name, NULL));
}

static void resize(struct world *w, struct index_inode *i)
{
    static const uint64_t sizes[] = { 0, 1, 511, 512, 513, 4096, UINT64_C(5) << 40 };

    i->size = sizes[rand() % (int)(sizeof(sizes) / sizeof(sizes[0]))];
    assert_int_equal(index_update(w->x, i), 0);
}

static void change_links(struct world *w, struct index_inode *i)
{
    i->nlink = !i->nlink;
    assert_int_equal(index_update(w->x, i), 0);
}

static void replace(struct world *w, struct index_inode *i)
{
    i->size += 1000;
    assert_int_equal(index_replace(w->x, i), 0);
}

static void orphan(struct world *w, struct index_inode *i)
{
    assert_int_equal(index_orphan(w->x, i->ino), 0);
}

static void remove_row(struct world *w, struct index_inode *i)
{
    assert_int_equal(index_remove(w->x, i->ino), 0);
}

static void change_one(struct world *w)
{
    static void (*const changes[])(struct world *w, struct index_inode *i) = { resize, resize, change_links, orphan, replace,
                                                                             remove_row };
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    uint64_t ino = 2 + (uint64_t)rand() % index_last_ino(w->x);
    unsigned which = (unsigned)rand() % 6;

    if (index_get(w->x, ino, &i) < 0) {
        assert_int_equal(index_update(w->x, &(struct index_inode){ .ino = ino, .size = 7, .nlink = 1 }), -ENOENT);
        assert_int_equal(index_remove(w->x, ino), -ENOENT);
    } else if (changes[which] != replace || i.parent) {
        changes[which](w, &i);
    }
}

static void test_total_is_that_of_all_rows(void **state)
{
    struct world *w = *state;

    srand(1);
    check_total(w);
    for (unsigned turn = 0; turn < 400; turn++) {
        assert_int_equal(index_begin(w->x), 0);
        for (int n = rand() % 8; n >= 0; n--)
            (void)(rand() % 2 ? make_some(w) : change_one(w));
        if (turn % 7 == 0)
            check_total(w);
        if (turn % 5 == 0)
            index_rollback(w->x);
        else
            assert_int_equal(index_commit(w->x), 0);
        if (turn % 50 == 0)
            reopen(w);
        check_total(w);
    }
    make_some(w);   /* without a transaction */
    check_total(w);
    reopen(w);
    check_total(w);
}

/* --- names -------------------------------------------------------------------------------------- */

static void test_names_are_found_exactly(void **state)
{
    struct world *w = *state;
    char longest[256];
    const char *const names[] = { " ", "a b", "#+%&'\"\\", "line\nbreak", "\xc3\xa4\xc3\xb6", "A", "a", longest };
    struct index_inode i;

    memset(longest, 'x', 255);
    longest[255] = '\0';
    for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
        uint64_t ino = add_file(w, INDEX_ROOT, names[n], names[n]);

        assert_int_equal(index_find(w->x, INDEX_ROOT, names[n], strlen(names[n]), &i), 0);
        assert_int_equal(i.ino, ino);
        assert_string_equal(i.name, names[n]);
        index_inode_done(&i);
    }
    assert_int_equal(index_find(w->x, INDEX_ROOT, "a\0b", 3, &i), -ENOENT);
    assert_int_equal(index_find(w->x, INDEX_ROOT, "", 0, &i), -ENOENT);
    assert_int_equal(index_find(w->x, 4711, "a", 1, &i), -ENOENT);
}

static void test_a_name_is_taken_once(void **state)
{
    struct world *w = *state;
    struct index_inode i = {
        .parent = INDEX_ROOT, .name = (char[]){ "a" }, .name_len = 1, .mode = S_IFREG, .nlink = 1,
    };
    uint64_t other = add_file(w, INDEX_ROOT, "b", NULL);

    add_file(w, INDEX_ROOT, "a", NULL);
    assert_int_equal(index_insert(w->x, &i), -EEXIST);
    assert_int_equal(index_move(w->x, other, INDEX_ROOT, "a", 1), -EEXIST);
    assert_int_equal(index_update(w->x, &(struct index_inode){ .ino = 4711 }), -ENOENT);
    assert_int_equal(index_remove(w->x, 4711), -ENOENT);
}

static void test_lists_by_name_and_by_number(void **state)
{
    struct world *w = *state;
    uint64_t dir = add_dir(w, INDEX_ROOT, "dir", NULL), b;
    struct seen s = { 0 };

    add_file(w, dir, "c", NULL);
    b = add_file(w, dir, "b", NULL);
    add_file(w, dir, "a", NULL);
    add_file(w, dir, "B", NULL);
    assert_int_equal(index_list(w->x, dir, "", 0, see_inode, &s), 0);
    assert_string_equal(s.text, "B,a,b,c");
    s = (struct seen){ .most = 2 };
    assert_int_equal(index_list(w->x, dir, "a", 1, see_inode, &s), 0);
    assert_string_equal(s.text, "b,c");
    s = (struct seen){ .most = 1 };
    assert_int_equal(index_list(w->x, dir, "a", 1, see_inode, &s), 0);
    assert_string_equal(s.text, "b");
    s = (struct seen){ 0 };
    assert_int_equal(index_scan(w->x, dir, 0, see_inode, &s), 0);
    assert_string_equal(s.text, "c,b,a,B");
    s = (struct seen){ 0 };
    assert_int_equal(index_scan(w->x, dir, b, see_inode, &s), 0);
    assert_string_equal(s.text, "a,B");
    assert_false(index_empty(w->x, dir));
    assert_int_equal(index_entries(w->x, dir, 100), 4);
    assert_int_equal(index_entries(w->x, dir, 3), 3);
    assert_int_equal(index_entries(w->x, b, 100), 0);
}

static void check_key(struct world *w, uint64_t ino, const char *want)
{
    CLEANUP_FREE char *key = index_key(w->x, ino);

    if (!want)
        assert_null(key);
    else
        assert_string_equal(key, want);
}

static void test_keys_are_paths(void **state)
{
    struct world *w = *state;
    uint64_t a = add_dir(w, INDEX_ROOT, "a", NULL), b = add_dir(w, a, "b c", NULL), f = add_file(w, b, "f", NULL);

    check_key(w, INDEX_ROOT, "");
    check_key(w, a, "a/");
    check_key(w, b, "a/b c/");
    check_key(w, f, "a/b c/f");
    check_key(w, 4711, NULL);
    assert_int_equal(index_move(w->x, b, INDEX_ROOT, "d", 1), 0);
    check_key(w, f, "d/f");
    assert_int_equal(index_orphan(w->x, f), 0);
    check_key(w, f, NULL);
    assert_true(index_empty(w->x, b));
}

static void check_room(struct world *w, uint64_t dir, size_t most)
{
    assert_int_equal(index_room_below(w->x, dir, most), 0);
    assert_int_equal(index_room_below(w->x, dir, most - 1), -ENAMETOOLONG);
}

static void test_room_below(void **state)
{
    struct world *w = *state;
    uint64_t a = add_dir(w, INDEX_ROOT, "a", NULL), b = add_dir(w, a, "b c", NULL), f = add_file(w, b, "f", NULL);
    uint64_t other = add_dir(w, INDEX_ROOT, "other", NULL);

    check_room(w, INDEX_ROOT, strlen("a/b c/f"));
    check_room(w, a, strlen("b c/f"));
    check_room(w, b, strlen("f"));
    assert_int_equal(index_room_below(w->x, other, 0), 0);
    assert_int_equal(index_move(w->x, f, b, "\xc3\xa4\xc3\xb6", 4), 0);
    check_room(w, a, strlen("b c/") + 4);
    assert_int_equal(index_move(w->x, b, other, "moved", 5), 0);
    check_room(w, INDEX_ROOT, strlen("other/moved/") + 4);
    check_room(w, other, strlen("moved/") + 4);
    assert_int_equal(index_room_below(w->x, a, 0), 0);       /* what the bound was does not matter */
    assert_int_equal(index_remove(w->x, f), 0);
    check_room(w, other, strlen("moved/"));
}

static void test_orphans_are_listed_and_nothing_else(void **state)
{
    struct world *w = *state;
    uint64_t f = add(w, INDEX_ROOT, "f", S_IFREG, "f", INDEX_CONTENT), g = add_file(w, INDEX_ROOT, "g", "g");
    struct seen s = { 0 };
    struct index_inode i;

    assert_int_equal(index_orphan(w->x, f), 0);
    assert_int_equal(index_orphan(w->x, g), 0);
    add_file(w, INDEX_ROOT, "f", "f");
    assert_int_equal(index_orphans(w->x, 0, see_inode, &s), 0);
    assert_int_equal(s.n, 2);
    assert_int_equal(index_due(w->x, INT64_MAX, 10, see_inode, &s), 0);
    assert_int_equal(s.n, 2);
    assert_int_equal(index_pending_count(w->x), 0);
    assert_int_equal(index_by_cloud_key(w->x, "g", &i), -ENOENT);
    assert_int_equal(index_by_cloud_key(w->x, "f", &i), 0);
    assert_int_not_equal(i.ino, f);
    index_inode_done(&i);
}

/* --- pending ------------------------------------------------------------------------------------ */

static void test_pending_turns(void **state)
{
    struct world *w = *state;
    uint64_t f = add_file(w, INDEX_ROOT, "f", "f");
    CLEANUP(index_inode_done) struct index_inode i = get(w, f);
    int64_t before = loop_wall_ns();

    assert_int_equal(i.turned_ns, 0);
    i.pending = INDEX_META;
    assert_int_equal(index_update(w->x, &i), 0);
    index_inode_done(&i);
    i = get(w, f);
    assert_true(i.turned_ns >= before);
    assert_int_equal(index_retry(w->x, f, 77, "The bucket is gone."), 0);
    before = i.turned_ns;
    i.pending |= INDEX_CONTENT;
    assert_int_equal(index_update(w->x, &i), 0);
    index_inode_done(&i);
    i = get(w, f);
    assert_int_equal(i.turned_ns, before);
    CLEANUP_FREE char *reason = index_reason(w->x, f);
    assert_string_equal(reason, "The bucket is gone.");
    i.pending = 0;
    assert_int_equal(index_update(w->x, &i), 0);
    index_inode_done(&i);
    i = get(w, f);
    assert_true(i.turned_ns > before);
    assert_null(index_reason(w->x, f));
    assert_int_equal(index_pending_count(w->x), 0);
}

/* Nothing but its own end changes a hold; a pause does not outlive the process. */
static void test_holds(void **state)
{
    struct world *w = *state;
    int64_t now = loop_wall_ns();
    uint64_t a = add(w, INDEX_ROOT, "a", S_IFREG, NULL, INDEX_CONTENT);
    uint64_t b = add(w, INDEX_ROOT, "b", S_IFREG, NULL, INDEX_CONTENT), first = 0;
    struct index_inode i;
    struct seen s = { 0 };

    assert_int_equal(index_held(w->x, a), INDEX_FREE);
    assert_int_equal(index_hold(w->x, a, INDEX_CANCELED, "It was canceled."), 0);
    assert_int_equal(index_hold(w->x, b, INDEX_PAUSED, NULL), 0);
    assert_int_equal(index_retry(w->x, a, 0, NULL), 0);
    assert_int_equal(index_retry(w->x, b, 0, "no"), 0);
    assert_int_equal(index_retry_failed(w->x), 0);
    assert_int_equal(index_due(w->x, now, 10, see_inode, &s), 0);
    assert_string_equal(s.text, "");
    assert_int_equal(index_next_due(w->x, now), INT64_MAX);
    assert_int_equal(index_pending_count(w->x), 2);
    CLEANUP_FREE char *reason = index_reason(w->x, a), *none = index_reason(w->x, b);
    assert_string_equal(reason, "It was canceled.");
    assert_null(none);
    add(w, INDEX_ROOT, "c", S_IFREG, NULL, INDEX_CONTENT);
    assert_int_equal(index_pending_in(w->x, INDEX_ROOT, &first), 3);
    assert_true(first != a && first != b);   /* what goes on by itself is named first */
    assert_int_equal(index_pending_in_vain(w->x, INDEX_ROOT, now), 2);
    assert_int_equal(index_retry(w->x, first, now + 1000, "no"), 0);
    assert_int_equal(index_pending_in_vain(w->x, INDEX_ROOT, now), 3);
    assert_int_equal(index_pending_in_vain(w->x, INDEX_ROOT, now + 1000), 2);
    assert_int_equal(index_retry(w->x, first, now + 1000, NULL), 0);
    assert_int_equal(index_pending_in_vain(w->x, INDEX_ROOT, now), 2);   /* put off is not failed */
    reopen(w);
    assert_int_equal(index_held(w->x, a), INDEX_CANCELED);
    assert_int_equal(index_held(w->x, b), INDEX_FREE);
    assert_int_equal(index_hold_end(w->x, INDEX_CANCELED), 0);
    assert_int_equal(index_held(w->x, a), INDEX_FREE);
    assert_int_equal(index_hold(w->x, a, INDEX_PAUSED, NULL), 0);
    i = get(w, a);
    i.pending = 0;
    assert_int_equal(index_update(w->x, &i), 0);
    index_inode_done(&i);
    assert_int_equal(index_held(w->x, a), INDEX_FREE);
}

/* The count is the one of now: within a transaction, after it was taken back, and beside graves. */
static void test_pending_is_counted_anew(void **state)
{
    struct world *w = *state;
    uint64_t f = add_file(w, INDEX_ROOT, "f", "f");
    CLEANUP(index_inode_done) struct index_inode i = get(w, f);

    assert_int_equal(index_pending_count(w->x), 0);
    assert_int_equal(index_begin(w->x), 0);
    i.pending = INDEX_META;
    assert_int_equal(index_update(w->x, &i), 0);
    assert_int_equal(index_pending_count(w->x), 1);
    index_rollback(w->x);
    assert_int_equal(index_pending_count(w->x), 0);
    assert_int_equal(index_update(w->x, &i), 0);
    assert_int_equal(index_pending_count(w->x), 1);
    assert_int_equal(index_pending_count(w->x), 1);
    i.pending = 0;
    assert_int_equal(index_update(w->x, &i), 0);
    assert_int_equal(index_pending_count(w->x), 0);
    assert_int_equal(index_bury(w->x, "g", NULL), 0);
    assert_int_equal(index_pending_count(w->x), 1);
}

static void test_due_order(void **state)
{
    struct world *w = *state;
    int64_t now = loop_wall_ns(), hour = INT64_C(3600) * 1000000000;
    uint64_t tried, before, later;
    struct seen s = { 0 };

    assert_int_equal(index_next_due(w->x, now), INT64_MAX);
    tried = add(w, INDEX_ROOT, "tried", S_IFREG, NULL, INDEX_CONTENT);
    assert_int_equal(index_retry(w->x, tried, now - 5, "no"), 0);
    before = add(w, INDEX_ROOT, "tried before", S_IFREG, NULL, INDEX_CONTENT);
    assert_int_equal(index_retry(w->x, before, now - 9, "no"), 0);
    later = add(w, INDEX_ROOT, "later", S_IFREG, NULL, INDEX_MOVE);
    assert_int_equal(index_retry(w->x, later, now + hour, "no"), 0);
    add(w, INDEX_ROOT, "first", S_IFREG, NULL, INDEX_CONTENT);
    add(w, INDEX_ROOT, "clean", S_IFREG, NULL, 0);
    add(w, INDEX_ROOT, "second", S_IFREG, NULL, INDEX_META);
    assert_int_equal(index_due(w->x, now, 10, see_inode, &s), 0);
    assert_string_equal(s.text, "first,second,tried before,tried");
    s = (struct seen){ 0 };
    assert_int_equal(index_due(w->x, now + hour, 10, see_inode, &s), 0);
    assert_string_equal(s.text, "first,second,tried before,tried,later");
    s = (struct seen){ 0 };
    assert_int_equal(index_due(w->x, now, 1, see_inode, &s), 0);
    assert_string_equal(s.text, "first");
    assert_int_equal(index_next_due(w->x, now), now + hour);
    assert_int_equal(index_next_due(w->x, now + hour - 1), now + hour);   /* whatever the clock says meanwhile */
    assert_int_equal(index_next_due(w->x, now + hour), INT64_MAX);
    assert_int_equal(index_retry(w->x, before, now + hour, NULL), 0);   /* put off, not failed */
    assert_int_equal(index_retry_failed(w->x), 0);
    assert_int_equal(index_retry_at(w->x, later), 0);
    assert_int_equal(index_retry_at(w->x, before), now + hour);
    assert_int_equal(index_pending_count(w->x), 5);
    assert_int_equal(index_retry(w->x, later, now + hour, "no"), 0);
    reopen(w);
    assert_int_equal(index_retry_at(w->x, later), 0);
    assert_int_equal(index_retry_at(w->x, before), now + hour);
}

static void test_pending_below(void **state)
{
    struct world *w = *state;
    uint64_t a = add_dir(w, INDEX_ROOT, "a", NULL), b = add_dir(w, a, "b", NULL), c = add_dir(w, INDEX_ROOT, "c", NULL);
    uint64_t f = add(w, b, "f", S_IFREG, NULL, INDEX_CONTENT);

    assert_true(index_pending_below(w->x, INDEX_ROOT));
    assert_true(index_pending_below(w->x, a));
    assert_true(index_pending_below(w->x, b));
    assert_false(index_pending_below(w->x, c));
    assert_false(index_pending_below(w->x, f));
    assert_int_equal(index_move(w->x, f, c, "f", 1), 0);
    assert_false(index_pending_below(w->x, a));
    assert_true(index_pending_below(w->x, c));
    assert_int_equal(index_remove(w->x, f), 0);
    assert_false(index_pending_below(w->x, INDEX_ROOT));
}

static void test_moving_a_file(void **state)
{
    struct world *w = *state;
    uint64_t f = add_file(w, INDEX_ROOT, "f", "f"), fresh = add(w, INDEX_ROOT, "new", S_IFREG, NULL, INDEX_CONTENT);

    assert_int_equal(index_move(w->x, f, INDEX_ROOT, "g", 1), 0);
    assert_int_equal(index_mark_moved(w->x, f), 0);
    assert_int_equal(pending(w, f), INDEX_MOVE);
    assert_int_equal(generation(w, f), 2);
    assert_int_equal(index_move(w->x, f, INDEX_ROOT, "f", 1), 0);
    assert_int_equal(index_mark_moved(w->x, f), 0);
    assert_int_equal(pending(w, f), 0);
    assert_int_equal(generation(w, f), 3);
    assert_int_equal(index_move(w->x, fresh, INDEX_ROOT, "newer", 5), 0);
    assert_int_equal(index_mark_moved(w->x, fresh), 0);
    assert_int_equal(pending(w, fresh), INDEX_CONTENT);
    assert_int_equal(generation(w, fresh), 1);
}

struct directories {
    uint64_t inos[64];
    size_t n;
};

static bool keep_directory(const struct index_inode *i, void *arg)
{
    struct directories *d = arg;

    if (S_ISDIR(i->mode))
        d->inos[d->n++] = i->ino;
    return true;
}

/* As mover.c does, in small steps. */
static void mark_all(struct world *w, uint64_t dir)
{
    struct directories d = { .inos = { dir }, .n = 1 };

    while (d.n > 0) {
        uint64_t at = d.inos[--d.n], cookie = 0;
        int n;

        do {
            n = index_mark_children(w->x, at, &cookie, 2, keep_directory, &d);
            assert_true(n >= 0);
        } while (n == 2);
    }
}

static void mark_tree(struct world *w, uint64_t dir)
{
    assert_int_equal(index_mark_moved(w->x, dir), 0);
    mark_all(w, dir);
}

static void test_moving_a_directory(void **state)
{
    struct world *w = *state;
    uint64_t d = add_dir(w, INDEX_ROOT, "d", "d/"), implied = add_dir(w, d, "sub", NULL);
    uint64_t f = add_file(w, implied, "f", "d/sub/f");
    uint64_t dirty = add(w, d, "dirty", S_IFREG, "d/dirty", INDEX_CONTENT);
    uint64_t fresh = add(w, d, "new", S_IFREG, NULL, INDEX_CONTENT);
    uint64_t aside = add_file(w, INDEX_ROOT, "d2", "d2");

    assert_int_equal(index_move(w->x, d, INDEX_ROOT, "e", 1), 0);
    mark_tree(w, d);
    assert_int_equal(pending(w, d), INDEX_MOVE);
    assert_int_equal(pending(w, implied), 0);
    assert_int_equal(pending(w, f), INDEX_MOVE);
    assert_int_equal(pending(w, dirty), INDEX_MOVE | INDEX_CONTENT);
    assert_int_equal(pending(w, fresh), INDEX_CONTENT);
    assert_int_equal(generation(w, dirty), 2);
    assert_int_equal(generation(w, fresh), 1);
    assert_int_equal(pending(w, aside), 0);
    assert_int_equal(generation(w, aside), 1);
    /* One file had been moved in the cloud before the directory came back. */
    CLEANUP(index_inode_done) struct index_inode i = get(w, f);
    free(i.cloud_key);
    i.cloud_key = strdup("e/sub/f");
    i.pending = 0;
    assert_int_equal(index_update(w->x, &i), 0);
    assert_int_equal(index_move(w->x, d, INDEX_ROOT, "d", 1), 0);
    mark_tree(w, d);
    assert_int_equal(pending(w, d), 0);
    assert_int_equal(pending(w, f), INDEX_MOVE);
    assert_int_equal(pending(w, dirty), INDEX_CONTENT);
}

static void test_graves(void **state)
{
    struct world *w = *state;
    struct seen s = { 0 };
    int64_t before = loop_wall_ns();

    assert_int_equal(index_bury(w->x, "b", NULL), 0);
    assert_int_equal(index_bury(w->x, "a/", NULL), 0);
    assert_int_equal(index_bury(w->x, "a/", NULL), 0);
    assert_int_equal(index_bury(w->x, "c", NULL), 0);
    assert_int_equal(index_exhume(w->x, "never"), 0);
    assert_int_equal(index_pending_count(w->x), 3);
    assert_int_equal(index_exhume(w->x, "b"), 0);
    assert_true(index_buried(w->x, "a/"));
    assert_false(index_buried(w->x, "b"));
    assert_true(index_buried_since(w->x, "b", before));
    assert_false(index_buried_since(w->x, "b", loop_wall_ns() + 1000000000));
    assert_true(index_buried_since(w->x, "c", INT64_MAX));
    assert_false(index_buried_since(w->x, "never", 0));
    assert_int_equal(index_graves(w->x, NULL, 10, see_key, &s), 0);
    assert_string_equal(s.text, "a/,c");
    s = (struct seen){ 0 };
    assert_int_equal(index_graves(w->x, "a/", 10, see_key, &s), 0);
    assert_string_equal(s.text, "c");
    assert_int_equal(index_bury(w->x, "b", NULL), 0);
    assert_true(index_buried(w->x, "b"));
    assert_int_equal(index_exhume(w->x, "b"), 0);
    assert_int_equal(index_forget_graves(w->x, INT64_MAX), 0);
    assert_false(index_buried_since(w->x, "b", 0));
    assert_true(index_buried(w->x, "c"));
}

static void test_graves_know_their_version(void **state)
{
    struct world *w = *state;
    char *etag;

    assert_null(index_grave_etag(w->x, "a"));
    assert_int_equal(index_bury(w->x, "a", "one"), 0);
    etag = index_grave_etag(w->x, "a");
    assert_string_equal(etag, "one");
    free(etag);
    assert_int_equal(index_bury(w->x, "a", NULL), 0);
    assert_null(index_grave_etag(w->x, "a"));
    assert_int_equal(index_bury(w->x, "a", "two"), 0);
    assert_int_equal(index_exhume(w->x, "a"), 0);
    assert_null(index_grave_etag(w->x, "a"));
}

static void test_graves_for_a_version_only(void **state)
{
    struct world *w = *state;

    assert_false(index_grave_compared(w->x, "a"));
    assert_int_equal(index_bury_version(w->x, "a", NULL), 0);
    assert_true(index_grave_compared(w->x, "a"));
    assert_int_equal(index_bury(w->x, "a", "one"), 0);
    assert_false(index_grave_compared(w->x, "a"));
    assert_int_equal(index_bury_version(w->x, "a", "one"), 0);
    assert_true(index_grave_compared(w->x, "a"));
    assert_int_equal(index_exhume(w->x, "a"), 0);
    assert_false(index_grave_compared(w->x, "a"));
}

static void test_graves_below(void **state)
{
    struct world *w = *state;
    int64_t before = loop_wall_ns();

    assert_int_equal(index_bury(w->x, "d/x", NULL), 0);
    assert_int_equal(index_bury(w->x, "e0", NULL), 0);
    assert_int_equal(index_bury(w->x, "e.x", NULL), 0);
    assert_true(index_buried_since(w->x, "d/", before));
    assert_false(index_buried_since(w->x, "d", before));
    assert_false(index_buried_since(w->x, "e/", before));
    assert_int_equal(index_exhume(w->x, "d/x"), 0);
    assert_true(index_buried_since(w->x, "d/", before));
    assert_false(index_buried_since(w->x, "d/", INT64_MAX));
}

static void test_lives_at(void **state)
{
    struct world *w = *state;
    uint64_t d = add_dir(w, INDEX_ROOT, "d", NULL), f = add_file(w, d, "f", "e/f");

    assert_true(index_lives_at(w->x, "e/"));
    assert_true(index_lives_at(w->x, "e/f"));
    assert_false(index_lives_at(w->x, "e"));
    assert_false(index_lives_at(w->x, "e/e"));
    assert_false(index_lives_at(w->x, "d/"));
    assert_int_equal(index_orphan(w->x, f), 0);
    assert_false(index_lives_at(w->x, "e/"));
}

static void test_pending_since(void **state)
{
    struct world *w = *state;
    uint64_t d = add_dir(w, INDEX_ROOT, "d", NULL), sub = add_dir(w, d, "sub", NULL), f = add_file(w, sub, "f", "d/sub/f");
    CLEANUP(index_inode_done) struct index_inode i = get(w, f);
    int64_t before = loop_wall_ns();

    assert_false(index_pending_since(w->x, d, 0));
    i.pending = INDEX_META;
    assert_int_equal(index_update(w->x, &i), 0);
    assert_true(index_pending_since(w->x, d, INT64_MAX));
    i.pending = 0;
    assert_int_equal(index_update(w->x, &i), 0);
    assert_true(index_pending_since(w->x, d, before));
    assert_false(index_pending_since(w->x, d, INT64_MAX));
    assert_true(index_pending_since(w->x, f, before));
}

/* A directory without a marker that comes to stand on a grave gets one, else the grave would stay open for ever. */
static void test_moving_onto_a_grave(void **state)
{
    struct world *w = *state;
    uint64_t d = add_dir(w, INDEX_ROOT, "d", NULL), sub = add_dir(w, d, "sub", NULL);

    assert_int_equal(index_bury(w->x, "e/sub/", NULL), 0);
    assert_int_equal(index_bury(w->x, "e", NULL), 0);
    assert_int_equal(index_move(w->x, d, INDEX_ROOT, "e", 1), 0);
    mark_tree(w, d);
    assert_int_equal(pending(w, d), 0);
    assert_int_equal(pending(w, sub), INDEX_CONTENT);
}

static bool see_upload(const struct index_upload *u, void *arg)
{
    return see(arg, u->key);
}

/* Another version in a file's place goes on with parts, but did not send what its predecessor sent without hearing of
 * it. */
static void test_uploads_of_what_is_replaced(void **state)
{
    struct world *w = *state;
    struct index_upload u = { 0, 1, 0, 99, 5, (char[]){ "k" }, (char[]){ "" }, 0 }, back;

    for (u.part_size = 0; u.part_size <= 1 << 20; u.part_size += 1 << 20) {
        uint64_t old = add_file(w, INDEX_ROOT, u.part_size ? "parts" : "one", NULL);
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        u.ino = old;
        assert_int_equal(index_upload_put(w->x, &u), 0);
        assert_int_equal(index_get(w->x, old, &i), 0);
        assert_int_equal(index_replace(w->x, &i), 0);
        assert_int_equal(index_upload_get(w->x, u.part_size ? i.ino : old, &back), 0);
        index_upload_done(&back);
        assert_int_equal(index_upload_get(w->x, u.part_size ? old : i.ino, &back), -ENOENT);
    }
}

static void test_uploads(void **state)
{
    struct world *w = *state;
    struct index_upload u = { 7, 3, 1 << 20, 99, -5, (char[]){ "k7" }, (char[]){ "id7" }, 12 }, back;
    struct seen s = { 0 };

    assert_int_equal(index_upload_get(w->x, 7, &back), -ENOENT);
    assert_int_equal(index_upload_put(w->x, &u), 0);
    u.generation = 4;
    assert_int_equal(index_upload_put(w->x, &u), 0);
    u = (struct index_upload){ 8, 1, 0, 0, 0, (char[]){ "k8" }, (char[]){ "id8" }, 0 };
    assert_int_equal(index_upload_put(w->x, &u), 0);
    reopen(w);
    assert_int_equal(index_upload_get(w->x, 7, &back), 0);
    assert_int_equal(back.generation, 4);
    assert_int_equal(back.part_size, 1 << 20);
    assert_int_equal(back.size, 99);
    assert_int_equal(back.mtime_ns, -5);
    assert_string_equal(back.key, "k7");
    assert_string_equal(back.upload_id, "id7");
    assert_int_equal(back.begun_ns, 12);
    index_upload_done(&back);
    index_upload_done(&back);
    assert_int_equal(index_uploads(w->x, 0, see_upload, &s), 0);
    assert_string_equal(s.text, "k7,k8");
    assert_int_equal(index_upload_remove(w->x, 7), 0);
    assert_int_equal(index_upload_get(w->x, 7, &back), -ENOENT);
}

/* --- the rest ----------------------------------------------------------------------------------- */

static bool has_reply(struct world *w, struct ipc_identity who, uint64_t mount, const char *expected)
{
    CLEANUP_FREE void *reply = NULL;
    size_t size;
    int r = index_replay_get(w->x, &who, mount, &reply, &size);

    assert_true(r == 0 || r == -ENOENT);
    return r == 0 && size == strlen(expected) && memcmp(reply, expected, size) == 0;
}

static void put_reply(struct world *w, struct ipc_identity who, uint64_t mount, const char *reply)
{
    assert_int_equal(index_replay_put(w->x, &who, mount, reply, strlen(reply)), 0);
}

static void test_replies_are_kept_until_answered(void **state)
{
    struct world *w = *state;
    const struct ipc_identity first = { .instance = UINT64_C(0xfedcba9876543210), .id = 1 };
    struct ipc_identity second = first, third = first, other = { .instance = 5, .id = 1 };

    second.id = 2;
    third.id = 3;
    third.done_below = 2;
    assert_false(has_reply(w, first, 0, "one"));
    assert_int_equal(index_begin(w->x), 0);
    put_reply(w, first, 0, "one");
    put_reply(w, second, 0, "");
    put_reply(w, other, 0, "other");
    assert_int_equal(index_commit(w->x), 0);
    reopen(w);
    assert_true(has_reply(w, first, 0, "one"));
    assert_true(has_reply(w, second, 0, ""));
    put_reply(w, third, 0, "three");
    assert_false(has_reply(w, first, 0, "one"));
    assert_true(has_reply(w, second, 0, ""));
    assert_true(has_reply(w, other, 0, "other"));
}

/* The number alone says it, on the mount that it is of. */
static void test_another_worker_asks_for_the_same(void **state)
{
    struct world *w = *state;
    const struct ipc_identity dead = { .instance = 5, .id = 9, .origin = 77 }, next = { .instance = 6, .id = 1, .origin = 77 };
    const struct ipc_identity none = { .instance = 6, .id = 2 }, done = { .instance = 5, .id = 10, .done_below = 10 };

    put_reply(w, dead, 123, "made");
    reopen(w);
    assert_true(has_reply(w, next, 123, "made"));
    assert_false(has_reply(w, next, 124, "made"));
    assert_false(has_reply(w, next, 0, "made"));
    assert_false(has_reply(w, none, 123, "made"));
    put_reply(w, done, 123, "later");
    assert_false(has_reply(w, next, 123, "made"));
    assert_false(has_reply(w, none, 123, "later"));
}

static void see_xattr(const char *name, const void *value, size_t size, void *arg)
{
    char text[64];

    snprintf(text, sizeof(text), "%s=%.*s", name, (int)size, (const char *)value);
    see(arg, text);
}

static void test_xattrs(void **state)
{
    struct world *w = *state;
    uint64_t f = add_file(w, INDEX_ROOT, "f", NULL);
    struct seen s = { 0 };
    void *value;
    size_t size;

    assert_int_equal(index_xattr_get(w->x, f, "user.a", &value, &size), -ENODATA);
    assert_int_equal(index_xattr_set(w->x, f, "user.a", "x", 1, XATTR_REPLACE), -ENODATA);
    assert_int_equal(index_xattr_set(w->x, f, "user.b", "", 0, XATTR_CREATE), 0);
    assert_int_equal(index_xattr_set(w->x, f, "user.a", "1\0" "2", 3, 0), 0);
    assert_int_equal(index_xattr_set(w->x, f, "user.a", "x", 1, XATTR_CREATE), -EEXIST);
    assert_int_equal(index_xattr_get(w->x, f, "user.a", &value, &size), 0);
    assert_int_equal(size, 3);
    assert_memory_equal(value, "1\0" "2", 3);
    free(value);
    assert_int_equal(index_xattr_set(w->x, f, "user.a", "y", 1, XATTR_REPLACE), 0);
    assert_int_equal(index_xattr_list(w->x, f, see_xattr, &s), 0);
    assert_string_equal(s.text, "user.a=y,user.b=");
    assert_int_equal(index_xattr_remove(w->x, f, "user.a"), 0);
    assert_int_equal(index_xattr_remove(w->x, f, "user.a"), -ENODATA);
    assert_int_equal(index_remove(w->x, f), 0);
    assert_int_equal(index_xattr_get(w->x, f, "user.b", &value, &size), -ENODATA);
}

static bool count(const struct index_inode *i, void *arg)
{
    (void)i;
    return ++*(unsigned *)arg, true;
}

static double since(int64_t *start)
{
    int64_t from = *start;

    *start = loop_now_ns();
    return (double)(*start - from) / 1e6;
}

/* Times are printed for whoever looks; only the counts are judged. */
static void test_many(void **state)
{
    const char *size = getenv("TEST_INDEX_DIRECTORIES");
    unsigned n_dirs = size ? (unsigned)atoi(size) : 10, n = 0;
    struct world *w = *state;
    int64_t clock = loop_now_ns();
    uint64_t dir = 0;

    assert_int_equal(index_begin(w->x), 0);
    for (unsigned d = 0; d < n_dirs; d++) {
        char name[64], key[64];

        snprintf(name, sizeof(name), "directory %u", d);
        dir = add_dir(w, INDEX_ROOT, name, NULL);
        for (unsigned f = 0; f < 10000; f++) {
            snprintf(key, sizeof(key), "directory %u/some file %u.txt", d, f);
            add_file(w, dir, strchr(key, '/') + 1, key);
        }
    }
    assert_int_equal(index_commit(w->x), 0);
    print_message("%u0000 inodes: inserted in %.1f ms", n_dirs, since(&clock));
    reopen(w);
    print_message(", opened in %.1f ms", since(&clock));
    assert_int_equal(index_list(w->x, dir, "", 0, count, &n), 0);
    assert_int_equal(n, 10000);
    print_message(", 10000 listed in %.1f ms", since(&clock));
    assert_int_equal(index_scan(w->x, dir, 0, count, &n), 0);
    assert_int_equal(n, 20000);
    print_message(", scanned in %.1f ms", since(&clock));
    assert_int_equal(index_move(w->x, dir, INDEX_ROOT, "moved", 5), 0);
    mark_tree(w, dir);
    print_message(", moved in %.1f ms", since(&clock));
    assert_int_equal(index_pending_count(w->x), 10000);
    assert_true(index_pending_below(w->x, INDEX_ROOT));
    print_message(", pending surveyed in %.1f ms\n", since(&clock));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new_index_has_a_root),
        TEST(test_what_was_committed_is_there_again),
        TEST(test_numbers_are_never_used_again),
        TEST(test_total_is_that_of_all_rows),
        TEST(test_successor_gives_other_numbers),
        TEST(test_damaged_file_is_kept_aside),
        TEST(test_names_are_found_exactly),
        TEST(test_a_name_is_taken_once),
        TEST(test_lists_by_name_and_by_number),
        TEST(test_keys_are_paths),
        TEST(test_room_below),
        TEST(test_orphans_are_listed_and_nothing_else),
        TEST(test_pending_turns),
        TEST(test_holds),
        TEST(test_pending_is_counted_anew),
        TEST(test_due_order),
        TEST(test_pending_below),
        TEST(test_moving_a_file),
        TEST(test_moving_a_directory),
        TEST(test_graves),
        TEST(test_graves_below),
        TEST(test_graves_know_their_version),
        TEST(test_graves_for_a_version_only),
        TEST(test_lives_at),
        TEST(test_pending_since),
        TEST(test_moving_onto_a_grave),
        TEST(test_uploads_of_what_is_replaced),
        TEST(test_uploads),
        TEST(test_replies_are_kept_until_answered),
        TEST(test_another_worker_asks_for_the_same),
        TEST(test_xattrs),
        TEST(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
