/* The played neighbours. */
#include "tests/unit/frontd_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/metrics.h"
#include "common/alloc.h"

enum { PAGES = 40, PAGE_LENGTH = 100, BOX = 65536 };

/* --- handlers of the played syncd ------------------------------------------------------------ */

static void get_status(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__AgentStatus status = LF__AGENT_STATUS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(AGENT_STATUS, agent_status, &status);

    (void)fds;
    ((struct fixture *)arg)->last_trace = env->trace;
    status.status = 1;
    ipc_reply(r, &reply, NULL, 0);
}

static void watch_events(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    struct fixture *f = arg;

    (void)env;
    (void)fds;
    f->watcher = ipc_request_peer(r);
    f->watched++;
    ipc_done(r);
}

static void lose_peer(struct ipc_peer *p, void *arg)
{
    struct fixture *f = arg;

    if (f->watcher == p)
        f->watcher = NULL;
}

static void take_command(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)fds;
    ((struct fixture *)arg)->commanded = env->agent_command->command;
    ipc_done(r);
}

/* "/pages": PAGES pages of PAGE_LENGTH objects; "/broken": fails after the first; "/none": an empty list;
 * "/gaps": pages without objects before the last. */
static void list_objects(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    struct fixture *f = arg;
    const Lf__ObjectInfoList *q = env->object_info_list;
    int page = q->page ? atoi(q->page) : 0, last = strcmp(q->path, "/none") == 0 ? 0 : PAGES - 1;
    Lf__ObjectInfo object = LF__OBJECT_INFO__INIT, *objects[PAGE_LENGTH];
    Lf__ObjectInfoListed listed = LF__OBJECT_INFO_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_INFO_LISTED, object_info_listed, &listed);
    char next[16];

    (void)fds;
    f->pages++;
    if (strcmp(q->path, "/broken") == 0 && page) {
        ipc_fail(r, -EHOSTUNREACH, "The cloud is gone.");
        return;
    }
    object.path = (char *)"/a \"b\"";
    object.has_size = true;
    object.size = page;
    for (size_t i = 0; i < PAGE_LENGTH; i++)
        objects[i] = &object;
    listed.objects = objects;
    listed.n_objects = last && (strcmp(q->path, "/gaps") != 0 || page == last) ? PAGE_LENGTH : 0;
    (void)snprintf(next, sizeof(next), "%d", page + 1);
    listed.next_page = page < last ? next : (char *)"";
    ipc_reply(r, &reply, NULL, 0);
}

static void list_buckets(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    const Lf__BucketList *q = env->bucket_list;
    Lf__Bucket bucket = LF__BUCKET__INIT, *buckets[] = { &bucket };
    Lf__BucketCollection collection = LF__BUCKET_COLLECTION__INIT;
    Lf__BucketListed listed = LF__BUCKET_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(BUCKET_LISTED, bucket_listed, &listed);

    (void)fds;
    (void)arg;
    bucket.name = q->page ? q->page : (char *)"first";
    bucket.region = q->include_region ? (char *)"here" : NULL;
    collection.data = buckets;
    collection.n_data = 1;
    collection.continuation_token = (char *)"";
    listed.collection = &collection;
    listed.next_page = q->page || !q->account || !q->account->id ? NULL : q->account->id;
    ipc_reply(r, &reply, NULL, 0);
}

static void reply_drive(struct ipc_request *r, Lf__CloudDrive *drive)
{
    Lf__DriveStored stored = LF__DRIVE_STORED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_STORED, drive_stored, &stored);

    stored.drive = drive;
    ipc_reply(r, &reply, NULL, 0);
}

/* The name of the drive says what becomes of it. */
static void insert_drive(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__CloudDrive *drive = env->drive_insert->drive;

    (void)fds;
    (void)arg;
    if (!drive->name)
        ipc_fail(r, -EINVAL, "A drive needs a name.");
    else if (strcmp(drive->name, "taken") == 0)
        ipc_fail(r, -EEXIST, "There is a drive of that name.");
    else if (strcmp(drive->name, "boom") == 0)
        ipc_fail(r, -EIO, "secret detail");
    else if (strcmp(drive->name, "outside") == 0)
        ipc_fail(r, -EPERM, "%s", "");
    else
        reply_drive(r, drive);
}

