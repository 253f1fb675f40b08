#include "cloud_suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

enum { PATIENCE_MS = 120 * 1000 };

/* --- asking ------------------------------------------------------------------------------------- */

struct waiting {
    bool done, late;
};

static void on_done(struct cloud_request *r, void *arg)
{
    (void)r;
    ((struct waiting *)arg)->done = true;
}

static void on_late(void *arg)
{
    ((struct waiting *)arg)->late = true;
}

struct cloud_request *suite_ask(struct suite *s, enum cloud_op op, const char *key)
{
    struct cloud_request *r = cloud_request_new(op, on_done, NULL);

    cloud_request_set(&r->bucket, s->bucket);
    cloud_request_set(&r->key, key);
    return r;
}

void suite_free(struct cloud_request **r)
{
    cloud_request_free(*r);
}

/* Until the request's done has run. Its arg is ours. */
static void wait_for(struct suite *s, struct waiting *w)
{
    struct loop_timer *t = loop_timer(s->loop, PATIENCE_MS, on_late, w);

    while (!w->done && !w->late)
        (void)event_base_loop(loop_base(s->loop), EVLOOP_ONCE);
    loop_timer_free(t);
    if (w->late)
        fail_msg("the request did not end");
}

int suite_run(struct suite *s, struct cloud_request *r)
{
    struct waiting w = { 0 };

    r->done = on_done;
    r->arg = &w;
    cloud_submit(s->cloud, r);
    assert_false(w.done);
    wait_for(s, &w);
    return r->error.code;
}

void suite_expect(struct suite *s, struct cloud_request *r, int code)
{
    int got = suite_run(s, r);

    if (got != code)
        fail_msg("op %d %s: expected %d, got %d: %s", r->op, r->key ? r->key : "", code, got, error_text(&r->error));
    if (code)
        assert_true(r->error.text[0] != '\0');
}

int suite_file(const void *bytes, size_t n)
{
    int fd = memfd_create("suite", MFD_CLOEXEC);

    assert_true(fd >= 0);
    for (size_t at = 0; at < n;) {
        ssize_t wrote = write(fd, (const char *)bytes + at, n - at);

        assert_true(wrote > 0);
        at += (size_t)wrote;
    }
    return fd;
}

char *suite_noise(size_t n, uint32_t seed)
{
    char *bytes = xcalloc(1, n + 1);

    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = (char)(seed >> 24);
    }
    return bytes;
}

static void put_as(struct suite *s, struct cloud_request *r, const void *bytes, size_t n, int code)
{
    CLEANUP_CLOSE int fd = suite_file(bytes, n);

    r->body = (struct cloud_extent){ fd, 0, n };
    suite_expect(s, r, code);
    r->body.fd = -1;
}

void suite_put(struct suite *s, const char *key, const void *bytes, size_t n)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_PUT, key);

    put_as(s, r, bytes, n, 0);
    assert_non_null(r->object.etag);
}

void suite_expect_bytes(struct suite *s, const char *key, const void *bytes, size_t n)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_GET, key);
    CLEANUP_CLOSE int fd = suite_file("", 0);
    CLEANUP_FREE char *got = xcalloc(1, n + 2);

    r->sink = (struct cloud_extent){ fd, 0, n + 1 };
    suite_expect(s, r, 0);
    assert_int_equal(r->content_length, n);
    assert_int_equal(r->object.size, n);
    assert_int_equal(pread(fd, got, n + 1, 0), n);
    assert_memory_equal(got, bytes, n);
}

static void delete(struct suite *s, const char *key)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_DELETE, key);

    suite_expect(s, r, 0);
}

void suite_clean(struct suite *s, const char *prefix)
{
    for (;;) {
        SUITE_REQUEST *r = suite_ask(s, CLOUD_LIST, NULL);

        cloud_request_set(&r->prefix, prefix);
        suite_expect(s, r, 0);
        for (size_t i = r->n_objects; i-- > 0;)
            delete(s, r->objects[i].key);
        if (!r->next_token)
            return;
    }
}

static char *etag_of(struct suite *s, const char *key)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_STAT, key);

    suite_expect(s, r, 0);
    return take_ptr(r->object.etag);
}

/* --- objects ------------------------------------------------------------------------------------- */

static void objects_come_and_go(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *stat = suite_ask(s, CLOUD_STAT, "plain/one");

    suite_put(s, "plain/one", "first", 5);
    suite_expect_bytes(s, "plain/one", "first", 5);
    suite_put(s, "plain/one", "the second", 10);
    suite_expect_bytes(s, "plain/one", "the second", 10);
    suite_expect(s, stat, 0);
    assert_int_equal(stat->object.size, 10);
    assert_string_equal(stat->object.key, "plain/one");
    assert_true(stat->object.mtime_ns > 0);
    assert_true(stat->object.has_meta);
    suite_put(s, "plain/empty", "", 0);
    suite_expect_bytes(s, "plain/empty", "", 0);
    delete(s, "plain/one");
    suite_expect(s, stat, -ENOENT);
    delete(s, "plain/one");
    suite_clean(s, "plain/");
}

