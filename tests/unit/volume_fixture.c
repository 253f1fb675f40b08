/* A drive on the memory provider and a worker that asks it, for the tests of a volume. */
#include "tests/unit/volume_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "tests/unit/files.h"

enum { PATIENCE_MS = 60000 };

/* --- the loop ---------------------------------------------------------------------------------------- */

static void lose_patience(void *arg)
{
    *(bool *)arg = true;
}

struct loop_timer *fixture_patience(struct fixture *f, bool *lost)
{
    return loop_timer(f->loop, PATIENCE_MS, lose_patience, lost);
}

void fixture_turn(struct fixture *f, bool *lost, const char *condition)
{
    if (*lost)
        fail_msg("waited in vain for %s", condition);
    (void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
}

/* --- the cloud ----------------------------------------------------------------------------------------- */

static bool ends_in(const char *text, const char *end)
{
    size_t n = text ? strlen(text) : 0, m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static int fault(const struct cloud_request *r, bool after, void *arg)
{
    struct fixture *f = arg;

    if (after)
        return 0;
    f->seen[r->op]++;
    if (!f->fail_code || r->op != f->fail_op)
        return 0;
    if (f->fail_key && !ends_in(r->op == CLOUD_LIST ? r->prefix : r->key, f->fail_key))
        return 0;
    if (f->fail_after > 0) {
        f->fail_after--;
        return 0;
    }
    return f->fail_code;
}

static void give_nothing(void *arg, const char *account_id,
                         void (*give)(const struct error *e, const struct cloud_secret *s, void *give_arg),
                         void *give_arg)
{
    struct cloud_secret none = { "", "" };

    (void)arg;
    (void)account_id;
    give(NULL, &none, give_arg);
}

static void on_done(struct cloud_request *r, void *arg)
{
    (void)r;
    *(bool *)arg = true;
}

static struct cloud_request *request(enum cloud_op op, const char *key, bool *done)
{
    struct cloud_request *r = cloud_request_new(op, on_done, done);
    char full[2048];

    snprintf(full, sizeof(full), PREFIX "%s", key);
    cloud_request_set(&r->bucket, BUCKET);
    cloud_request_set(op == CLOUD_LIST ? &r->prefix : &r->key, full);
    return r;
}

/* Straight to the memory provider: faults are for the volume. */
static void submit(struct fixture *f, struct cloud_request *r, bool *done)
{
    int code = f->fail_code;

    f->fail_code = 0;
    cloud_submit(f->cloud, r);
    f->fail_code = code;
    f->seen[r->op]--;
    wait_until(f, *done);
}

void cloud_has_meta(struct fixture *f, const char *key, const char *bytes, const struct cloud_meta *meta)
{
    bool done = false;
    struct cloud_request *r = request(CLOUD_PUT, key, &done);

    r->body.fd = memfd_create("body", MFD_CLOEXEC);
    assert_int_equal(write(r->body.fd, bytes, strlen(bytes)), strlen(bytes));
    r->body.length = strlen(bytes);
    if (meta)
        assert_int_equal(cloud_meta_copy(&r->meta, meta), 0);
    submit(f, r, &done);
    assert_int_equal(r->error.code, 0);
    (void)close(r->body.fd);
    cloud_request_free(r);
}

void cloud_has(struct fixture *f, const char *key, const char *bytes)
{
    cloud_has_meta(f, key, bytes, NULL);
}

void cloud_lost(struct fixture *f, const char *key)
{
    bool done = false;
    struct cloud_request *r = request(CLOUD_DELETE, key, &done);

    submit(f, r, &done);
    assert_int_equal(r->error.code, 0);
    cloud_request_free(r);
}

bool cloud_holds(struct fixture *f, const char *key)
{
    bool done = false;
    struct cloud_request *r = request(CLOUD_STAT, key, &done);
    int code;

    submit(f, r, &done);
    code = r->error.code;
    cloud_request_free(r);
    assert_true(code == 0 || code == -ENOENT);
    return code == 0;
}

const char *cloud_keys(struct fixture *f)
{
    static char keys[8192];
    bool done = false;
    struct cloud_request *r = request(CLOUD_LIST, "", &done);

    submit(f, r, &done);
    assert_int_equal(r->error.code, 0);
    assert_null(r->next_token);
    *keys = '\0';
    for (size_t n = 0; n < r->n_objects; n++)
        snprintf(keys + strlen(keys), sizeof(keys) - strlen(keys), "%s%s", n ? " " : "",
                 r->objects[n].key + strlen(PREFIX));
    cloud_request_free(r);
    return keys;
}

struct relisting {
    bool done;
    int code;
};

static void on_relisted(const struct error *e, void *arg)
{
    struct relisting *r = arg;

    r->done = true;
    r->code = e->code;
}

int relist(struct fixture *f, uint64_t dir)
{
    struct relisting r = { 0 };
    struct listing_run *run = listing_run_new(f->v, dir, on_relisted, &r);

    assert_non_null(run);
    wait_until(f, r.done);
    listing_run_free(run);
    return r.code;
}

/* --- the drive ------------------------------------------------------------------------------------------- */

static void on_event(const Lf__Envelope *event, int *fds, void *arg)
{
    struct fixture *f = arg;
    const Lf__FsInvalidate *i = event->fs_invalidate;
    size_t len = strlen(f->events);

    (void)fds;
    f->n_events++;
    if (i->has_name)
        snprintf(f->events + len, sizeof(f->events) - len, "%llu/%.*s ", (unsigned long long)i->ino, (int)i->name.len,
                 (const char *)i->name.data);
    else
        snprintf(f->events + len, sizeof(f->events) - len, "%llu%s ", (unsigned long long)i->ino, i->data ? "*" : "");
}

static void attach(struct fixture *f)
{
    struct ipc_server_spec server = {
        .role = ROLE_SYNCD, .handlers = volume_fs_handlers, .n_handlers = volume_fs_handlers_n,
        .max_connections = 4, .max_queue = 1024, .arg = f,
    };
    struct ipc_client_spec client = {
        .role = ROLE_WORKER, .peer = ROLE_SYNCD, .max_queue = 1024, .event = on_event, .arg = f,
    };
    int fd;

    f->server = ipc_server_new(f->loop, &server);
    assert_int_equal(ipc_server_channel(f->server, ROLE_WORKER, f->v, &f->peer, &fd), 0);
    volume_worker_attached(f->v, f->peer, 1);
    if (!f->worker)
        f->worker = ipc_client_new(f->loop, &client);
    ipc_client_adopt(f->worker, fd);
}

static void open_volume(struct fixture *f)
{
    struct volume_spec spec = {
        .loop = f->loop, .config = f->config, .drive = &f->drive, .state_dir = f->folder, .cloud = f->cloud,
        .uid = 1000, .gid = 1000,
    };
    struct error e = { 0 };

    if (volume_open(&spec, &f->v, &e) < 0)
        fail_msg("%s", e.text);
    attach(f);
}

static void close_volume(struct fixture *f)
{
    volume_worker_lost(f->v, f->peer);
    ipc_server_free(f->server);
    volume_close(f->v);
}

void fixture_restart(struct fixture *f)
{
    close_volume(f);
    open_volume(f);
}

static void make_bucket(struct fixture *f)
{
    bool done = false;
    struct cloud_request *r = request(CLOUD_BUCKET_CREATE, "", &done);

    submit(f, r, &done);
    assert_int_equal(r->error.code, 0);
    cloud_request_free(r);
}

int fixture_set_up(void **state)
{
    static const char *const SETS[] = { "SettleMilliseconds=0", "QuietMilliseconds=300" };
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct cloud_spec spec = { .type = CLOUD_MEMORY, .account_id = "test", .keyring = { give_nothing, NULL } };
    struct cloud *memory;
    struct error e = { 0 };

    strcpy(f->folder, "/tmp/test_volume.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->loop = loop_new(1);
    assert_int_equal(config_load(NULL, SETS, ARRAY_SIZE(SETS), &f->config, &e), 0);
    assert_int_equal(cloud_new(f->loop, f->config, &spec, &memory, &e), 0);
    f->cloud = cloud_failing_new(memory, fault, f);
    lf__cloud_drive__init(&f->drive);
    f->drive.id = xstrdup("00000000-0000-4000-8000-000000000000");
    f->drive.storage_name = xstrdup(BUCKET);
    f->drive.prefix = xstrdup(PREFIX);
    make_bucket(f);
    open_volume(f);
    *state = f;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct fixture *f = *state;

    close_volume(f);
    ipc_client_free(f->worker);
    for (int turns = 0; turns < 50; turns++)
        (void)event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);   /* what was cancelled comes back */
    while (loop_working(f->loop))
        (void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
    cloud_free(f->cloud);
    loop_free(f->loop);
    config_free(f->config);
    free(f->drive.id);
    free(f->drive.storage_name);
    free(f->drive.prefix);
    (void)files_remove(f->folder);
    free(f);
    return 0;
}

/* --- the worker -------------------------------------------------------------------------------------------- */

struct answer {
    bool done;
    int code;
    Lf__Envelope *reply;
};

static Lf__Envelope *copy(const Lf__Envelope *env)
{
    size_t size = lf__envelope__get_packed_size(env);
    CLEANUP_FREE uint8_t *packed = xcalloc(1, size + 1);

    lf__envelope__pack(env, packed);
    return lf__envelope__unpack(NULL, size, packed);
}

static void on_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct answer *a = arg;

    (void)fds;
    a->done = true;
    a->code = reply ? 0 : e->code;
    a->reply = reply ? copy(reply) : NULL;
}

int ask(struct fixture *f, Lf__Envelope *request_, Lf__Envelope **ret)
{
    struct answer a = { 0 };

    (void)ipc_call(f->worker, request_, NULL, 0, 0, on_answer, &a);
    wait_until(f, a.done);
    if (ret)
        *ret = a.reply;
    else if (a.reply)
        lf__envelope__free_unpacked(a.reply, NULL);
    return a.code;
}

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

/* Asks for something that is answered with attributes. */
static int ask_entry(struct fixture *f, Lf__Envelope *env, Lf__FsAttr *ret)
{
    Lf__Envelope *reply = NULL;
    int r = ask(f, env, &reply);

    if (r == 0 && ret)
        *ret = reply->body_case == LF__ENVELOPE__BODY_FS_OPENED ? *reply->fs_opened->attr : *reply->fs_entry->attr;
    if (reply)
        lf__envelope__free_unpacked(reply, NULL);
    return r;
}

static int ask_new(struct fixture *f, Lf__Envelope *env, uint64_t *ret_ino)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    int r = ask_entry(f, env, &attr);

    if (ret_ino)
        *ret_ino = attr.ino;
    return r;
}

int ask_lookup(struct fixture *f, uint64_t parent, const char *name, Lf__FsAttr *ret)
{
    Lf__FsLookup m = LF__FS_LOOKUP__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_LOOKUP, fs_lookup, &m);

    m.parent = parent;
    m.name = bytes(name);
    return ask_entry(f, &env, ret);
}

