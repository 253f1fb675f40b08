/* The volume and its cloud; the worker is in volume_rig_worker.c. */
#include "volume_rig.h"

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
#include "common/text.h"
#include "syncd/keys.h"
#include "syncd/listing.h"
#include "tests/unit/files.h"
#include "tests/unit/patience.h"

enum { PATIENCE_S = 60 };

static const char BUCKET[] = "bucket";

/* --- the loop ------------------------------------------------------------------------------------------ */

void rig_wait_begin(struct rig *rig)
{
    (void)clock_gettime(CLOCK_MONOTONIC, &rig->started);
}

static void tick(void *arg)
{
    (void)arg;
}

void rig_turn(struct rig *rig, const char *condition)
{
    struct loop_timer *t = loop_timer(rig->loop, 100, tick, NULL);
    struct timespec now;
    double waited;

    (void)event_base_loop(loop_base(rig->loop), EVLOOP_ONCE);
    loop_timer_free(t);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    waited = (double)(now.tv_sec - rig->started.tv_sec);
    if (waited > PATIENCE_S && waited > patience(PATIENCE_S))
        fail_msg("waited in vain for: %s", condition);
}

void rig_settle(struct rig *rig)
{
    rig_wait(rig, volume_pending(rig->volume) == 0);
}

static bool idle(const struct rig *rig)
{
    return rig->in_flight == 0 && !loop_working(rig->loop);
}

void rig_idle(struct rig *rig)
{
    rig_wait(rig, idle(rig));
    for (unsigned n = 0; n < 20; n++)
        (void)event_base_loop(loop_base(rig->loop), EVLOOP_NONBLOCK);
    rig_wait(rig, idle(rig));
}

void rig_linger(struct rig *rig)
{
    for (unsigned n = 0; n < 100; n++)
        (void)event_base_loop(loop_base(rig->loop), EVLOOP_NONBLOCK);
    rig_idle(rig);
}

void rig_reset_counts(struct rig *rig)
{
    memset(rig->counts, 0, sizeof(rig->counts));
    memset(rig->bytes, 0, sizeof(rig->bytes));
}

void rig_assert_total(struct rig *rig)
{
    struct index *x = rig->volume->index;
    uint64_t blocks = 0, names = 0, told_blocks, told_names;

    for (uint64_t ino = INDEX_ROOT; ino <= index_last_ino(x); ino++) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        if (index_get(x, ino, &i) == 0 && i.nlink > 0) {
            blocks += (i.size + 511) / 512;
            names++;
        }
    }
    assert_int_equal(index_total(x, &told_blocks, &told_names), 0);
    assert_int_equal(told_blocks, blocks);
    assert_int_equal(told_names, names);
}

void rig_forget_meta(struct rig *rig, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct index *x = rig->volume->index;

    assert_int_equal(index_get(x, ino, &i), 0);
    i.settled = false;
    i.mode = S_IFREG | 0644;
    i.uid = i.gid = 0;
    assert_int_equal(index_begin(x), 0);
    assert_int_equal(index_end(x, index_update(x, &i)), 0);
}

/* --- the cloud ----------------------------------------------------------------------------------------- */

static int on_fault(const struct cloud_request *r, bool after, void *arg)
{
    struct rig *rig = arg;
    int code;

    if (!after) {
        rig->counts[r->op]++;
        rig->bytes[r->op] += r->body.length + (r->has_range || r->op == CLOUD_GET ? r->range_length : 0);
    }
    code = rig->fault ? rig->fault(rig, r, after) : 0;
    if (after)
        rig->in_flight--;
    else if (code == 0)
        rig->in_flight++;
    return code;
}

/* --- holding requests back ------------------------------------------------------------------------------ */

struct holding {
    struct rig *rig;
    struct cloud *inner;   /* owned */
};

static void holding_submit(struct cloud *c, struct cloud_request *r)
{
    struct holding *h = c->state;
    struct rig *rig = h->rig;

    if (!rig->hold[r->op]) {
        h->inner->ops->submit(h->inner, r);
        return;
    }
    assert_true(rig->n_held < ARRAY_SIZE(rig->held));
    rig->counts[r->op]++;
    rig->held[rig->n_held++] = r;
}

