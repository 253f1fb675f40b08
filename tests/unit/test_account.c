/* Accounts over the handlers: what is accepted, how it is shown, where the keys are and are not; and a
 * look into buckets. The S3 side is a small HTTP server in this process. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/account.h"
#include "syncd/drive.h"
#include "syncd/syncd.h"
#include "tests/unit/syncd_fixture.h"

static char ACCESS[] = "AKIACANARY0ACCESS", SECRET[] = "canary-secret-5f1e0c/XYZ";

static const char BUCKETS[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListAllMyBucketsResult><Buckets>"
    "<Bucket><Name>alpha</Name><CreationDate>2024-05-06T07:08:09.000Z</CreationDate></Bucket>"
    "<Bucket><Name>beta</Name><CreationDate>2024-05-06T07:08:09.000Z</CreationDate></Bucket>"
    "</Buckets></ListAllMyBucketsResult>";

/* --- the provider ----------------------------------------------------------------------------- */

struct provider {
    struct evhttp *http;
    char url[64];
    int status;
    const char *body;
    size_t asked;
    bool with_our_key;       /* the last request's Authorization names ACCESS */
    bool with_secret;        /* any part of a request held the secret itself */
};

static void on_request(struct evhttp_request *req, void *arg)
{
    struct provider *p = arg;
    const char *authorization = evhttp_find_header(evhttp_request_get_input_headers(req), "Authorization");
    struct evbuffer *body = evbuffer_new();

    p->asked++;
    p->with_our_key = authorization && strstr(authorization, ACCESS);
    p->with_secret |= authorization && strstr(authorization, SECRET);
    evbuffer_add_printf(body, "%s", p->body);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/xml");
    evhttp_send_reply(req, p->status, "as told", body);
    evbuffer_free(body);
}

static void provider_start(struct fixture *f, struct provider *p)
{
    struct evhttp_bound_socket *bound;
    struct sockaddr_in in = { 0 };
    socklen_t len = sizeof(in);

    *p = (struct provider){ .http = evhttp_new(loop_base(f->loop)), .status = 200, .body = BUCKETS };
    bound = evhttp_bind_socket_with_handle(p->http, "127.0.0.1", 0);
    assert_non_null(bound);
    assert_int_equal(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&in, &len), 0);
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%d", ntohs(in.sin_port));
    evhttp_set_gencb(p->http, on_request, p);
}

/* The port is taken, but nobody answers. Returns what takes it. */
static int provider_absent(struct provider *p)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%d", ntohs(in.sin_port));
    return fd;
}

static void provider_stop(struct provider *p)
{
    evhttp_free(p->http);
}

/* --- asking ----------------------------------------------------------------------------------- */

static struct answer insert(struct fixture *f, Lf__CloudAccount *account)
{
    Lf__AccountInsert msg = LF__ACCOUNT_INSERT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(ACCOUNT_INSERT, account_insert, &msg);

    msg.account = account;
    return fixture_ask(f, &env);
}

static struct answer get(struct fixture *f, const char *id)
{
    Lf__AccountGet msg = LF__ACCOUNT_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(ACCOUNT_GET, account_get, &msg);

    msg.id = (char *)id;
    return fixture_ask(f, &env);
}

static struct answer delete(struct fixture *f, const char *id)
{
    Lf__AccountDelete msg = LF__ACCOUNT_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(ACCOUNT_DELETE, account_delete, &msg);

    msg.id = (char *)id;
    return fixture_ask(f, &env);
}

static struct answer list_buckets(struct fixture *f, Lf__CloudAccount *account)
{
    Lf__BucketList msg = LF__BUCKET_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(BUCKET_LIST, bucket_list, &msg);

    msg.account = account;
    return fixture_ask(f, &env);
}

static size_t count(struct fixture *f)
{
    Lf__AccountList msg = LF__ACCOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(ACCOUNT_LIST, account_list, &msg);
    struct answer a = fixture_ask(f, &env);
    size_t n = a.reply->account_listed->n_accounts;

    answer_free(&a);
    return n;
}