/* One drive of f->drive's name, in that state. */
static void list_drives(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    struct fixture *f = arg;
    const Lf__DriveList *q = env->drive_list;
    Lf__CloudDrive drive = LF__CLOUD_DRIVE__INIT, *drives[] = { &drive };
    Lf__DriveListed listed = LF__DRIVE_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_LISTED, drive_listed, &listed);

    (void)fds;
    f->known = q->has_known ? q->known : 0;
    if (f->hold_drives) {
        f->held[f->n_held++] = r;
        return;
    }
    drive.name = f->drive;
    listed.drives = drives;
    listed.has_state = f->drive_state != 0 && !q->path;
    listed.state = f->drive_state;
    listed.n_drives = !listed.has_state || f->known != f->drive_state;
    f->drives_said += listed.n_drives;
    ipc_reply(r, &reply, NULL, 0);
}

static void update_drive(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)fds;
    (void)arg;
    if (strcmp(env->drive_update->id, "known id") != 0)
        ipc_fail(r, -ENOENT, "There is no drive %s.", env->drive_update->id);
    else
        reply_drive(r, env->drive_update->drive);
}

static void delete_drive(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)fds;
    (void)arg;
    if (env->drive_delete->force)
        ipc_done(r);
    else
        ipc_fail(r, -EBUSY, "3 files are not uploaded.");
}

static void exists_drive(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__DriveExistence existence = LF__DRIVE_EXISTENCE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_EXISTENCE, drive_existence, &existence);

    (void)fds;
    (void)arg;
    existence.exists = strcmp(env->drive_exists->path, "/none") == 0 ? (char *)"0" : (char *)"1";
    ipc_reply(r, &reply, NULL, 0);
}

static void delete_account(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__AccountDeleted deleted = LF__ACCOUNT_DELETED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(ACCOUNT_DELETED, account_deleted, &deleted);

    (void)env;
    (void)fds;
    (void)arg;
    deleted.deleted = true;
    ipc_reply(r, &reply, NULL, 0);
}

static void get_object_status(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    struct fixture *f = arg;
    Lf__ObjectStatus status = LF__OBJECT_STATUS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_STATUS, object_status, &status);

    (void)fds;
    if (strcmp(env->object_status_get->path, "/hold") == 0) {
        f->held[f->n_held++] = r;
        return;
    }
    status.state = (int32_t)strlen(env->object_status_get->path);
    ipc_reply(r, &reply, NULL, 0);
}

/* Both ways. The paths are at the same place. */
static void keep_offline(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)fds;
    (void)arg;
    if (strcmp(env->object_make_offline->path, "/none") == 0)
        ipc_fail(r, -ENOENT, "No drive owns the path /none.");
    else
        ipc_done(r);
}

static void get_object_info(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__ObjectInfo info = LF__OBJECT_INFO__INIT;
    Lf__ObjectInfoFound found = LF__OBJECT_INFO_FOUND__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_INFO_FOUND, object_info_found, &found);

    (void)fds;
    (void)arg;
    info.path = env->object_info_get->path;
    info.has_size = true;
    info.size = strcmp(info.path, "/empty") == 0 ? 0 : OBJECT_SIZE;
    found.info = &info;
    ipc_reply(r, &reply, NULL, 0);
}

/* --- streams --------------------------------------------------------------------------------- */

char object_byte(int64_t position)
{
    return (char)(position * 31 + position / 4096);
}

static void end_stream(struct fixture *f)
{
    if (f->writable)
        event_free(f->writable);
    if (f->stream >= 0)
        close(f->stream);
    f->writable = NULL;
    f->stream = -1;
}

static void on_writable(int fd, short what, void *arg)
{
    struct fixture *f = arg;
    char box[BOX];
    int64_t left = f->end - f->position;
    size_t n = left < BOX ? (size_t)left : BOX;
    ssize_t written;

    (void)what;
    for (size_t i = 0; i < n; i++)
        box[i] = object_byte(f->position + (int64_t)i);
    written = write(fd, box, n);
    if (written > 0)
        f->position += written;
    f->stream_closed = written < 0 && errno == EPIPE;
    if (f->position == f->end || f->stream_closed)
        end_stream(f);
}