static void holding_cancel(struct cloud *c, struct cloud_request *r)
{
    struct holding *h = c->state;
    struct rig *rig = h->rig;

    for (size_t n = 0; n < rig->n_held; n++)
        if (rig->held[n] == r) {
            rig->held[n] = rig->held[--rig->n_held];
            (void)error_set(&r->error, -ECANCELED, "canceled");
            cloud_finish(r, &r->error);
            return;
        }
    h->inner->ops->cancel(h->inner, r);
}

static void holding_resume(struct cloud *c, struct cloud_request *r)
{
    struct holding *h = c->state;

    h->inner->ops->resume(h->inner, r);
}

static void holding_close(struct cloud *c)
{
    struct holding *h = c->state;

    cloud_free(h->inner);
    free(h);
}

static struct cloud *holding_new(struct rig *rig, struct cloud *inner)
{
    static struct cloud_ops ops = { .name = "held", .close = holding_close, .submit = holding_submit,
                                    .cancel = holding_cancel, .resume = holding_resume };
    struct cloud *c = xcalloc(1, sizeof(*c));
    struct holding *h = xcalloc(1, sizeof(*h));

    ops.capabilities = inner->ops->capabilities;
    ops.limits = inner->ops->limits;
    *h = (struct holding){ rig, inner };
    *c = (struct cloud){ .ops = &ops, .loop = inner->loop, .config = inner->config, .type = inner->type, .state = h,
                         .capabilities = inner->capabilities };
    return c;
}

void rig_release(struct rig *rig)
{
    struct holding *h = rig->cloud->state;

    memset(rig->hold, 0, sizeof(rig->hold));
    while (rig->n_held) {
        struct cloud_request *r = rig->held[--rig->n_held];

        rig->counts[r->op]--;
        h->inner->ops->submit(h->inner, r);
    }
}

static void no_secret(void *arg, const char *account_id,
                      void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg), void *give_arg)
{
    static const struct error none;
    static const struct cloud_secret secret = { "", "" };

    (void)arg;
    (void)account_id;
    give(&none, &secret, give_arg);
}

static void on_direct(struct cloud_request *r, void *arg)
{
    (void)r;
    *(bool *)arg = true;
}

static void direct(struct rig *rig, struct cloud_request *r)
{
    bool done = false;

    r->done = on_direct;
    r->arg = &done;
    cloud_request_set(&r->bucket, BUCKET);
    cloud_submit(rig->memory, r);
    rig_wait(rig, done);
}

static void make_bucket(struct rig *rig)
{
    struct cloud_request *r = cloud_request_new(CLOUD_BUCKET_CREATE, NULL, NULL);

    direct(rig, r);
    cloud_request_free(r);
}

static int file_of(const void *bytes, size_t n)
{
    int fd = memfd_create("rig", MFD_CLOEXEC);

    assert_true(fd >= 0);
    for (size_t at = 0; at < n;) {
        ssize_t written = write(fd, (const char *)bytes + at, n - at);

        assert_true(written > 0);
        at += (size_t)written;
    }
    return fd;
}

void rig_put(struct rig *rig, const char *key, const void *bytes, size_t n)
{
    rig_put_with(rig, key, bytes, n, &(struct cloud_meta){ 0 });
}

void rig_put_with(struct rig *rig, const char *key, const void *bytes, size_t n, const struct cloud_meta *meta)
{
    struct cloud_request *r = cloud_request_new(CLOUD_PUT, NULL, NULL);
    CLEANUP_CLOSE int fd = file_of(bytes, n);

    cloud_request_set(&r->key, key);
    r->body = (struct cloud_extent){ .fd = fd, .length = n };
    assert_int_equal(cloud_meta_copy(&r->meta, meta), 0);
    direct(rig, r);
    assert_int_equal(r->error.code, 0);
    r->body.fd = -1;
    cloud_request_free(r);
}

void rig_remove(struct rig *rig, const char *key)
{
    struct cloud_request *r = cloud_request_new(CLOUD_DELETE, NULL, NULL);

    cloud_request_set(&r->key, key);
    direct(rig, r);
    assert_int_equal(r->error.code, 0);
    cloud_request_free(r);
}