static void local(Lf__CloudAccount *a, const char *url)
{
    a->name = (char *)"local";
    a->has_cloud_type = true;
    a->cloud_type = 1048576;
    a->service_url = (char *)url;
}

static void good(Lf__CloudAccount *a, const struct provider *p)
{
    lf__cloud_account__init(a);
    a->name = (char *)"mine";
    a->has_cloud_type = true;
    a->cloud_type = 8;
    a->access_key = ACCESS;
    a->secret_key = SECRET;
    a->service_url = p ? (char *)p->url : (char *)"https://s3.example.com";
    a->region = (char *)"us-east-1";
}

/* --- what is refused -------------------------------------------------------------------------- */

static void set_type(Lf__CloudAccount *a, const char *v) { a->cloud_type = atoi(v); a->has_cloud_type = *v != 0; }
static void set_name(Lf__CloudAccount *a, const char *v) { a->name = (char *)v; }
static void set_access(Lf__CloudAccount *a, const char *v) { a->access_key = (char *)v; }
static void set_secret(Lf__CloudAccount *a, const char *v) { a->secret_key = (char *)v; }
static void set_url(Lf__CloudAccount *a, const char *v) { a->service_url = (char *)v; }

static const struct {
    void (*spoil)(Lf__CloudAccount *a, const char *value);
    const char *value;
    int code;
    const char *part;
} REFUSED[] = {
    { set_type, "", -EINVAL, "cloudType" },
    { set_type, "3", -EINVAL, "3" },
    { set_type, "99999", -EINVAL, "99999" },
    { set_type, "-1", -EINVAL, "-1" },
    { set_type, "128", -EOPNOTSUPP, "Dropbox" },
    { set_type, "4", -EOPNOTSUPP, "Azure" },
    { set_type, "2097152", -EINVAL, "2097152" },
    { set_name, NULL, -EINVAL, "name is missing" },
    { set_name, "", -EINVAL, "name is missing" },
    { set_name, "123456789012345678901234567890123456789012345678901", -EINVAL, "50 characters" },
    { set_name, "a\tb", -EINVAL, "name" },
    { set_access, NULL, -EINVAL, "accessKey is missing" },
    { set_access, "AKIA****", -EINVAL, "masked" },
    { set_secret, NULL, -EINVAL, "secretKey is missing" },
    { set_secret, "****", -EINVAL, "masked" },
    { set_secret, "a\r\nb", -EINVAL, "secretKey" },
    { set_url, NULL, -EINVAL, "serviceUrl is missing" },
    { set_url, "gopher://example.com", -EINVAL, "service URL" },
    { set_url, "no url", -EINVAL, "service URL" },
};

static void insert_refuses(void **state)
{
    struct fixture *f = *state;
    Lf__CloudAccount a;

    for (size_t i = 0; i < ARRAY_SIZE(REFUSED); i++) {
        good(&a, NULL);
        REFUSED[i].spoil(&a, REFUSED[i].value);
        expect_error(insert(f, &a), REFUSED[i].code, REFUSED[i].part);
    }
    expect_error(insert(f, NULL), -EINVAL, "missing");
    assert_int_equal(count(f), 0);
    assert_int_equal(f->sealed, 0);
}

static void missing_folder_is_refused(void **state)
{
    struct fixture *f = *state;
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;

    local(&a, "file:///no/such/folder");
    expect_error(insert(f, &a), -EINVAL, "/no/such/folder");
    assert_int_equal(count(f), 0);
}