/* "/short" ends in the middle; "/mad" answers nonsense; "/empty" is empty. */
static void open_stream(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    struct fixture *f = arg;
    const Lf__StreamOpen *q = env->stream_open;
    Lf__StreamOpened opened = LF__STREAM_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(STREAM_OPENED, stream_opened, &opened);
    int ends[2];

    (void)fds;
    f->opened = *q;
    opened.size = strcmp(q->path, "/empty") == 0 ? 0 : OBJECT_SIZE;
    opened.first = q->has_start ? q->start : 0;
    opened.last = q->has_end && q->end < opened.size ? q->end : opened.size - 1;
    opened.etag = strcmp(q->path, "/quoted") == 0 ? (char *)"\"abc\"" : (char *)"abc";
    opened.last_modified = (char *)"2026-01-02T03:04:05Z";
    if (strcmp(q->path, "/mad") == 0)
        opened.last = opened.size;
    if (opened.first >= opened.size && opened.first) {
        ipc_fail(r, -ERANGE, "The range lies outside.");
        return;
    }
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    end_stream(f);
    f->stream = ends[1];
    f->stream_closed = false;
    f->position = opened.first;
    f->end = strcmp(q->path, "/short") == 0 ? opened.size / 2 : opened.last + 1;
    f->writable = event_new(loop_base(f->loop), ends[1], EV_WRITE | EV_PERSIST, on_writable, f);
    event_add(f->writable, NULL);
    ipc_reply(r, &reply, &ends[0], 1);
    close(ends[0]);
}

static void presign(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__PresignedUrls urls = LF__PRESIGNED_URLS__INIT;
    Lf__Presigned presigned = LF__PRESIGNED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(PRESIGNED, presigned, &presigned);

    (void)fds;
    (void)arg;
    urls.download_url = env->presign->relative_path;
    urls.upload_url = env->presign->upload_key;
    presigned.urls = &urls;
    ipc_reply(r, &reply, NULL, 0);
}

/* --- forms ------------------------------------------------------------------------------------ */

/* Who reads the pipe is the test. */
static void open_form(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    struct fixture *f = arg;
    Lf__FormOpened opened = LF__FORM_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FORM_OPENED, form_opened, &opened);
    int ends[2];

    (void)env;
    (void)fds;
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    f->form = ends[0];
    opened.form = 1;
    ipc_reply(r, &reply, &ends[1], 1);
    close(ends[1]);
}

static void take_form(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    ((struct fixture *)arg)->forms_done++;
    ipc_done(r);
}

/* --- shutting down --------------------------------------------------------------------------- */

static void note_shutdown(struct fixture *f, enum role role, struct ipc_request *r)
{
    f->shutdowns[f->n_shutdowns++] = role;
    if (role == ROLE_MOUNTD && f->hold_shutdown)
        f->held[f->n_held++] = r;
    else if (role == ROLE_MOUNTD && f->refuse_shutdown)
        ipc_fail(r, -f->refuse_shutdown, "Something is busy.");
    else
        ipc_done(r);
}

static void shut_syncd(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    note_shutdown(arg, ROLE_SYNCD, r);
}

static void shut_mountd(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    note_shutdown(arg, ROLE_MOUNTD, r);
}

static void shut_cryptd(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    note_shutdown(arg, ROLE_CRYPTD, r);
}

/* --- metrics ---------------------------------------------------------------------------------- */

/* Two pages of syncd's, which belong together; mountd fails; cryptd answers. */
static void reply_metrics(struct ipc_request *r, const char *name, char *next_page)
{
    CLEANUP(samples_free) struct samples s = { 0 };
    Lf__Metrics metrics = LF__METRICS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(METRICS, metrics, &metrics);

    SAMPLE(&s, METRIC_UPTIME, 7, name, "");
    metrics.samples = s.list;
    metrics.n_samples = s.n;
    metrics.next_page = next_page;
    ipc_reply(r, &reply, NULL, 0);
}

