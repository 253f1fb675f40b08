/* The cast around a syncd under test. */
#include "tests/unit/syncd_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/store.h"
#include "tests/unit/files.h"

enum { TICK_MS = 200 };

/* --- the loop --------------------------------------------------------------------------------- */

static void on_tick(void *arg)
{
    *(bool *)arg = true;
}

/* Waits for at most one event; a timer sees to it that the caller gets to look at its clock. */
void fixture_turn(struct fixture *f)
{
    bool ticked = false;
    struct loop_timer *t = loop_timer(f->loop, TICK_MS, on_tick, &ticked);

    (void)event_base_loop(loop_base(f->loop), EVLOOP_ONCE);
    loop_timer_free(t);
}

static int listen_at(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)unlink(path);
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void on_answer(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct answer *a = arg;
    size_t n = reply ? lf__envelope__get_packed_size(reply) : 0;
    CLEANUP_FREE uint8_t *packed = xcalloc(1, n + 1);

    a->there = true;
    if (e) {
        a->e = *e;
        return;
    }
    lf__envelope__pack(reply, packed);
    a->reply = lf__envelope__unpack(NULL, n, packed);
    a->fd = fds[0];
    fds[0] = -1;
}

static struct answer ask(struct fixture *f, struct ipc_client *as, Lf__Envelope *request)
{
    struct answer a = { .fd = -1 };

    ipc_call(as, request, NULL, 0, 0, on_answer, &a);
    wait_until(f, a.there);
    return a;
}

struct answer fixture_ask(struct fixture *f, Lf__Envelope *request)
{
    return ask(f, f->frontd, request);
}

struct answer fixture_ask_as_mountd(struct fixture *f, Lf__Envelope *request)
{
    return ask(f, f->mountd, request);
}

void answer_free(struct answer *a)
{
    if (a->reply)
        lf__envelope__free_unpacked(a->reply, NULL);
    if (a->fd >= 0)
        close(a->fd);
    a->reply = NULL;
    a->fd = -1;
}

void expect_error(struct answer a, int code, const char *part)
{
    if (a.e.code != code || !strstr(error_text(&a.e), part))
        fail_msg("expected %d with \"%s\", got %d \"%s\"", code, part, a.e.code, a.e.text);
    answer_free(&a);
}

/* --- cryptd ----------------------------------------------------------------------------------- */

static void turn_bits(ProtobufCBinaryData *out, const ProtobufCBinaryData *in)
{
    out->len = in->len;
    out->data = xcalloc(1, in->len + 1);
    for (size_t i = 0; i < in->len; i++)
        out->data[i] = in->data[i] ^ 0x5a;
}

static void on_seal(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct fixture *f = daemon;
    Lf__Sealed sealed = LF__SEALED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(SEALED, sealed, &sealed);

    (void)fds;
    f->sealed++;
    snprintf(f->last_purpose, sizeof(f->last_purpose), "%s", env->seal->purpose);
    turn_bits(&sealed.sealed, &env->seal->plain);
    ipc_reply(req, &reply, NULL, 0);
    free(sealed.sealed.data);
}

static void on_unseal(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct fixture *f = daemon;
    Lf__Unsealed unsealed = LF__UNSEALED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(UNSEALED, unsealed, &unsealed);

    (void)fds;
    f->unsealed++;
    if (f->keys_lost) {
        ipc_fail(req, -ENOKEY, "The key store was lost or replaced.");
        return;
    }
    if (strcmp(f->last_purpose, env->unseal->purpose) != 0) {
        ipc_fail(req, -EPERM, "This was sealed for another purpose.");
        return;
    }
    turn_bits(&unsealed.plain, &env->unseal->sealed);
    ipc_reply(req, &reply, NULL, 0);
    free(unsealed.plain.data);
}

static const struct ipc_handler CRYPTD[] = {
    { LF__ENVELOPE__BODY_SEAL, on_seal },
    { LF__ENVELOPE__BODY_UNSEAL, on_unseal },
};

/* --- mountd ----------------------------------------------------------------------------------- */

bool fixture_is_mounted(const struct fixture *f, const char *drive_id)
{
    for (size_t i = 0; i < f->n_mounted; i++)
        if (strcmp(f->mounted[i], drive_id) == 0)
            return true;
    return false;
}

static void on_reported(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)e;
    (void)reply;
    (void)fds;
    (void)arg;
}