struct cloud_request *rig_stat(struct rig *rig, const char *key)
{
    struct cloud_request *r = cloud_request_new(CLOUD_STAT, NULL, NULL);

    cloud_request_set(&r->key, key);
    direct(rig, r);
    return r;
}

char *rig_object(struct rig *rig, const char *key, size_t *ret_size)
{
    struct cloud_request *r = rig_stat(rig, key);
    size_t size = r->object.size;
    bool there = r->error.code == 0;
    CLEANUP_CLOSE int fd = memfd_create("rig", MFD_CLOEXEC);
    char *bytes;

    cloud_request_free(r);
    if (!there)
        return NULL;
    r = cloud_request_new(CLOUD_GET, NULL, NULL);
    cloud_request_set(&r->key, key);
    r->sink = (struct cloud_extent){ .fd = fd, .length = size };
    direct(rig, r);
    assert_int_equal(r->error.code, 0);
    r->sink.fd = -1;
    cloud_request_free(r);
    bytes = xcalloc(1, size + 1);
    assert_int_equal(pread(fd, bytes, size, 0), size);
    *ret_size = size;
    return bytes;
}

void assert_object(struct rig *rig, const char *key, const void *bytes, size_t n)
{
    size_t size;
    CLEANUP_FREE char *there = rig_object(rig, key, &size);

    if (!there)
        fail_msg("there is no object %s", key);
    assert_int_equal(size, n);
    if (memcmp(there, bytes, n) != 0)
        fail_msg("object %s has other bytes", key);
}

static struct cloud_request *list_all(struct rig *rig)
{
    struct cloud_request *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

    r->limit = 1000;
    direct(rig, r);
    assert_int_equal(r->error.code, 0);
    return r;
}

char *rig_keys(struct rig *rig)
{
    struct cloud_request *r = list_all(rig);
    struct text t = TEXT_INIT(1 << 20);

    for (size_t n = 0; n < r->n_objects; n++)
        (void)text_printf(&t, "%s ", r->objects[n].key);
    cloud_request_free(r);
    return text_take(&t);
}

size_t rig_files(struct rig *rig)
{
    struct cloud_request *r = list_all(rig);
    size_t files = 0;

    for (size_t n = 0; n < r->n_objects; n++)
        files += r->objects[n].key[strlen(r->objects[n].key) - 1] != '/';
    cloud_request_free(r);
    return files;
}

size_t rig_uploads(struct rig *rig)
{
    struct cloud_request *r = cloud_request_new(CLOUD_UPLOADS, NULL, NULL);
    size_t n;

    direct(rig, r);
    assert_int_equal(r->error.code, 0);
    n = r->n_objects;
    cloud_request_free(r);
    return n;
}

static void on_listed(const struct error *e, void *arg)
{
    assert_int_equal(e->code, 0);
    *(bool *)arg = true;
}

void rig_relist(struct rig *rig, uint64_t dir)
{
    bool done = false;
    struct listing_run *run = listing_run_new(rig->volume, dir, on_listed, &done);

    assert_non_null(run);
    rig_wait(rig, done);
    listing_run_free(run);
}

/* --- life ---------------------------------------------------------------------------------------------- */

static void on_peer_lost(struct ipc_peer *p, void *arg)
{
    struct rig *rig = arg;

    volume_worker_lost(rig->volume, p);
    rig->peer = NULL;
}

static void attach(struct rig *rig)
{
    struct ipc_client_spec spec = { .role = ROLE_WORKER, .peer = ROLE_SYNCD, .max_queue = 1024 };
    int fd;

    assert_int_equal(ipc_server_channel(rig->server, ROLE_WORKER, rig->volume, &rig->peer, &fd), 0);
    volume_worker_attached(rig->volume, rig->peer, 1);
    rig->client = ipc_client_new(rig->loop, &spec);
    assert_non_null(rig->client);
    ipc_client_adopt(rig->client, fd);
}