/* Folders that no account may show: the system's, Landfall's, and what holds them. */
static void folders_that_are_no_data_are_refused(void **state)
{
    static const struct {
        const char *path, *part;
        bool inside;              /* path is below the fixture's folder */
    } rows[] = {
        { "/", "holds the whole system", false },
        { "//", "holds the whole system", false },
        { "/proc", "(/proc)", false },
        { "/proc/self", "(/proc)", false },
        { "/sys/fs", "(/sys)", false },
        { "/dev/shm", "(/dev)", false },
        { "/run/user", "(/run)", false },
        { "/etc", "(/etc)", false },
        { "/tmp", "not apart", false },
        { "", "not apart", true },
        { "/", "not apart", true },
        { "/mounts", "MountRoot", true },
        { "//mounts//drive/", "MountRoot", true },
        { "/state", "StateDir", true },
        { "/state/drives", "StateDir", true },
        { "/link", "symbolic link", true },
        { "/link/bucket", "symbolic link", true },
    };
    struct fixture *f = *state;
    char url[256], link[256];

    snprintf(link, sizeof(link), "%s/link", f->dir);
    assert_int_equal(symlink(f->cloud, link), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;

        snprintf(url, sizeof(url), "file://%s%s", rows[i].inside ? f->dir : "", rows[i].path);
        local(&a, url);
        expect_error(insert(f, &a), -EINVAL, rows[i].part);
        expect_error(list_buckets(f, &a), -EINVAL, rows[i].part);
    }
    assert_int_equal(count(f), 0);
}

static void home_is_refused(void **state)
{
    struct fixture *f = *state;
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;
    struct answer answer;
    char url[256];

    free(f->syncd->home);
    f->syncd->home = xstrdup(f->cloud);
    snprintf(url, sizeof(url), "file://%s", f->cloud);
    local(&a, url);
    expect_error(insert(f, &a), -EINVAL, "home directory");
    snprintf(url, sizeof(url), "file://%s/bucket", f->cloud);
    answer = insert(f, &a);
    assert_int_equal(answer.e.code, 0);
    answer_free(&answer);
}

/* Programs keep keys and what they start in hidden folders. The one exception is what the quickstart makes. */
static void hidden_folders_are_refused(void **state)
{
    static const struct {
        const char *path;
        int code;
    } rows[] = {
        { ".ssh", -EINVAL }, { ".config/autostart", -EINVAL }, { "Documents/.git/hooks", -EINVAL },
        { ".local/share/other", -EINVAL }, { ".local/share/landfall/cloudy", -EINVAL },
        { ".local/share/landfall/cloud/.git", -EINVAL }, { ".local/share/landfall/cloud", 0 },
        { "Documents/a.b", 0 }, { "Documents", 0 },
    };
    struct fixture *f = *state;
    CLEANUP_FREE char *state_dir = NULL;

    assert_true(asprintf(&state_dir, "%s/data/.local/share/landfall/state", f->dir) > 0);
    xstrset(&f->syncd->state_dir, state_dir);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP_FREE char *path = NULL, *make = NULL, *url = NULL;
        Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;

        assert_true(asprintf(&path, "%s/data/%s", f->dir, rows[i].path) > 0);
        assert_true(asprintf(&make, "mkdir -p '%s'", path) > 0 && asprintf(&url, "file://%s", path) > 0);
        assert_int_equal(system(make), 0);
        local(&a, url);
        if (rows[i].code) {
            expect_error(insert(f, &a), -EINVAL, "hidden folder");
            expect_error(list_buckets(f, &a), -EINVAL, "hidden folder");
        } else {
            struct answer answer;

            a.name = (char *)rows[i].path;   /* names differ */
            answer = insert(f, &a);
            assert_string_equal(answer.e.text, "");
            answer_free(&answer);
        }
    }
}

static void folder_with_a_cache_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *drive = NULL;
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;
    char url[256], cache[256];

    drive = fixture_drive(f, account, "one");
    snprintf(cache, sizeof(cache), "%s/data/cache", f->dir);
    xstrset(&f->syncd->drives->model->permanent_local_path, cache);
    snprintf(url, sizeof(url), "file://%s/data", f->dir);
    local(&a, url);
    expect_error(insert(f, &a), -EINVAL, "cache folder");
    snprintf(url, sizeof(url), "file://%s/data/cache/x", f->dir);
    expect_error(insert(f, &a), -EINVAL, "cache folder");
}

