/* Buckets and objects of an account, for people who choose. Keys are shown as the cloud has them, "a/../b" too: a key
 * is no path here. What a drive shows is listing_merge.c's to judge. */
#include "syncd/bucket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/account_given.h"
#include "syncd/page.h"
#include "syncd/path.h"
#include "syncd/syncd.h"

enum { COUNT_MOST = 1000, TOKEN_MAX = 8192 };

struct look {
    struct syncd *d;
    struct ipc_request *req;
    struct account_given *account;
    struct cloud *cloud;          /* the account's */
    struct cloud_request *asked;
    bool include_region;
    size_t skip;                  /* buckets or objects that the client has already */
    uint32_t count;
    char *token;                  /* the provider's, of this listing; NULL: its start */
    char *path;                   /* as the client gave it */
};

static struct look *look_new(struct syncd *d, struct ipc_request *req)
{
    struct look *l = xcalloc(1, sizeof(*l));

    l->d = d;
    l->req = req;
    return l;
}

static void end(struct look *l)
{
    if (l->asked)
        cloud_request_free(l->asked);
    account_given_close(l->account);
    free(l->token);
    free(l->path);
    free(l);
}

static void fail(struct look *l, const struct error *e)
{
    ipc_fail_error(l->req, e);
    end(l);
}

static int open_cloud(struct look *l, const Lf__CloudAccount *account, struct error *e)
{
    int r = account_given_open(l->d, account, NULL, &l->account, e);

    return r < 0 ? r : account_given_cloud(l->account, &l->cloud, e);
}

/* Asks the cloud. The request stays until end(). */
static void ask(struct look *l)
{
    l->asked->deadline_ms = ACCOUNT_DEADLINE_MS;
    l->asked->trace = ipc_request_trace(l->req);
    cloud_submit(l->cloud, l->asked);
}

/* --- buckets ---------------------------------------------------------------------------------- */

static Lf__Bucket *new_bucket(const struct look *l, const struct cloud_bucket *from)
{
    Lf__Bucket *b = xcalloc(1, sizeof(*b));
    char date[DATE_SIZE];

    lf__bucket__init(b);
    b->name = xstrdup(from->name);
    if (l->include_region)
        b->region = xstrdup(from->region);
    if (from->created_ns) {
        date_iso(from->created_ns, date);
        b->create_date = xstrdup(date);
    }
    return b;
}

static void reply_buckets(struct look *l)
{
    struct page page = { 0 };
    char next[24];
    Lf__BucketCollection collection = LF__BUCKET_COLLECTION__INIT;
    Lf__BucketListed listed = LF__BUCKET_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(BUCKET_LISTED, bucket_listed, &listed);
    size_t i = l->skip;

    for (; i < l->asked->n_buckets; i++) {
        Lf__Bucket *b = new_bucket(l, &l->asked->buckets[i]);

        if (!page_add(&page, &b->base)) {
            lf__bucket__free_unpacked(b, NULL);
            break;
        }
    }
    snprintf(next, sizeof(next), "%zu", i);
    collection.data = (Lf__Bucket **)page.items;
    collection.n_data = page.n;
    collection.continuation_token = (char *)"";
    listed.collection = &collection;
    listed.next_page = i < l->asked->n_buckets ? next : NULL;
    ipc_reply(l->req, &reply, NULL, 0);
    page_free(&page, true);
}

static cloud_done_fn bucket_list_done;

void bucket_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__BucketList *given = env->bucket_list;
    struct look *l = look_new(daemon, req);
    struct error e = { 0 };

    (void)fds;
    l->include_region = given->has_include_region && given->include_region;
    l->skip = given->page ? strtoul(given->page, NULL, 10) : 0;
    if (open_cloud(l, given->account, &e) < 0) {
        fail(l, &e);
        return;
    }
    l->asked = cloud_request_new(CLOUD_BUCKETS, bucket_list_done, l);
    ask(l);
}

static void bucket_list_done(struct cloud_request *r, void *arg)
{
    struct look *l = arg;

    if (r->error.code < 0)
        ipc_fail_error(l->req, &r->error);
    else
        reply_buckets(l);
    end(l);
}

/* --- objects ---------------------------------------------------------------------------------- */

/* A token of ours: "<skip>.<count>.<the provider's token>". The provider's listing of `count` entries is asked for
 * again and the first `skip` are left out, since a listing may not fit into one packet. */
static int read_token(struct look *l, const char *token, struct error *e)
{
    unsigned long long skip = 0;
    uint32_t count = 0;
    int n = 0;

    if (!token || !*token)
        return 0;
    if (strlen(token) > TOKEN_MAX || sscanf(token, "%4llu.%4" SCNu32 ".%n", &skip, &count, &n) != 2 || n == 0 ||
        count < 1 || count > COUNT_MOST)
        return error_set(e, -EINVAL, "continuationToken is not one of ours.");
    l->skip = skip;
    l->count = count;
    if (token[n])
        l->token = xstrdup(token + n);
    return 0;
}

static char *new_token(size_t skip, uint32_t count, const char *provider)
{
    char *token = NULL;

    if (asprintf(&token, "%zu.%" PRIu32 ".%s", skip, count, provider ? provider : "") < 0)
        abort();
    return token;
}