int ask_getattr(struct fixture *f, uint64_t ino, Lf__FsAttr *ret)
{
    Lf__FsGetattr m = LF__FS_GETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_GETATTR, fs_getattr, &m);

    m.ino = ino;
    return ask_entry(f, &env, ret);
}

int ask_mkdir(struct fixture *f, uint64_t parent, const char *name, uint64_t *ret_ino)
{
    Lf__FsMkdir m = LF__FS_MKDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_MKDIR, fs_mkdir, &m);

    m.parent = parent;
    m.name = bytes(name);
    m.mode = 0750;
    m.uid = 1000;
    m.gid = 1001;
    return ask_new(f, &env, ret_ino);
}

int ask_create(struct fixture *f, uint64_t parent, const char *name, uint64_t *ret_ino)
{
    Lf__FsCreate m = LF__FS_CREATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_CREATE, fs_create, &m);
    uint64_t ino;
    int r;

    m.parent = parent;
    m.name = bytes(name);
    m.mode = 0640;
    m.uid = m.gid = 1000;
    m.exclusive = true;
    r = ask_new(f, &env, &ino);
    if (r == 0)
        r = ask_release(f, ino, true);
    if (ret_ino)
        *ret_ino = ino;
    return r;
}

int ask_symlink(struct fixture *f, uint64_t parent, const char *name, const char *target, uint64_t *ret_ino)
{
    Lf__FsSymlink m = LF__FS_SYMLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SYMLINK, fs_symlink, &m);

    m.parent = parent;
    m.name = bytes(name);
    m.target = bytes(target);
    m.uid = m.gid = 1000;
    return ask_new(f, &env, ret_ino);
}