static void bodies_are_runs_of_files(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *r = suite_ask(s, CLOUD_PUT, "run");
    CLEANUP_CLOSE int fd = suite_file("0123456789", 10);

    r->body = (struct cloud_extent){ fd, 3, 4 };
    suite_expect(s, r, 0);
    suite_expect_bytes(s, "run", "3456", 4);
    r->body = (struct cloud_extent){ fd, 8, 4 };
    suite_expect(s, r, -EBADE);
    suite_expect_bytes(s, "run", "3456", 4);
    suite_clean(s, "run");
}

static void what_is_missing(void **state)
{
    struct suite *s = *state;
    static const enum cloud_op ops[] = { CLOUD_STAT, CLOUD_GET };

    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        SUITE_REQUEST *r = suite_ask(s, ops[i], "missing/key");

        suite_expect(s, r, -ENOENT);
    }
    for (size_t i = 0; i < 2; i++) {
        SUITE_REQUEST *r = suite_ask(s, i ? CLOUD_LIST : CLOUD_PUT, i ? NULL : "x");
        int code;

        cloud_request_set(&r->bucket, "landfall-no-such-bucket");
        code = suite_run(s, r);
        assert_true(code == -ENOENT || (code == -EHOSTUNREACH && !i));   /* a folder may be away, and all in it too */
    }
}

static void requests_that_lack_something(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *no_key = suite_ask(s, CLOUD_GET, NULL), *no_range = suite_ask(s, CLOUD_GET, "x");
    SUITE_REQUEST *no_number = suite_ask(s, CLOUD_PART_PUT, "x");

    suite_expect(s, no_key, -EINVAL);
    no_range->has_range = true;
    suite_expect(s, no_range, -EINVAL);
    cloud_request_set(&no_number->upload_id, "x");
    suite_expect(s, no_number, -EINVAL);
}

/* --- odd keys ------------------------------------------------------------------------------------ */

static const char *const odd_keys[] = {
    "a b", " leading", "trailing ", "plus+plus", "100%", "per%20cent", "amp&amp;", "quo'te\"s", "hash#tag",
        "semi;colon",
    "question?mark", "new\nline", "tab\tbed", "return\r", "\xc3\xbcn\xc3\xaf-\xe6\x97\xa5\xe6\x9c\xac", "back\\slash",
    "star*", "<xml/>", "~tilde", "colon:", "at@", "=equal", "comma,", "smile \xf0\x9f\x98\x80", "$dollar", "(paren)",
    "[bracket]", "{brace}", "pipe|", "caret^", "`tick`", "!bang", "..dots", "dots..", "deep/er/est", "e\xcc\x81",
        "\xc3\xa9",
};

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every key below the prefix, by pages. */
static size_t list_all(struct suite *s, const char *prefix, uint32_t limit, char **keys, size_t room)
{
    CLEANUP_FREE char *token = NULL;
    size_t n = 0;

    do {
        SUITE_REQUEST *r = suite_ask(s, CLOUD_LIST, NULL);

        cloud_request_set(&r->prefix, prefix);
        cloud_request_set(&r->token, token);
        r->limit = limit;
        suite_expect(s, r, 0);
        assert_true(r->n_objects <= limit);
        assert_int_equal(r->n_prefixes, 0);
        for (size_t i = 0; i < r->n_objects && n < room; i++)
            keys[n++] = xstrdup(r->objects[i].key);
        cloud_request_set(&token, r->next_token);
    } while (token);
    return n;
}

static void odd_keys_survive(void **state)
{
    struct suite *s = *state;
    char *expected[ARRAY_SIZE(odd_keys)], *got[ARRAY_SIZE(odd_keys) + 1];
    size_t n;

    for (size_t i = 0; i < ARRAY_SIZE(odd_keys); i++) {
        assert_true(asprintf(&expected[i], "odd/%s", odd_keys[i]) > 0);
        suite_put(s, expected[i], expected[i], strlen(expected[i]));
    }
    qsort(expected, ARRAY_SIZE(odd_keys), sizeof(*expected), by_bytes);
    n = list_all(s, "odd/", 7, got, ARRAY_SIZE(got));
    assert_int_equal(n, ARRAY_SIZE(odd_keys));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(got[i], expected[i]);
        suite_expect_bytes(s, got[i], expected[i], strlen(expected[i]));
        free(got[i]);
        free(expected[i]);
    }
    suite_clean(s, "odd/");
}

static void long_names_survive(void **state)
{
    struct suite *s = *state;
    char key[5 + 255 + 1] = "long/";

    memset(key + 5, 'x', 255);
    suite_put(s, key, "x", 1);
    suite_expect_bytes(s, key, "x", 1);
    suite_clean(s, "long/");
}

/* --- metadata ------------------------------------------------------------------------------------ */