/* As somebody who may not enter it; the answer says so. */
static void unreadable_folder_is_refused(void **state)
{
    struct fixture *f = *state;
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;
    struct answer answer;
    char url[256];

    snprintf(url, sizeof(url), "file://%s", f->cloud);
    local(&a, url);
    assert_int_equal(count(f), 0);   /* connected */
    if (getuid() != 0)
        assert_int_equal(chmod(f->cloud, 0), 0);
    else
        assert_int_equal(seteuid(65534), 0);
    answer = insert(f, &a);
    if (getuid() != 0)
        assert_int_equal(chmod(f->cloud, 0700), 0);
    else
        assert_int_equal(seteuid(0), 0);
    expect_error(answer, -EINVAL, "Permission denied");
    assert_int_equal(count(f), 0);
}

static void unreachable_endpoint_is_refused(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    CLEANUP_CLOSE int taken = provider_absent(&p);
    Lf__CloudAccount a;

    assert_true(taken >= 0);
    good(&a, &p);
    expect_error(insert(f, &a), -EHOSTUNREACH, "127.0.0.1");
    assert_int_equal(count(f), 0);
}

static void wrong_keys_are_refused_in_the_providers_words(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a;

    provider_start(f, &p);
    p.status = 403;
    p.body = "<Error><Code>InvalidAccessKeyId</Code><Message>The key you gave is not in our records.</Message></Error>";
    good(&a, &p);
    expect_error(insert(f, &a), -EKEYREJECTED, "The key you gave is not in our records");
    assert_int_equal(count(f), 0);
    assert_int_equal(f->sealed, 0);
    provider_stop(&p);
}

/* --- what is accepted ------------------------------------------------------------------------- */

static bool file_holds(const char *path, const char *needle)
{
    CLEANUP_FCLOSE FILE *file = fopen(path, "r");
    static char bytes[4 << 20];
    size_t n = file ? fread(bytes, 1, sizeof(bytes), file) : 0;

    return memmem(bytes, n, needle, strlen(needle));
}

static void keys_are_sealed_and_masked(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a;
    const Lf__CloudAccount *stored;
    struct answer inserted, shown;
    char purpose[128];
    static const char *const files[] = { "state.db", "state.db-wal" };

    provider_start(f, &p);
    good(&a, &p);
    inserted = insert(f, &a);
    if (inserted.e.code)
        fail_msg("%s", inserted.e.text);
    stored = inserted.reply->account_stored->account;
    assert_true(p.with_our_key);
    assert_false(p.with_secret);
    assert_string_equal(stored->access_key, "AKIA****");
    assert_string_equal(stored->secret_key, "****");
    assert_string_equal(stored->name, "mine");
    assert_true(stored->active && !stored->shared && !stored->deleted);
    snprintf(purpose, sizeof(purpose), "account:%s", stored->id);
    assert_string_equal(f->last_purpose, purpose);
    shown = get(f, stored->id);
    assert_string_equal(shown.reply->account_stored->account->secret_key, "****");
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char path[128];

        snprintf(path, sizeof(path), "%s/state/%s", f->dir, files[i]);
        assert_false(file_holds(path, SECRET));
        assert_false(file_holds(path, ACCESS));
    }
    answer_free(&shown);
    answer_free(&inserted);
    provider_stop(&p);
}

static void keys_that_may_not_list_buckets_are_good(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a;
    struct answer inserted;

    provider_start(f, &p);
    p.status = 403;
    p.body = "<Error><Code>AccessDenied</Code><Message>Not for this key.</Message></Error>";
    good(&a, &p);
    inserted = insert(f, &a);
    assert_int_equal(inserted.e.code, 0);
    answer_free(&inserted);
    assert_int_equal(count(f), 1);
    provider_stop(&p);
}