void rig_open(struct rig *rig)
{
    struct volume_spec spec = {
        .loop = rig->loop, .config = rig->config, .drive = &rig->drive, .state_dir = rig->dir, .cloud = rig->cloud,
        .uid = geteuid(), .gid = getegid(), .had_index = rig->had_index,
    };
    struct ipc_server_spec server = {
        .role = ROLE_SYNCD, .handlers = volume_fs_handlers, .n_handlers = volume_fs_handlers_n, .max_connections = 4,
        .max_queue = 1024, .peer_lost = on_peer_lost, .arg = rig,
    };
    struct error e = { 0 };

    spec.keys = rig->keys = rig->make_keys ? rig->make_keys(rig) : NULL;
    if (volume_open(&spec, &rig->volume, &e) < 0)
        fail_msg("%s", e.text);
    rig->server = ipc_server_new(rig->loop, &server);
    assert_non_null(rig->server);
    attach(rig);
}

void rig_lose_worker(struct rig *rig)
{
    ipc_client_free(rig->client);
    rig_wait(rig, !rig->peer);
    attach(rig);
}

void rig_close(struct rig *rig)
{
    ipc_client_free(take_ptr(rig->client));
    ipc_server_free(take_ptr(rig->server));
    if (rig->keys)
        keys_stop(rig->keys);
    volume_close(take_ptr(rig->volume));
    keys_free(take_ptr(rig->keys));
    rig_idle(rig);
}

void rig_reopen(struct rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}

static void open_cloud(struct rig *rig, bool folder)
{
    char url[96];
    struct cloud_spec spec = { .type = folder ? CLOUD_LOCAL_FOLDER : CLOUD_MEMORY, .account_id = "a",
                               .service_url = url, .region = "", .keyring = { .get = no_secret } };
    struct error e = { 0 };

    snprintf(url, sizeof(url), "file://%s/cloud", rig->dir);
    assert_true(mkdir(url + strlen("file://"), 0700) == 0 || errno == EEXIST);
    if (cloud_new(rig->loop, rig->config, &spec, &rig->memory, &e) < 0)
        fail_msg("%s", e.text);
    rig->cloud = holding_new(rig, cloud_failing_new(rig->memory, on_fault, rig));
    make_bucket(rig);
}

static int set_up(const char *dir, bool folder, void (*prepare)(struct rig *rig), void **state)
{
    static const char *const sets[] = { "SettleMilliseconds=0", "QuietMilliseconds=300", "ReadDeadlineSeconds=5", "CloudRetries=0" };
    struct rig *rig = xcalloc(1, sizeof(*rig));
    struct error e = { 0 };

    snprintf(rig->dir, sizeof(rig->dir), "%s", dir);
    rig->loop = loop_new(2);
    if (config_load(NULL, sets, ARRAY_SIZE(sets), &rig->config, &e) < 0)
        fail_msg("%s", e.text);
    open_cloud(rig, folder);
    lf__cloud_drive__init(&rig->drive);
    rig->drive.id = (char *)(uintptr_t)"drive";
    rig->drive.name = (char *)(uintptr_t)"Drive";
    rig->drive.storage_name = (char *)(uintptr_t)BUCKET;
    if (prepare)
        prepare(rig);
    rig_open(rig);
    *state = rig;
    return 0;
}

static int set_up_anywhere(bool folder, void (*prepare)(struct rig *rig), void **state)
{
    char dir[] = "/tmp/volume_rig.XXXXXX";

    assert_non_null(mkdtemp(dir));
    return set_up(dir, folder, prepare, state);
}

int rig_set_up(void **state)
{
    return set_up_anywhere(false, NULL, state);
}

int rig_set_up_folder(void **state)
{
    return set_up_anywhere(true, NULL, state);
}

int rig_set_up_with(void (*prepare)(struct rig *rig), void **state)
{
    return set_up_anywhere(false, prepare, state);
}

int rig_set_up_folder_with(void (*prepare)(struct rig *rig), void **state)
{
    return set_up_anywhere(true, prepare, state);
}

int rig_set_up_in(const char *dir, void (*prepare)(struct rig *rig), void **state)
{
    return set_up(dir, true, prepare, state);
}

int rig_tear_down(void **state)
{
    struct rig *rig = *state;

    rig->fault = NULL;
    rig_close(rig);
    cloud_free(rig->cloud);
    rig_idle(rig);
    rig_wait(rig, !loop_working(rig->loop));
    config_free(rig->config);
    loop_free(rig->loop);
    (void)files_remove(rig->dir);
    free(rig);
    return 0;
}