static void set_meta(struct cloud_meta *m)
{
    static const char binary[] = "\0\xff\n";

    *m = (struct cloud_meta){ .has_mtime = true, .mtime_ns = INT64_C(1234567890123456789), .has_mode = true,
        .mode = S_IFREG | 0754, .has_owner = true, .uid = 4242, .gid = 17, .n_xattrs = 2,
        .xattrs = xcalloc(2, sizeof(struct cloud_xattr)) };
    m->stamp = xstrdup("drive-1-2");
    m->xattrs[0] = (struct cloud_xattr){ xstrdup("user.Comment \xc3\xa4=1"), xcalloc(1, 3), 3 };
    memcpy(m->xattrs[0].value, binary, 3);
    m->xattrs[1] = (struct cloud_xattr){ xstrdup("user.empty"), xcalloc(1, 1), 0 };
}

static const struct cloud_xattr *find_xattr(const struct cloud_meta *m, const char *name)
{
    for (size_t i = 0; i < m->n_xattrs; i++)
        if (strcmp(m->xattrs[i].name, name) == 0)
            return &m->xattrs[i];
    fail_msg("there is no attribute %s", name);
    return NULL;
}

static void expect_meta(struct suite *s, const char *key)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_STAT, key);
    const struct cloud_meta *m = &r->object.meta;

    suite_expect(s, r, 0);
    assert_true(r->object.has_meta && m->has_mtime && m->has_mode && m->has_owner);
    assert_int_equal(m->mtime_ns, INT64_C(1234567890123456789));
    assert_int_equal(m->mode & 07777, 0754);
    assert_int_equal(m->uid, 4242);
    assert_int_equal(m->gid, 17);
    assert_null(m->symlink);
    assert_string_equal(m->stamp, "drive-1-2");
    assert_int_equal(m->n_xattrs, 2);
    assert_int_equal(find_xattr(m, "user.Comment \xc3\xa4=1")->size, 3);
    assert_memory_equal(find_xattr(m, "user.Comment \xc3\xa4=1")->value, "\0\xff\n", 3);
    assert_int_equal(find_xattr(m, "user.empty")->size, 0);
}

static void metadata_stays(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *put = suite_ask(s, CLOUD_PUT, "meta/file"), *copy = suite_ask(s, CLOUD_COPY, "meta/copy");
    SUITE_REQUEST *again = suite_ask(s, CLOUD_COPY, "meta/plain");

    set_meta(&put->meta);
    put_as(s, put, "abc", 3, 0);
    expect_meta(s, "meta/file");
    cloud_request_set(&copy->source_key, "meta/file");
    suite_expect(s, copy, 0);
    assert_non_null(copy->object.etag);
    expect_meta(s, "meta/copy");
    suite_expect_bytes(s, "meta/copy", "abc", 3);
    suite_put(s, "meta/plain", "xyz", 3);
    cloud_request_set(&again->source_key, "meta/plain");
    again->replace_metadata = true;
    set_meta(&again->meta);
    suite_expect(s, again, 0);
    expect_meta(s, "meta/plain");
    suite_expect_bytes(s, "meta/plain", "xyz", 3);
    suite_clean(s, "meta/");
}

static void links_have_targets(void **state)
{
    static const char target[] = "../else where/\xc3\xa4%20&";
    struct suite *s = *state;
    SUITE_REQUEST *put = suite_ask(s, CLOUD_PUT, "link"), *stat = suite_ask(s, CLOUD_STAT, "link");
    SUITE_REQUEST *copy = suite_ask(s, CLOUD_COPY, "link copy"), *stat_copy = suite_ask(s, CLOUD_STAT, "link copy");

    put->meta = (struct cloud_meta){ .has_mode = true, .mode = S_IFLNK | 0777, .has_mtime = true,
        .mtime_ns = INT64_C(999999999) * 1000000000, .symlink = xstrdup(target) };
    suite_expect(s, put, 0);
    suite_expect(s, stat, 0);
    assert_string_equal(stat->object.meta.symlink, target);
    assert_int_equal(stat->object.meta.mode & S_IFMT, S_IFLNK);
    assert_int_equal(stat->object.meta.mtime_ns, INT64_C(999999999) * 1000000000);
    assert_int_equal(stat->object.size, 0);
    suite_expect_bytes(s, "link", "", 0);
    cloud_request_set(&copy->source_key, "link");
    suite_expect(s, copy, 0);
    suite_expect(s, stat_copy, 0);
    assert_string_equal(stat_copy->object.meta.symlink, target);
    suite_clean(s, "link");
}