static Lf__CloudObject *new_object(const struct look *l, const char *key, const struct cloud_object *from)
{
    Lf__CloudObject *o = xcalloc(1, sizeof(*o));
    size_t skip = strlen(l->asked->prefix);
    char date[DATE_SIZE];

    lf__cloud_object__init(o);
    o->id = xstrdup("");
    o->path = xstrdup(key);
    o->name = xstrdup(key + skip);
    o->has_type = o->has_size = true;
    o->type = from ? 1 : 2;
    if (!from) {
        o->name[strcspn(o->name, "/")] = '\0';
        return o;
    }
    o->size = from->size > INT64_MAX ? INT64_MAX : (int64_t)from->size;
    date_iso(from->mtime_ns, date);
    o->last_modified_utc = xstrdup(date);
    return o;
}

/* Whether the key lies in the folder that was asked for. The folder's own marker does not, nor does what a server
 * may list besides. */
static bool lies_inside(const struct look *l, const char *key)
{
    size_t n = strlen(l->asked->prefix);

    return strncmp(key, l->asked->prefix, n) == 0 && key[n];
}

/* Walks objects and common prefixes together, in key order. NULL at the end. */
struct walk {
    size_t object, prefix;
};
static Lf__CloudObject *walk_next(const struct look *l, struct walk *w)
{
    const struct cloud_request *r = l->asked;
    const struct cloud_object *object;

    while (w->object < r->n_objects && !lies_inside(l, r->objects[w->object].key))
        w->object++;
    while (w->prefix < r->n_prefixes && !lies_inside(l, r->prefixes[w->prefix]))
        w->prefix++;
    object = w->object < r->n_objects ? &r->objects[w->object] : NULL;
    if (w->prefix < r->n_prefixes && (!object || strcmp(r->prefixes[w->prefix], object->key) < 0))
        return new_object(l, r->prefixes[w->prefix++], NULL);
    if (!object)
        return NULL;
    w->object++;
    return new_object(l, object->key, object);
}

/* Fills the page and returns the token to go on with, owned by the caller, NULL at the end. */
static char *fill(const struct look *l, struct page *page)
{
    struct walk walk = { 0 };
    Lf__CloudObject *o;

    for (size_t i = 0; (o = walk_next(l, &walk)); i++) {
        if (i >= l->skip && !page_add(page, &o->base)) {
            lf__cloud_object__free_unpacked(o, NULL);
            return new_token(i, l->count, l->token);
        }
        if (i < l->skip)
            lf__cloud_object__free_unpacked(o, NULL);
    }
    return l->asked->next_token ? new_token(0, l->count, l->asked->next_token) : NULL;
}

static void reply_objects(struct look *l)
{
    struct page page = { 0 };
    CLEANUP_FREE char *next = fill(l, &page);
    Lf__CloudObjectCollection collection = LF__CLOUD_OBJECT_COLLECTION__INIT;
    Lf__CloudObjectListed listed = LF__CLOUD_OBJECT_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(CLOUD_OBJECT_LISTED, cloud_object_listed, &listed);

    collection.data = (Lf__CloudObject **)page.items;
    collection.n_data = page.n;
    collection.continuation_token = next ? next : (char *)"";
    collection.bucket_name = l->asked->bucket;
    collection.path = l->path;
    listed.collection = &collection;
    ipc_reply(l->req, &reply, NULL, 0);
    page_free(&page, true);
}

static int prepare_objects(struct look *l, const Lf__CloudObjectList *given, struct error *e)
{
    const Lf__CloudObjectQuery *q = given->request;
    int r;

    if (!q || !q->bucket_name || !*q->bucket_name)
        return error_set(e, -EINVAL, "request.bucketName is missing.");
    l->count = q->has_count ? (uint32_t)q->count : COUNT_MOST;
    if (q->has_count && (q->count < 1 || q->count > COUNT_MOST))
        return error_set(e, -EINVAL, "request.count must be between 1 and %d.", COUNT_MOST);
    l->path = xstrdup(q->path && *q->path ? q->path : "/");
    r = read_token(l, q->continuation_token, e);
    return r < 0 ? r : open_cloud(l, given->account, e);
}

static cloud_done_fn bucket_list_objects_done;

void bucket_list_objects(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__CloudObjectList *given = env->cloud_object_list;
    struct look *l = look_new(daemon, req);
    struct error e = { 0 };

    (void)fds;
    if (prepare_objects(l, given, &e) < 0) {
        fail(l, &e);
        return;
    }
    l->asked = cloud_request_new(CLOUD_LIST, bucket_list_objects_done, l);
    cloud_request_set(&l->asked->bucket, given->request->bucket_name);
    cloud_request_set(&l->asked->token, l->token);
    l->asked->prefix = path_prefix(l->path);
    l->asked->delimiter = '/';
    l->asked->limit = l->count;
    ask(l);
}

static void bucket_list_objects_done(struct cloud_request *r, void *arg)
{
    struct look *l = arg;
    struct error e = { 0 };

    if (r->error.code < 0) {
        /* A missing bucket is named by the request's body: not the route's 404. */
        error_set(&e, r->error.code == -ENOENT ? -EINVAL : r->error.code, "%s", error_text(&r->error));
        ipc_fail_error(l->req, &e);
    } else {
        reply_objects(l);
    }
    end(l);
}