static void endpoint_stands_in_for_service_url(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a;
    struct answer inserted;

    provider_start(f, &p);
    good(&a, &p);
    a.service_url = NULL;
    a.endpoint = p.url;
    inserted = insert(f, &a);
    assert_int_equal(inserted.e.code, 0);
    assert_string_equal(inserted.reply->account_stored->account->service_url, p.url);
    answer_free(&inserted);
    provider_stop(&p);
}

/* A client sends back the account it was shown, masked keys and all: its id counts, the rest is ours. */
static void masked_account_is_resolved_by_id(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a, shown = LF__CLOUD_ACCOUNT__INIT;
    struct answer inserted, listed;

    provider_start(f, &p);
    good(&a, &p);
    inserted = insert(f, &a);
    shown = *inserted.reply->account_stored->account;
    shown.service_url = (char *)"http://127.0.0.1:1";
    listed = list_buckets(f, &shown);
    if (listed.e.code)
        fail_msg("%s", listed.e.text);
    assert_true(p.with_our_key);
    assert_int_equal(f->unsealed, 1);
    assert_int_equal(listed.reply->bucket_listed->collection->n_data, 2);
    assert_string_equal(listed.reply->bucket_listed->collection->data[0]->name, "alpha");
    assert_string_equal(listed.reply->bucket_listed->collection->data[0]->create_date, "2024-05-06T07:08:09Z");
    assert_null(listed.reply->bucket_listed->collection->data[0]->region);
    answer_free(&listed);
    fixture_restart(f);
    listed = list_buckets(f, &shown);
    assert_int_equal(listed.e.code, 0);
    answer_free(&listed);
    shown.id = (char *)"7b2f8f3c-0000-4000-8000-000000000000";
    expect_error(list_buckets(f, &shown), -ENOENT, "no account");
    answer_free(&inserted);
    provider_stop(&p);
}

static void account_without_id_is_used_once(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a;
    struct answer listed;

    provider_start(f, &p);
    good(&a, &p);
    a.id = (char *)"00000000-0000-0000-0000-000000000000";
    a.name = NULL;
    listed = list_buckets(f, &a);
    assert_int_equal(listed.e.code, 0);
    assert_int_equal(listed.reply->bucket_listed->collection->n_data, 2);
    answer_free(&listed);
    assert_int_equal(count(f), 0);
    assert_int_equal(f->sealed, 0);
    a.secret_key = (char *)"****";
    expect_error(list_buckets(f, &a), -EINVAL, "masked");
    expect_error(list_buckets(f, NULL), -EINVAL, "missing");
    provider_stop(&p);
}

static void names_are_unique(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *first = fixture_account(f);
    Lf__CloudAccount a = LF__CLOUD_ACCOUNT__INIT;
    char url[128];
    struct answer other;

    snprintf(url, sizeof(url), "file://%s", f->cloud);
    a.name = (char *)"local";
    a.has_cloud_type = true;
    a.cloud_type = 1048576;
    a.service_url = url;
    expect_error(insert(f, &a), -EEXIST, "account named local");
    assert_int_equal(count(f), 1);
    a.name = (char *)"Local";
    other = insert(f, &a);
    assert_int_equal(other.e.code, 0);
    answer_free(&other);
    other = delete(f, first);
    answer_free(&other);
    a.name = (char *)"local";
    other = insert(f, &a);
    assert_int_equal(other.e.code, 0);
    answer_free(&other);
}