static void folders_have_markers(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *put = suite_ask(s, CLOUD_PUT, "folder/"), *stat = suite_ask(s, CLOUD_STAT, "folder/");
    char *keys[8];

    put->meta = (struct cloud_meta){ .has_mode = true, .mode = S_IFDIR | 0700, .has_mtime = true,
        .mtime_ns = 5000000000 };
    suite_expect(s, put, 0);
    suite_put(s, "folder/file", "x", 1);
    suite_expect(s, stat, 0);
    assert_int_equal(stat->object.meta.mtime_ns, 5000000000);
    assert_int_equal(stat->object.meta.mode & 0777, 0700);
    assert_int_equal(list_all(s, "folder", 100, keys, 8), 2);
    assert_string_equal(keys[0], "folder/");
    assert_string_equal(keys[1], "folder/file");
    free(keys[0]);
    free(keys[1]);
    delete(s, "folder/file");
    suite_expect(s, stat, 0);
    delete(s, "folder/");
    suite_expect(s, stat, -ENOENT);
    suite_put(s, "folder/below", "x", 1);
    suite_expect(s, stat, -ENOENT);
    suite_clean(s, "folder/");
    suite_expect(s, stat, -ENOENT);
}

/* --- reading ------------------------------------------------------------------------------------- */

struct range_case {
    uint64_t offset, length;
    const char *expected;   /* NULL: -ERANGE */
};

static void ranges(void **state)
{
    static const struct range_case cases[] = {
        { 0, 1, "0" }, { 0, 10, "0123456789" }, { 3, 4, "3456" }, { 9, 1, "9" }, { 7, 100, "789" }, { 10, 1, NULL },
          { 99, 5, NULL },
    };
    struct suite *s = *state;

    suite_put(s, "range", "0123456789", 10);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        SUITE_REQUEST *r = suite_ask(s, CLOUD_GET, "range");
        CLEANUP_CLOSE int fd = suite_file("................", 16);
        char got[17] = "";

        r->has_range = true;
        r->range_offset = cases[i].offset;
        r->range_length = cases[i].length;
        r->sink = (struct cloud_extent){ fd, 2, 14 };
        suite_expect(s, r, cases[i].expected ? 0 : -ERANGE);
        if (!cases[i].expected)
            continue;
        assert_int_equal(r->content_length, strlen(cases[i].expected));
        assert_int_equal(r->object.size, 10);
        assert_int_equal(pread(fd, got, 16, 0), 16);
        assert_memory_equal(got, "..", 2);
        assert_memory_equal(got + 2, cases[i].expected, strlen(cases[i].expected));
        assert_int_equal(got[2 + strlen(cases[i].expected)], '.');
    }
    suite_clean(s, "range");
}

static void reads_of_a_version(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *r = suite_ask(s, CLOUD_GET, "version");
    CLEANUP_FREE char *etag = NULL;
    CLEANUP_CLOSE int fd = suite_file("", 0);

    suite_put(s, "version", "one", 3);
    etag = etag_of(s, "version");
    cloud_request_set(&r->if_match, etag);
    r->sink = (struct cloud_extent){ fd, 0, 10 };
    suite_expect(s, r, 0);
    assert_string_equal(r->object.etag, etag);
    suite_put(s, "version", "two!", 4);
    suite_expect(s, r, -ESTALE);
    suite_clean(s, "version");
}

static void sinks_that_are_too_small(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *r = suite_ask(s, CLOUD_GET, "sink");
    CLEANUP_CLOSE int fd = suite_file("", 0);
    struct stat st;

    suite_put(s, "sink", "0123456789", 10);
    r->sink = (struct cloud_extent){ fd, 0, 9 };
    suite_expect(s, r, -EFBIG);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_size <= 9);
    suite_clean(s, "sink");
}

struct taker {
    struct suite *s;
    const char *expected;
    size_t size, at;
    unsigned pauses;
    uint64_t reported;
    struct cloud_request *r;
    bool done;
};

static void go_on(void *arg)
{
    struct taker *t = arg;

    cloud_continue(t->s->cloud, t->r);
}

static bool take(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    struct taker *t = arg;

    assert_true(t->at + n <= t->size);
    assert_memory_equal(bytes, t->expected + t->at, n);
    t->at += n;
    t->r = r;
    if (t->pauses++ % 2)
        return true;
    loop_defer(t->s->loop, go_on, t);
    return false;
}

static void taken(struct cloud_request *r, void *arg)
{
    (void)r;
    ((struct taker *)arg)->done = true;
}

static void run_taker(struct suite *s, struct cloud_request *r, struct taker *t)
{
    r->done = taken;
    r->arg = t;
    cloud_submit(s->cloud, r);
    while (!t->done)
        (void)event_base_loop(loop_base(s->loop), EVLOOP_ONCE);
}

static void streams_with_pauses(void **state)
{
    struct suite *s = *state;
    CLEANUP_FREE char *noise = suite_noise(3000000, 1);
    SUITE_REQUEST *r = suite_ask(s, CLOUD_GET, "stream");
    struct taker t = { .s = s, .expected = noise, .size = 3000000 };

    suite_put(s, "stream", noise, 3000000);
    r->data = take;
    run_taker(s, r, &t);
    assert_int_equal(r->error.code, 0);
    assert_int_equal(t.at, 3000000);
    assert_true(t.pauses > 2);
    suite_clean(s, "stream");
}