int ask_unlink(struct fixture *f, uint64_t parent, const char *name)
{
    Lf__FsUnlink m = LF__FS_UNLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_UNLINK, fs_unlink, &m);

    m.parent = parent;
    m.name = bytes(name);
    return ask(f, &env, NULL);
}

int ask_rmdir(struct fixture *f, uint64_t parent, const char *name)
{
    Lf__FsRmdir m = LF__FS_RMDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RMDIR, fs_rmdir, &m);

    m.parent = parent;
    m.name = bytes(name);
    return ask(f, &env, NULL);
}

int ask_rename(struct fixture *f, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
               unsigned flags)
{
    Lf__FsRename m = LF__FS_RENAME__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RENAME, fs_rename, &m);

    m.parent = parent;
    m.name = bytes(name);
    m.new_parent = new_parent;
    m.new_name = bytes(new_name);
    m.flags = flags;
    return ask(f, &env, NULL);
}

int ask_open(struct fixture *f, uint64_t ino, bool write)
{
    Lf__FsOpen m = LF__FS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPEN, fs_open, &m);

    m.ino = ino;
    m.write = write;
    return ask(f, &env, NULL);
}

int ask_open_again(struct fixture *f, uint64_t ino)
{
    Lf__FsOpen m = LF__FS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPEN, fs_open, &m);

    m.ino = ino;
    m.has_again = m.again = true;
    return ask(f, &env, NULL);
}