static void syncd_metrics(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)fds;
    (void)arg;
    if (!env->metrics_get->page)
        reply_metrics(r, "syncd", (char *)"more");
    else
        reply_metrics(r, "of page \"more\"", NULL);
}

static void mountd_metrics(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    (void)arg;
    ipc_fail(r, -EMSGSIZE, "Too much.");
}

static void cryptd_metrics(struct ipc_request *r, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    (void)arg;
    reply_metrics(r, "cryptd", NULL);
}

/* --- the fixture ----------------------------------------------------------------------------- */

#define B(name) LF__ENVELOPE__BODY_##name

static const struct ipc_handler syncd[] = {
    { B(SHUTDOWN), shut_syncd },
    { B(METRICS_GET), syncd_metrics },
    { B(AGENT_STATUS_GET), get_status },
    { B(AGENT_COMMAND), take_command },
    { B(EVENTS_WATCH), watch_events },
    { B(DRIVE_LIST), list_drives },
    { B(DRIVE_INSERT), insert_drive },
    { B(DRIVE_UPDATE), update_drive },
    { B(DRIVE_DELETE), delete_drive },
    { B(DRIVE_EXISTS), exists_drive },
    { B(ACCOUNT_DELETE), delete_account },
    { B(BUCKET_LIST), list_buckets },
    { B(OBJECT_INFO_GET), get_object_info },
    { B(OBJECT_INFO_LIST), list_objects },
    { B(OBJECT_STATUS_GET), get_object_status },
    { B(OBJECT_MAKE_OFFLINE), keep_offline },
    { B(OBJECT_REMOVE_OFFLINE), keep_offline },
    { B(OBJECT_ACCEPT), keep_offline },
    { B(OBJECT_ENCRYPT), keep_offline },
    { B(OBJECT_ENCRYPT_STOP), keep_offline },
    { B(STREAM_OPEN), open_stream },
    { B(PRESIGN), presign },
    { B(FORM_OPEN), open_form },
    { B(FORM_DONE), take_form },
}, mountd[] = { { B(SHUTDOWN), shut_mountd }, { B(METRICS_GET), mountd_metrics } },
  cryptd[] = { { B(SHUTDOWN), shut_cryptd }, { B(METRICS_GET), cryptd_metrics } };