static void note(struct cloud_request *r, uint64_t bytes, void *arg)
{
    struct taker *t = arg;
    char last;

    assert_true(bytes > t->reported && bytes <= t->size);
    assert_int_equal(pread(r->sink.fd, &last, 1, (off_t)(r->sink.offset + bytes - 1)), 1);
    assert_int_equal(last, t->expected[bytes - 1]);
    t->reported = bytes;
}

static void progress_is_there(void **state)
{
    struct suite *s = *state;
    CLEANUP_FREE char *noise = suite_noise(1000000, 2);
    CLEANUP_CLOSE int fd = suite_file("", 0);
    SUITE_REQUEST *r = suite_ask(s, CLOUD_GET, "progress");
    struct taker t = { .s = s, .expected = noise + 1000, .size = 900000 };

    suite_put(s, "progress", noise, 1000000);
    r->has_range = true;
    r->range_offset = 1000;
    r->range_length = 900000;
    r->sink = (struct cloud_extent){ fd, 1000, 900000 };
    r->progress = note;
    run_taker(s, r, &t);
    assert_int_equal(r->error.code, 0);
    assert_int_equal(t.reported, 900000);
    suite_clean(s, "progress");
}

static bool cancel_inside(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    struct taker *t = arg;

    (void)bytes, (void)n;
    assert_int_equal(t->at++, 0);   /* nothing more after the cancel */
    cloud_cancel(t->s->cloud, r);
    return true;
}

static void cancels(void **state)
{
    struct suite *s = *state;
    CLEANUP_FREE char *noise = suite_noise(3000000, 3);
    SUITE_REQUEST *inside = suite_ask(s, CLOUD_GET, "cancel"), *at_once = suite_ask(s, CLOUD_GET, "cancel");
    struct waiting w = { 0 };
    struct taker t = { .s = s };

    suite_put(s, "cancel", noise, 3000000);
    inside->data = cancel_inside;
    run_taker(s, inside, &t);
    assert_int_equal(inside->error.code, -ECANCELED);
    assert_int_equal(t.at, 1);
    t.at = 0;
    t.done = false;
    inside->checked = inside->has_range = true;
    inside->range_length = 1000;
    run_taker(s, inside, &t);
    assert_int_equal(inside->error.code, -ECANCELED);
    assert_int_equal(t.at, 1);
    at_once->arg = &w;
    cloud_submit(s->cloud, at_once);
    cloud_cancel(s->cloud, at_once);
    assert_false(w.done);
    wait_for(s, &w);
    assert_int_equal(at_once->error.code, -ECANCELED);
    suite_clean(s, "cancel");
}

/* --- listings ------------------------------------------------------------------------------------ */

static void put_names(struct suite *s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        suite_put(s, names[i], names[i], strlen(names[i]));
}

static void folders_in_listings(void **state)
{
    static const char *const names[] = { "list/a-b", "list/a/1", "list/a/2", "list/a/deep/x", "list/a0", "list/b",
        "list/c/1" };
    struct suite *s = *state;
    SUITE_REQUEST *r = suite_ask(s, CLOUD_LIST, NULL), *deep = suite_ask(s, CLOUD_LIST, NULL);
    SUITE_REQUEST *partial = suite_ask(s, CLOUD_LIST, NULL);

    put_names(s, names, ARRAY_SIZE(names));
    cloud_request_set(&r->prefix, "list/");
    r->delimiter = '/';
    suite_expect(s, r, 0);
    assert_int_equal(r->n_prefixes, 2);
    assert_string_equal(r->prefixes[0], "list/a/");
    assert_string_equal(r->prefixes[1], "list/c/");
    assert_int_equal(r->n_objects, 3);
    assert_string_equal(r->objects[0].key, "list/a-b");
    assert_string_equal(r->objects[1].key, "list/a0");
    assert_string_equal(r->objects[2].key, "list/b");
    assert_int_equal(r->objects[2].size, 6);
    assert_non_null(r->objects[2].etag);
    assert_true(r->objects[2].mtime_ns > 0);
    assert_null(r->next_token);
    cloud_request_set(&deep->prefix, "list/a/");
    deep->delimiter = '/';
    suite_expect(s, deep, 0);
    assert_int_equal(deep->n_prefixes, 1);
    assert_string_equal(deep->prefixes[0], "list/a/deep/");
    assert_int_equal(deep->n_objects, 2);
    cloud_request_set(&partial->prefix, "list/a");
    suite_expect(s, partial, 0);
    assert_int_equal(partial->n_objects, 5);
    suite_clean(s, "list/");
}