/* What would be sealed now would be lost when the old key store comes back. */
static void nothing_is_sealed_with_another_key_store(void **state)
{
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a;
    struct answer first, other;
    size_t unsealed;

    provider_start(f, &p);
    good(&a, &p);
    first = insert(f, &a);
    assert_int_equal(first.e.code, 0);
    f->keys_lost = true;
    a.name = (char *)"other";
    expect_error(insert(f, &a), -ENOKEY, "lost or replaced");
    assert_int_equal(f->sealed, 1);
    assert_int_equal(count(f), 1);
    unsealed = f->unsealed;
    fixture_restart(f);
    wait_until(f, f->unsealed > unsealed);   /* looked at once, for the log */
    other = delete(f, first.reply->account_stored->account->id);
    assert_int_equal(other.e.code, 0);
    answer_free(&other);
    other = insert(f, &a);
    assert_int_equal(other.e.code, 0);       /* nothing is left of the old one */
    answer_free(&other);
    answer_free(&first);
    provider_stop(&p);
}

static void used_account_is_not_deleted(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f), *drive = fixture_drive(f, account, "one");
    Lf__DriveDelete msg = LF__DRIVE_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_DELETE, drive_delete, &msg);
    struct answer a;

    expect_error(delete(f, account), -EINVAL, "drive one");
    msg.id = drive;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
    a = delete(f, account);
    assert_true(a.reply->account_deleted->deleted);
    answer_free(&a);
    expect_error(delete(f, account), -ENOENT, "no account");
    expect_error(get(f, account), -ENOENT, "no account");
    assert_int_equal(count(f), 0);
}

/* --- into a bucket ---------------------------------------------------------------------------- */

static void put_file(const struct fixture *f, const char *name)
{
    char path[400];
    CLEANUP_CLOSE int fd = -1;

    snprintf(path, sizeof(path), "%s/bucket/%s", f->cloud, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "abc", 3), 3);
}

static struct answer list_objects(struct fixture *f, char *account, const char *path, const char *token, int count_)
{
    Lf__CloudAccount ref = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudObjectQuery query = LF__CLOUD_OBJECT_QUERY__INIT;
    Lf__CloudObjectList msg = LF__CLOUD_OBJECT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CLOUD_OBJECT_LIST, cloud_object_list, &msg);

    ref.id = account;
    query.bucket_name = (char *)"bucket";
    query.path = (char *)path;
    query.continuation_token = (char *)token;
    query.has_count = count_ != 0;
    query.count = count_;
    msg.account = &ref;
    msg.request = &query;
    return fixture_ask(f, &env);
}

static void objects_are_listed_like_a_folder(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    struct answer a;
    Lf__CloudObjectCollection *c;
    char folder[160];

    snprintf(folder, sizeof(folder), "%s/bucket/sub", f->cloud);
    assert_int_equal(mkdir(folder, 0700), 0);
    put_file(f, "a");
    put_file(f, "sub/inner");
    put_file(f, "z");
    a = list_objects(f, account, NULL, NULL, 0);
    if (a.e.code)
        fail_msg("%s", a.e.text);
    c = a.reply->cloud_object_listed->collection;
    assert_string_equal(c->path, "/");
    assert_string_equal(c->bucket_name, "bucket");
    assert_string_equal(c->continuation_token, "");
    assert_int_equal(c->n_data, 3);
    assert_string_equal(c->data[0]->name, "a");
    assert_int_equal(c->data[0]->type, 1);
    assert_int_equal(c->data[0]->size, 3);
    assert_string_equal(c->data[1]->name, "sub");
    assert_string_equal(c->data[1]->path, "sub/");
    assert_int_equal(c->data[1]->type, 2);
    assert_string_equal(c->data[2]->path, "z");
    answer_free(&a);
    a = list_objects(f, account, "/sub", NULL, 0);
    assert_int_equal(a.reply->cloud_object_listed->collection->n_data, 1);
    assert_string_equal(a.reply->cloud_object_listed->collection->data[0]->path, "sub/inner");
    assert_string_equal(a.reply->cloud_object_listed->collection->data[0]->name, "inner");
    answer_free(&a);
    expect_error(list_objects(f, account, "/", NULL, 1001), -EINVAL, "request.count");
    expect_error(list_objects(f, account, "/", "nonsense", 0), -EINVAL, "continuationToken");
}