static void report(struct fixture *f, const char *id, bool mounted, const char *failure)
{
    Lf__Failure why = LF__FAILURE__INIT;
    Lf__MountReport msg = LF__MOUNT_REPORT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_REPORT, mount_report, &msg);

    why.code = EBUSY;
    why.text = (char *)failure;
    msg.drive_id = (char *)id;
    msg.mounted = mounted;
    msg.failure = failure ? &why : NULL;
    ipc_call(f->mountd, &env, NULL, 0, 0, on_reported, NULL);
}

static void mount_one(struct fixture *f, const char *id)
{
    if (!f->mount_failure && !fixture_is_mounted(f, id))
        snprintf(f->mounted[f->n_mounted++], sizeof(f->mounted[0]), "%s", id);
    report(f, id, fixture_is_mounted(f, id), f->mount_failure);
}

static bool wanted(const Lf__MountListed *listed, const char *id)
{
    for (size_t i = 0; i < listed->n_mounts; i++)
        if (strcmp(listed->mounts[i]->drive_id, id) == 0)
            return true;
    return false;
}

static void on_mount_list(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct fixture *f = arg;
    const Lf__MountListed *listed;

    (void)fds;
    if (e)
        return;
    listed = reply->mount_listed;
    for (size_t i = 0; i < listed->n_mounts; i++)
        mount_one(f, listed->mounts[i]->drive_id);
    for (size_t i = 0; i < f->n_mounted;) {
        char id[64];

        strcpy(id, f->mounted[i]);
        if (wanted(listed, id)) {
            i++;
            continue;
        }
        if (f->unmount_failure) {
            report(f, id, true, f->unmount_failure);
            i++;
            continue;
        }
        memmove(f->mounted[i], f->mounted[--f->n_mounted], sizeof(f->mounted[0]));
        report(f, id, false, NULL);
    }
    f->lists++;
}

static void ask_mounts(void *arg)
{
    struct fixture *f = arg;
    Lf__MountList list = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &list);

    ipc_call(f->mountd, &env, NULL, 0, 0, on_mount_list, f);
}

static void on_event(const Lf__Envelope *event, int *fds, void *arg)
{
    (void)fds;
    if (event->body_case == LF__ENVELOPE__BODY_MOUNTS_CHANGED)
        ask_mounts(arg);
}

/* --- up and down ------------------------------------------------------------------------------ */