static void pages_join(void **state)
{
    static const char *const names[] = { "page/a", "page/b/1", "page/b/2", "page/b/3", "page/c", "page/d/1", "page/e",
        "page/f" };
    static const char *const expected[] = { "page/a", "page/b/", "page/c", "page/d/", "page/e", "page/f" };
    struct suite *s = *state;
    CLEANUP_FREE char *token = NULL;
    char *got[16];
    size_t n = 0, pages = 0;

    put_names(s, names, ARRAY_SIZE(names));
    do {
        SUITE_REQUEST *r = suite_ask(s, CLOUD_LIST, NULL);

        cloud_request_set(&r->prefix, "page/");
        cloud_request_set(&r->token, token);
        r->delimiter = '/';
        r->limit = 2;
        suite_expect(s, r, 0);
        assert_true(r->n_objects + r->n_prefixes <= 2);
        for (size_t i = 0; i < r->n_objects; i++)
            got[n++] = xstrdup(r->objects[i].key);
        for (size_t i = 0; i < r->n_prefixes; i++)
            got[n++] = xstrdup(r->prefixes[i]);
        cloud_request_set(&token, r->next_token);
        assert_true(++pages < 8);
    } while (token);
    qsort(got, n, sizeof(*got), by_bytes);
    assert_int_equal(n, ARRAY_SIZE(expected));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(got[i], expected[i]);
        free(got[i]);
    }
    suite_clean(s, "page/");
}

static void listings_after_a_key(void **state)
{
    static const char *const names[] = { "after/1", "after/2", "after/3/x", "after/4" };
    struct suite *s = *state;
    SUITE_REQUEST *r = suite_ask(s, CLOUD_LIST, NULL), *none = suite_ask(s, CLOUD_LIST, NULL);

    put_names(s, names, ARRAY_SIZE(names));
    cloud_request_set(&r->prefix, "after/");
    cloud_request_set(&r->start_after, "after/2");
    suite_expect(s, r, 0);
    assert_int_equal(r->n_objects, 2);
    assert_string_equal(r->objects[0].key, "after/3/x");
    cloud_request_set(&none->prefix, "nothing/here/");
    suite_expect(s, none, 0);
    assert_int_equal(none->n_objects + none->n_prefixes, 0);
    assert_null(none->next_token);
    suite_clean(s, "after/");
}

static void buckets(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *create = suite_ask(s, CLOUD_BUCKET_CREATE, NULL), *list = suite_ask(s, CLOUD_BUCKETS, NULL);
    bool found = false;

    suite_expect(s, create, 0);   /* it is there: fine */
    suite_expect(s, list, 0);
    for (size_t i = 0; i < list->n_buckets; i++)
        found |= strcmp(list->buckets[i].name, s->bucket) == 0;
    assert_true(found);
}

/* --- conditions ---------------------------------------------------------------------------------- */

static void conditional_puts(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *fresh = suite_ask(s, CLOUD_PUT, "cond/new"), *change = suite_ask(s, CLOUD_PUT, "cond/new");
    SUITE_REQUEST *gone = suite_ask(s, CLOUD_PUT, "cond/gone");

    fresh->if_none_match = true;
    put_as(s, fresh, "1", 1, 0);
    put_as(s, fresh, "2", 1, -ESTALE);
    suite_expect_bytes(s, "cond/new", "1", 1);
    change->if_match = etag_of(s, "cond/new");
    put_as(s, change, "33", 2, 0);
    assert_string_not_equal(change->object.etag, change->if_match);
    put_as(s, change, "444", 3, -ESTALE);
    suite_expect_bytes(s, "cond/new", "33", 2);
    cloud_request_set(&gone->if_match, "0123456789abcdef0123456789abcdef");
    put_as(s, gone, "x", 1, -ESTALE);
    suite_clean(s, "cond/");
}

static void conditional_copies(void **state)
{
    struct suite *s = *state;
    SUITE_REQUEST *copy = suite_ask(s, CLOUD_COPY, "ccopy/to"), *missing = suite_ask(s, CLOUD_COPY, "ccopy/to");

    suite_put(s, "ccopy/from", "abc", 3);
    cloud_request_set(&copy->source_key, "ccopy/from");
    copy->if_match = etag_of(s, "ccopy/from");
    suite_expect(s, copy, 0);
    suite_expect_bytes(s, "ccopy/to", "abc", 3);
    suite_put(s, "ccopy/from", "defg", 4);
    suite_expect(s, copy, -ESTALE);
    suite_expect_bytes(s, "ccopy/to", "abc", 3);
    cloud_request_set(&missing->source_key, "ccopy/nothing");
    suite_expect(s, missing, -ENOENT);
    suite_clean(s, "ccopy/");
}

/* --- multipart ----------------------------------------------------------------------------------- */

static char *begin(struct suite *s, const char *key)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_PART_BEGIN, key);

    set_meta(&r->meta);
    suite_expect(s, r, 0);
    assert_non_null(r->upload_id);
    return take_ptr(r->upload_id);
}

static void put_part(struct suite *s, const char *key, const char *id, uint32_t number, const void *bytes, size_t n,
                     struct cloud_part *ret)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_PART_PUT, key);

    cloud_request_set(&r->upload_id, id);
    r->part_number = number;
    put_as(s, r, bytes, n, 0);
    assert_non_null(r->object.etag);
    free(ret->etag);
    *ret = (struct cloud_part){ number, n, take_ptr(r->object.etag) };
}