/* Keys are shown as they are, whatever a path made of them would be; what does not lie in the folder is left out,
 * whatever the server says. */
static void a_hostile_listing(void **state)
{
    static const char listing[] =
        "<ListBucketResult><Contents><Key>s</Key></Contents><Contents><Key>sub/</Key></Contents>"
        "<Contents><Key>sub/.</Key></Contents><Contents><Key>sub/..</Key></Contents>"
        "<Contents><Key>sub/a/b</Key></Contents><Contents><Key>elsewhere/x</Key></Contents>"
        "<CommonPrefixes><Prefix>other/</Prefix></CommonPrefixes>"
        "<CommonPrefixes><Prefix>sub/../</Prefix></CommonPrefixes></ListBucketResult>";
    static const struct { const char *path, *name; int type; } expected[] = {
        { "sub/.", ".", 1 }, { "sub/..", "..", 1 }, { "sub/../", "..", 2 }, { "sub/a/b", "a/b", 1 },
    };
    struct fixture *f = *state;
    struct provider p;
    Lf__CloudAccount a;
    struct answer stored, listed;
    Lf__CloudObjectCollection *c;

    provider_start(f, &p);
    good(&a, &p);
    stored = insert(f, &a);
    assert_int_equal(stored.e.code, 0);
    p.body = listing;
    listed = list_objects(f, stored.reply->account_stored->account->id, "/sub", NULL, 0);
    assert_int_equal(listed.e.code, 0);
    c = listed.reply->cloud_object_listed->collection;
    assert_int_equal(c->n_data, ARRAY_SIZE(expected));
    for (size_t i = 0; i < c->n_data; i++) {
        assert_string_equal(c->data[i]->path, expected[i].path);
        assert_string_equal(c->data[i]->name, expected[i].name);
        assert_int_equal(c->data[i]->type, expected[i].type);
    }
    answer_free(&listed);
    answer_free(&stored);
    provider_stop(&p);
}

/* 600 names of 200 bytes are more than one packet holds; by the client's count they are more than one page, too. */
static void long_listings_go_on_where_they_stopped(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *account = fixture_account(f);
    static const int counts[] = { 0, 250, 7 };

    for (int i = 0; i < 600; i++) {
        char name[256];

        snprintf(name, sizeof(name), "%04d-%0195d", i, i);
        put_file(f, name);
    }
    for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
        CLEANUP_FREE char *token = xstrdup("");
        size_t n = 0, pages = 0;

        do {
            struct answer a = list_objects(f, account, "/", token, counts[c]);

            assert_int_equal(a.e.code, 0);
            for (size_t i = 0; i < a.reply->cloud_object_listed->collection->n_data; i++, n++)
                assert_int_equal(atoi(a.reply->cloud_object_listed->collection->data[i]->name), n);
            xstrset(&token, a.reply->cloud_object_listed->collection->continuation_token);
            pages++;
            answer_free(&a);
        } while (*token);
        assert_int_equal(n, 600);
        assert_true(pages > 1);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(insert_refuses),
        TEST(missing_folder_is_refused),
        TEST(unreachable_endpoint_is_refused),
        TEST(wrong_keys_are_refused_in_the_providers_words),
        TEST(keys_are_sealed_and_masked),
        TEST(keys_that_may_not_list_buckets_are_good),
        TEST(endpoint_stands_in_for_service_url),
        TEST(folders_that_are_no_data_are_refused),
        TEST(home_is_refused),
        TEST(hidden_folders_are_refused),
        TEST(folder_with_a_cache_is_refused),
        TEST(unreadable_folder_is_refused),
        TEST(masked_account_is_resolved_by_id),
        TEST(account_without_id_is_used_once),
        TEST(names_are_unique),
        TEST(nothing_is_sealed_with_another_key_store),
        TEST(used_account_is_not_deleted),
        TEST(objects_are_listed_like_a_folder),
        TEST(a_hostile_listing),
        TEST(long_listings_go_on_where_they_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