int ask_release(struct fixture *f, uint64_t ino, bool write)
{
    Lf__FsRelease m = LF__FS_RELEASE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RELEASE, fs_release, &m);

    m.ino = ino;
    m.write = write;
    return ask(f, &env, NULL);
}

const char *ask_names(struct fixture *f, uint64_t dir, unsigned page)
{
    static char names[65536];
    Lf__FsReaddir m = LF__FS_READDIR__INIT;
    bool end = false;

    *names = '\0';
    m.ino = dir;
    m.entries = page;
    while (!end) {
        Lf__Envelope env = IPC_ENVELOPE(FS_READDIR, fs_readdir, &m), *reply;

        assert_int_equal(ask(f, &env, &reply), 0);
        assert_true(reply->fs_listed->n_entries <= page);
        for (size_t n = 0; n < reply->fs_listed->n_entries; n++) {
            const Lf__FsDirent *d = reply->fs_listed->entries[n];

            assert_true(d->cookie > m.cookie);
            assert_int_equal(d->cookie, d->attr->ino);
            m.cookie = d->cookie;
            snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%.*s", *names ? " " : "",
                     (int)d->name.len, (const char *)d->name.data);
        }
        end = reply->fs_listed->end;
        lf__envelope__free_unpacked(reply, NULL);
    }
    return names;
}

/* --- the index --------------------------------------------------------------------------------------------- */

static int find(struct fixture *f, const char *path, struct index_inode *ret)
{
    uint64_t ino = INDEX_ROOT;
    int r = index_get(f->v->index, ino, ret);

    while (r == 0 && *path) {
        size_t len = strcspn(path, "/");

        index_inode_done(ret);
        r = index_find(f->v->index, ino, path, len, ret);
        ino = ret->ino;
        path += len;
        path += *path == '/';
    }
    return r;
}

bool exists(struct fixture *f, const char *path)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return find(f, path, &i) == 0;
}

uint64_t ino_of(struct fixture *f, const char *path)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (find(f, path, &i) < 0)
        fail_msg("there is no %s in the index", path);
    return i.ino;
}

unsigned pending_of(struct fixture *f, const char *path)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (find(f, path, &i) < 0)
        fail_msg("there is no %s in the index", path);
    return i.pending;
}

static bool join(const char *key, void *arg)
{
    char *text = arg;

    snprintf(text + strlen(text), 4096 - strlen(text), "%s%s", *text ? " " : "", key);
    return true;
}

const char *graves(struct fixture *f)
{
    static char keys[4096];

    *keys = '\0';
    assert_int_equal(index_graves(f->v->index, NULL, 1000, join, keys), 0);
    return keys;
}