static void end(struct suite *s, struct cloud_request *r, const char *id, const struct cloud_part *parts, size_t n,
    int code)
{
    cloud_request_set(&r->upload_id, id);
    for (size_t i = 0; i < r->n_parts; i++)
        free(r->parts[i].etag);
    free(r->parts);
    r->parts = xcalloc(n, sizeof(*r->parts));
    r->n_parts = n;
    for (size_t i = 0; i < n; i++)
        r->parts[i] = (struct cloud_part){ parts[i].number, parts[i].size, xstrdup(parts[i].etag) };
    suite_expect(s, r, code);
}

static void free_parts(struct cloud_part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(parts[i].etag);
}

static void parts_become_one(void **state)
{
    struct suite *s = *state;
    size_t sizes[] = { s->part, s->part + 1, 3 }, total = 2 * s->part + 4, at = 0;
    CLEANUP_FREE char *noise = suite_noise(total, 4), *id = begin(s, "parts/one");
    SUITE_REQUEST *list = suite_ask(s, CLOUD_PART_LIST, "parts/one"), *stop = suite_ask(s, CLOUD_PART_END, "parts/one");
    struct cloud_part parts[3] = { 0 };

    for (uint32_t i = 0; i < 3; i++) {
        put_part(s, "parts/one", id, i + 1, noise + at, sizes[i], &parts[i]);
        at += sizes[i];
    }
    put_part(s, "parts/one", id, 3, noise + at - 3, 3, &parts[2]);   /* again */
    cloud_request_set(&list->upload_id, id);
    suite_expect(s, list, 0);
    assert_int_equal(list->n_parts, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(list->parts[i].number, i + 1);
        assert_int_equal(list->parts[i].size, sizes[i]);
        assert_string_equal(list->parts[i].etag, parts[i].etag);
    }
    end(s, stop, id, parts, 3, 0);
    assert_non_null(stop->object.etag);
    suite_expect_bytes(s, "parts/one", noise, total);
    expect_meta(s, "parts/one");
    free_parts(parts, 3);
    suite_clean(s, "parts/");
}

static void uploads_end_otherwise(void **state)
{
    struct suite *s = *state;
    CLEANUP_FREE char *id = begin(s, "parts/no");
    SUITE_REQUEST *list = suite_ask(s, CLOUD_PART_LIST, "parts/no"), *drop = suite_ask(s, CLOUD_PART_ABORT, "parts/no");
    SUITE_REQUEST *stop = suite_ask(s, CLOUD_PART_END, "parts/no"), *stat = suite_ask(s, CLOUD_STAT, "parts/no");
    struct cloud_part parts[1] = { 0 }, wrong[1] = { { 1, 3, xstrdup("0123456789abcdef0123456789abcdef") } };

    put_part(s, "parts/no", id, 1, "abc", 3, &parts[0]);
    end(s, stop, id, wrong, 1, -EREMOTEIO);
    suite_expect(s, stat, -ENOENT);
    cloud_request_set(&drop->upload_id, id);
    suite_expect(s, drop, 0);
    cloud_request_set(&list->upload_id, id);
    suite_expect(s, list, -ENOENT);
    assert_true(suite_run(s, stop) < 0);   /* Ceph words it as an internal error */
    suite_expect(s, stat, -ENOENT);
    free_parts(parts, 1);
    free_parts(wrong, 1);
}

static size_t uploads_of(struct suite *s, const char *prefix, const char *id)
{
    SUITE_REQUEST *r = suite_ask(s, CLOUD_UPLOADS, NULL);
    size_t same = 0;

    cloud_request_set(&r->prefix, prefix);
    suite_expect(s, r, 0);
    for (size_t i = 0; i < r->n_objects; i++) {
        assert_int_equal(strncmp(r->objects[i].key, prefix, strlen(prefix)), 0);
        assert_true(r->objects[i].mtime_ns > loop_wall_ns() - INT64_C(3600000000000));
        same += strcmp(r->objects[i].version, id) == 0;
    }
    assert_true(same <= 1);
    return r->n_objects * 10 + same;
}

/* Each found by its id, until it ends. */
static void uploads_are_listed(void **state)
{
    struct suite *s = *state;
    CLEANUP_FREE char *one = begin(s, "under way/ä b+c%"), *two = begin(s, "under way/ä b+c%");
    CLEANUP_FREE char *far = begin(s, "under why");
    const char *const ids[] = { one, two };

    assert_int_equal(uploads_of(s, "under way/ä b+c%", one), 21);
    assert_int_equal(uploads_of(s, "under way/", two), 21);
    assert_int_equal(uploads_of(s, "under w", far), 31);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        SUITE_REQUEST *drop = suite_ask(s, CLOUD_PART_ABORT, "under way/ä b+c%");

        cloud_request_set(&drop->upload_id, ids[i]);
        suite_expect(s, drop, 0);
        assert_int_equal(uploads_of(s, "under way/", two), i == 0 ? 11 : 0);
    }
    {
        SUITE_REQUEST *drop = suite_ask(s, CLOUD_PART_ABORT, "under why");

        cloud_request_set(&drop->upload_id, far);
        suite_expect(s, drop, 0);
    }
    assert_int_equal(uploads_of(s, "under w", far), 0);
}