static void start_syncd(struct fixture *f)
{
    struct syncd_spec spec = {
        .loop = f->loop, .config = f->config, .uid = getuid(), .gid = getgid(), .home = f->dir,
        .cryptd_path = f->cryptd_socket, .peers = f->peers, .n_peers = 4,
    };
    struct error e = { 0 };

    if (syncd_new(&spec, &f->syncd, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(ipc_server_listen(f->syncd->server, listen_at(f->socket)), 0);
}

static struct ipc_client *start_client(struct fixture *f, enum role role, bool events)
{
    struct ipc_client_spec spec = {
        .role = role, .peer = ROLE_SYNCD, .path = f->socket, .max_queue = 64, .event = events ? on_event : NULL,
        .connected = events ? ask_mounts : NULL, .arg = f,
    };

    return ipc_client_new(f->loop, &spec);
}

static void start_cryptd(struct fixture *f)
{
    struct ipc_server_spec spec = {
        .role = ROLE_CRYPTD, .handlers = CRYPTD, .n_handlers = ARRAY_SIZE(CRYPTD), .peers = f->peers, .n_peers = 4,
        .max_connections = 8, .max_queue = 64, .arg = f,
    };

    f->cryptd = ipc_server_new(f->loop, &spec);
    assert_int_equal(ipc_server_listen(f->cryptd, listen_at(f->cryptd_socket)), 0);
}

static void load_config(struct fixture *f)
{
    char state[128], root[128];
    const char *const sets[] = { state, root, "PoolThreads=1" };
    struct error e = { 0 };

    snprintf(state, sizeof(state), "StateDir=%s/state", f->dir);
    snprintf(root, sizeof(root), "MountRoot=%s", f->mount_root);
    if (config_load(NULL, sets, ARRAY_SIZE(sets), &f->config, &e) < 0)
        fail_msg("%s", e.text);
}

static void make_folder(const char *dir, const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "%s%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

struct fixture *fixture_on(const char *dir)
{
    static const enum role roles[] = { ROLE_FRONTD, ROLE_MOUNTD, ROLE_SYNCD, ROLE_CRYPTD };
    struct fixture *f = xcalloc(1, sizeof(*f));

    log_init("test", LOG_CRIT);
    snprintf(f->dir, sizeof(f->dir), "%s", dir);
    snprintf(f->socket, sizeof(f->socket), "%s/syncd.sock", f->dir);
    snprintf(f->cryptd_socket, sizeof(f->cryptd_socket), "%s/cryptd.sock", f->dir);
    snprintf(f->mount_root, sizeof(f->mount_root), "%s/mounts", f->dir);
    snprintf(f->cloud, sizeof(f->cloud), "%s/cloud", f->dir);
    if (!there(f->dir, "/state")) {
        make_folder(f->dir, "/state");
        make_folder(f->cloud, "");
        make_folder(f->cloud, "/bucket");
    }
    for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
        f->peers[i] = (struct ipc_peer_uid){ roles[i], getuid() };
    load_config(f);
    f->loop = loop_new(1);
    start_cryptd(f);
    start_syncd(f);
    f->frontd = start_client(f, ROLE_FRONTD, false);
    f->mountd = start_client(f, ROLE_MOUNTD, true);
    return f;
}

int fixture_set_up(void **state)
{
    char dir[] = "/tmp/landfall-syncd-XXXXXX";

    assert_non_null(mkdtemp(dir));
    *state = fixture_on(dir);
    return 0;
}

void fixture_restart(struct fixture *f)
{
    size_t lists = f->lists;

    syncd_free(f->syncd);
    start_syncd(f);
    wait_until(f, f->lists > lists);
}

int fixture_tear_down(void **state)
{
    struct fixture *f = *state;

    ipc_client_free(f->frontd);
    ipc_client_free(f->mountd);
    syncd_free(f->syncd);
    ipc_server_free(f->cryptd);
    loop_free(f->loop);
    config_free(f->config);
    assert_int_equal(files_remove(f->dir), 0);
    free(f);
    return 0;
}

/* --- what most tests begin with --------------------------------------------------------------- */

char *fixture_account(struct fixture *f)
{
    char url[128];
    char *id;
    Lf__CloudAccount account = LF__CLOUD_ACCOUNT__INIT;
    Lf__AccountInsert insert = LF__ACCOUNT_INSERT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(ACCOUNT_INSERT, account_insert, &insert);
    struct answer a;

    snprintf(url, sizeof(url), "file://%s", f->cloud);
    account.name = (char *)"local";
    account.has_cloud_type = true;
    account.cloud_type = 1048576;
    account.service_url = url;
    insert.account = &account;
    a = fixture_ask(f, &env);
    if (a.e.code)
        fail_msg("%s", a.e.text);
    id = xstrdup(a.reply->account_stored->account->id);
    answer_free(&a);
    return id;
}

struct answer fixture_insert(struct fixture *f, Lf__CloudDrive *drive)
{
    Lf__DriveInsert insert = LF__DRIVE_INSERT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_INSERT, drive_insert, &insert);

    insert.drive = drive;
    return fixture_ask(f, &env);
}

char *fixture_drive(struct fixture *f, const char *account, const char *name)
{
    Lf__CloudAccount ref = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudDrive drive = LF__CLOUD_DRIVE__INIT;
    struct answer a;
    char *id;

    ref.id = (char *)account;
    drive.account = &ref;
    drive.name = (char *)name;
    drive.storage_name = (char *)"bucket";
    a = fixture_insert(f, &drive);
    if (a.e.code)
        fail_msg("%s", a.e.text);
    id = xstrdup(a.reply->drive_stored->drive->id);
    answer_free(&a);
    return id;
}

bool there(const char *dir, const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s%s", dir, name);
    return access(path, F_OK) == 0;
}

bool fixture_has_blob(const struct fixture *f, const struct store_keys *s)
{
    static const char *const FILES[] = { "state.db", "state.db-wal" };
    char path[160];

    for (size_t i = 0; i < ARRAY_SIZE(FILES); i++) {
        (void)snprintf(path, sizeof(path), "%s/state/%s", f->dir, FILES[i]);
        if (file_contains(path, (uint8_t *)s->blob + 40, 24))   /* its nonce */
            return true;
    }
    return false;
}