static int listen_packets(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void play(struct fixture *f, enum role role, const struct ipc_handler *handlers, size_t n)
{
    static struct ipc_peer_uid peer = { .role = ROLE_FRONTD };
    struct ipc_server_spec spec = {
        .role = role, .handlers = handlers, .n_handlers = n, .peers = &peer, .n_peers = 1,
        .max_connections = 4, .max_queue = 1024, .peer_lost = lose_peer, .arg = f,
    };

    peer.uid = getuid();
    (void)snprintf(f->paths[role], sizeof(f->paths[role]), "%s/%s", f->dir, role_name(role));
    f->servers[role] = ipc_server_new(f->loop, &spec);
    assert_int_equal(ipc_server_listen(f->servers[role], listen_packets(f->paths[role])), 0);
}

static void on_stop(void *arg)
{
    struct fixture *f = arg;

    f->stopped = true;
}

enum { SETS_MAX = 16 };

/* A port that is free at ::1, too: others may have it there. Returns the socket at 127.0.0.1. */
static int listen_both(uint16_t *ret_port, int *ret_fd6)
{
    int fd;

    for (unsigned tries = 0;; tries++) {
        *ret_port = 0;
        fd = listen_loopback(AF_INET, ret_port);
        *ret_fd6 = listen_loopback(AF_INET6, ret_port);
        if (*ret_fd6 >= 0)
            return fd;
        (void)close(fd);
        assert_true(tries < 100);
    }
}

static void start_frontd(struct fixture *f, const char *const *more, size_t n)
{
    int fd6, fd = listen_both(&f->port, &fd6);
    char url[64];
    const char *sets[SETS_MAX] = { url, "CorsOrigins=https://app.example.org", "IpcTimeoutSeconds=60",
                                   "MaxBodyBytes=1024", "MaxReplyBytes=65536" };
    size_t n_sets = 5;
    struct frontd_spec spec = { .loop = f->loop, .served_uid = getuid() };
    struct error e = { 0 };

    (void)snprintf(url, sizeof(url), "HostUrl=http://localhost:%u", f->port);
    assert_true(n_sets + n <= SETS_MAX);
    for (size_t i = 0; i < n; i++)
        sets[n_sets++] = more[i];
    assert_int_equal(config_load(NULL, sets, n_sets, &f->config, &e), 0);
    /* Below what the configuration accepts would be too small for these tests, and the default too large. */
    f->config->max_reply_bytes = 200000;
    spec.config = f->config;
    for (enum role role = ROLE_SYNCD; role <= ROLE_CRYPTD; role++)
        spec.paths[role] = f->paths[role];
    assert_int_equal(frontd_new(&spec, &f->frontd, &e), 0);
    assert_int_equal(frontd_listen(f->frontd, fd, &e), 0);
    assert_int_equal(frontd_listen(f->frontd, fd6, &e), 0);
    assert_int_equal(frontd_listen(f->frontd, listen_unix(f->api), &e), 0);
}

int frontd_set_up(void **state)
{
    return frontd_set_up_with(state, NULL, 0);
}

int frontd_set_up_with(void **state, const char *const *sets, size_t n)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    strcpy(f->dir, "/tmp/frontd.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->api, sizeof(f->api), "%s/api", f->dir);
    f->stream = -1;
    f->loop = loop_new(0);
    loop_on_stop(f->loop, on_stop, f);
    play(f, ROLE_SYNCD, syncd, ARRAY_SIZE(syncd));
    play(f, ROLE_MOUNTD, mountd, ARRAY_SIZE(mountd));
    play(f, ROLE_CRYPTD, cryptd, ARRAY_SIZE(cryptd));
    start_frontd(f, sets, n);
    turn_until(f->loop, ipc_client_connected(f->frontd->peers[ROLE_SYNCD]) &&
                            ipc_client_connected(f->frontd->peers[ROLE_MOUNTD]) &&
                            ipc_client_connected(f->frontd->peers[ROLE_CRYPTD]));
    *state = f;
    return 0;
}

int frontd_tear_down(void **state)
{
    struct fixture *f = *state;

    frontd_free(f->frontd);
    for (size_t i = 0; i < f->n_held; i++)
        ipc_fail(f->held[i], -ECANCELED, "over");
    end_stream(f);
    for (enum role role = ROLE_SYNCD; role <= ROLE_CRYPTD; role++) {
        ipc_server_free(f->servers[role]);
        (void)unlink(f->paths[role]);
    }
    (void)unlink(f->api);
    (void)rmdir(f->dir);
    loop_free(f->loop);
    config_free(f->config);
    free(f);
    return 0;
}

const char *make_request(const struct fixture *f, char *out, size_t size, const char *line, const char *fields,
                         const char *body)
{
    int n = snprintf(out, size, "%s HTTP/1.1\r\nHost: localhost:%u\r\n%s", line, f->port, fields);

    if (body)
        n += snprintf(out + n, size - (size_t)n, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                      strlen(body));
    n += snprintf(out + n, size - (size_t)n, "\r\n%s", body ? body : "");
    assert_true((size_t)n < size);
    return out;
}

struct reply request(struct fixture *f, const char *line, const char *fields, const char *body)
{
    char text[8192];

    return ask_once(f->loop, f->port, make_request(f, text, sizeof(text), line, fields, body));
}

void expect_reply(struct fixture *f, const char *line, const char *fields, const char *body, int status,
                  const char *code, const char *text)
{
    struct reply r = request(f, line, fields, body);
    const char *said = reply_field(&r, "error-code");

    said = said ? said : "";
    if (r.status != status || strcmp(said, code ? code : "") != 0 || (text && strcmp(r.body, text) != 0))
        fail_msg("%s %s -> %d %s %s", line, body ? body : "", r.status, said, r.body);
    assert_true(r.whole);
    reply_free(&r);
}