static void parts_on_condition(void **state)
{
    struct suite *s = *state;
    CLEANUP_FREE char *id = begin(s, "parts/cond");
    SUITE_REQUEST *stop = suite_ask(s, CLOUD_PART_END, "parts/cond");
    struct cloud_part parts[1] = { 0 };

    put_part(s, "parts/cond", id, 1, "abc", 3, &parts[0]);
    suite_put(s, "parts/cond", "other", 5);
    stop->if_none_match = true;
    end(s, stop, id, parts, 1, -ESTALE);
    suite_expect_bytes(s, "parts/cond", "other", 5);
    stop->if_none_match = false;
    stop->if_match = etag_of(s, "parts/cond");
    end(s, stop, id, parts, 1, 0);
    suite_expect_bytes(s, "parts/cond", "abc", 3);
    free_parts(parts, 1);
    suite_clean(s, "parts/");
}

static void parts_from_objects(void **state)
{
    struct suite *s = *state;
    size_t total = s->part + 100;
    CLEANUP_FREE char *noise = suite_noise(total, 5), *id = NULL;
    SUITE_REQUEST *copy = suite_ask(s, CLOUD_PART_COPY, "pcopy/to"), *stop = suite_ask(s, CLOUD_PART_END, "pcopy/to");
    struct cloud_part parts[2] = { 0 };

    suite_put(s, "pcopy/from", noise, total);
    id = begin(s, "pcopy/to");
    cloud_request_set(&copy->upload_id, id);
    cloud_request_set(&copy->source_key, "pcopy/from");
    copy->if_match = etag_of(s, "pcopy/from");
    for (uint32_t i = 0; i < 2; i++) {
        copy->part_number = i + 1;
        copy->range_offset = i ? s->part : 0;
        copy->range_length = i ? 100 : s->part;
        suite_expect(s, copy, 0);
        assert_non_null(copy->object.etag);
        parts[i] = (struct cloud_part){ i + 1, copy->range_length, xstrdup(copy->object.etag) };
    }
    end(s, stop, id, parts, 2, 0);
    suite_expect_bytes(s, "pcopy/to", noise, total);
    free_parts(parts, 2);
    suite_clean(s, "pcopy/");
}

/* --- batches ------------------------------------------------------------------------------------- */

static void batches(void **state)
{
    static const char *const names[] = { "batch/1", "batch/2 &<>\"'\r\n", "batch/3+%", "batch/\xc3\xbc" };
    struct suite *s = *state;
    SUITE_REQUEST *r = suite_ask(s, CLOUD_DELETE_BATCH, NULL);
    char *left[4];

    put_names(s, names, ARRAY_SIZE(names));
    suite_put(s, "batch/stays", "x", 1);
    r->n_keys = ARRAY_SIZE(names) + 1;
    r->keys = xcalloc(r->n_keys, sizeof(*r->keys));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        r->keys[i] = xstrdup(names[i]);
    r->keys[ARRAY_SIZE(names)] = xstrdup("batch/never was");
    suite_expect(s, r, 0);
    assert_int_equal(r->n_failed_keys, 0);
    assert_int_equal(list_all(s, "batch/", 100, left, 4), 1);
    assert_string_equal(left[0], "batch/stays");
    free(left[0]);
    suite_clean(s, "batch/");
}

const struct CMUnitTest suite_tests[] = {
    cmocka_unit_test(objects_come_and_go),
    cmocka_unit_test(bodies_are_runs_of_files),
    cmocka_unit_test(what_is_missing),
    cmocka_unit_test(requests_that_lack_something),
    cmocka_unit_test(odd_keys_survive),
    cmocka_unit_test(long_names_survive),
    cmocka_unit_test(metadata_stays),
    cmocka_unit_test(links_have_targets),
    cmocka_unit_test(folders_have_markers),
    cmocka_unit_test(ranges),
    cmocka_unit_test(reads_of_a_version),
    cmocka_unit_test(sinks_that_are_too_small),
    cmocka_unit_test(streams_with_pauses),
    cmocka_unit_test(progress_is_there),
    cmocka_unit_test(cancels),
    cmocka_unit_test(folders_in_listings),
    cmocka_unit_test(pages_join),
    cmocka_unit_test(listings_after_a_key),
    cmocka_unit_test(buckets),
    cmocka_unit_test(conditional_puts),
    cmocka_unit_test(conditional_copies),
    cmocka_unit_test(parts_become_one),
    cmocka_unit_test(uploads_end_otherwise),
    cmocka_unit_test(uploads_are_listed),
    cmocka_unit_test(parts_on_condition),
    cmocka_unit_test(parts_from_objects),
    cmocka_unit_test(batches),
};
const size_t suite_tests_n = ARRAY_SIZE(suite_tests);
