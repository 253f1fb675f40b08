/* Files of forms on their way here. The loop waits for bytes, the pool moves them from the pipe to the disk. Must not
 * know HTTP. */
#include "syncd/form.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/bucket_key.h"
#include "syncd/bucket_upload.h"
#include "syncd/syncd.h"

enum { FORMS_MOST = 16, FORGET_MS = 30000, PIPE_SIZE = 1 << 20, TURN_MOST = 16 << 20 };

struct form {
    TAILQ_ENTRY(form) next;
    struct forms *all;            /* NULL: it is given up */
    struct loop *loop;
    uint64_t id, got, most;
    int pipe, fd;
    struct event *readable;
    struct loop_timer *forget;    /* it has failed, and nobody may ask */
    bool working;                 /* a job is under way */
    /* of the job */
    int code;                     /* 0: there may be more later; 1: the pipe was closed; or negative errno */
    uint64_t moved;
    /* once it is all sent */
    struct ipc_request *req;
    Lf__FormDone *done;           /* owned */
};

TAILQ_HEAD(form_list, form);

struct forms {
    struct syncd *d;
    struct form_list list;
    unsigned n;
};

/* --- life -------------------------------------------------------------------------------------------------- */

static void free_form(struct form *f)
{
    loop_timer_free(f->forget);
    if (f->readable)
        event_free(f->readable);
    cleanup_close(&f->pipe);
    cleanup_close(&f->fd);
    if (f->done)
        lf__form_done__free_unpacked(f->done, NULL);
    free(f);
}

/* It is forgotten, as soon as nobody works at it. */
static void drop(struct form *f)
{
    TAILQ_REMOVE(&f->all->list, f, next);
    f->all->n--;
    f->all = NULL;
    if (!f->working)
        free_form(f);
}

static void fail(struct form *f, const struct error *e)
{
    ipc_fail_error(f->req, e);
    drop(f);
}

/* --- what came ----------------------------------------------------------------------------------------------- */

static int begin_upload(struct form *f, struct haul *haul, struct error *e)
{
    const Lf__FormDone *q = f->done;
    CLEANUP_FREE char *key = NULL;
    struct bucket_upload_spec spec = { .id = q->id, .path = q->file_name, .size = f->got, .form = true,
                                       .overwrite = q->has_overwrite && q->overwrite };
    int r = bucket_key_make("The name of the file", q->upload_path, q->file_name, "", &key, e);

    spec.key = key;
    return r < 0 ? r : bucket_upload_begin(haul, take_fd(&f->fd), &spec, e);
}

static void account_kept(struct haul *haul, const struct error *why, void *arg)
{
    struct form *f = arg;
    struct error e = { 0 };

    f->working = false;
    if (!f->all) {
        haul_drop(haul);
        free_form(f);
        return;
    }
    if (!why && begin_upload(f, haul, &e) < 0)
        why = &e;
    if (why) {
        haul_drop(haul);
        fail(f, why);
        return;
    }
    ipc_done(f->req);
    drop(f);
}

static void take_over(struct form *f)
{
    struct haul *haul = bucket_upload_new(f->all->d, ipc_request_trace(f->req));
    const Lf__FormDone *q = f->done;
    struct error e = { 0 };

    if (haul_open(haul, q->cloud_account, NULL, q->storage_name, &e) < 0) {
        haul_drop(haul);
        fail(f, &e);
        return;
    }
    f->working = true;
    haul_keep_account(haul, account_kept, f);
}

/* Whether it is decided what becomes of it: then it is gone. */
static bool settled(struct form *f)
{
    struct error e;

    if (!f->req && f->code != 1)
        return false;
    if (!f->req) {
        drop(f);
        return true;
    }
    if (f->code < 0)
        error_set(&e, f->code, "The file could not be kept until its upload: %s.", strerror(-f->code));
    else if (f->got > f->done->size || (f->code == 1 && f->got < f->done->size))
        error_set(&e, -EPROTO, "The file of the form did not come as it was announced.");
    else if (f->got < f->done->size)
        return false;
    if (f->code >= 0 && f->got == f->done->size)
        take_over(f);
    else
        fail(f, &e);
    return true;
}

/* --- the pipe ------------------------------------------------------------------------------------------------ */

static void move_bytes(void *arg)
{
    struct form *f = arg;

    f->moved = 0;
    f->code = 0;
    while (f->code == 0 && f->moved < TURN_MOST) {
        ssize_t n = splice(f->pipe, NULL, f->fd, NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

        if (n > 0)
            f->moved += (uint64_t)n;
        else if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        else
            f->code = n == 0 ? 1 : -errno;
        if (f->got + f->moved > f->most)
            f->code = -EFBIG;
    }
}

static void forget(void *arg)
{
    drop(arg);
}

static void moved(void *arg)
{
    struct form *f = arg;

    f->working = false;
    if (!f->all) {
        free_form(f);
        return;
    }
    f->got += f->moved;
    if (f->code < 0) {
        (void)close(take_fd(&f->pipe));   /* tells the sender, who asks why */
        event_free(take_ptr(f->readable));
        f->forget = loop_timer(f->loop, FORGET_MS, forget, f);
    }
    if (!settled(f) && f->readable)
        (void)event_add(f->readable, NULL);
}

static void on_readable(int fd, short what, void *arg)
{
    struct form *f = arg;

    (void)fd, (void)what;
    f->working = true;
    loop_work(f->loop, move_bytes, moved, f);
}

/* --- asked ----------------------------------------------------------------------------------------------------- */

/* Without a name; where the file system knows no such files, it loses the one it had at once. */
static int nameless_file(const char *dir)
{
    CLEANUP_FREE char *path = NULL;
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd < 0 ? -errno : fd;
    if (asprintf(&path, "%s/form-XXXXXX", dir) < 0)
        abort();
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    (void)unlink(path);
    return fd;
}

static int open_ends(struct form *f, const char *dir, int *ret_fd)
{
    int ends[2];

    f->fd = nameless_file(dir);
    if (f->fd < 0)
        return f->fd;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    f->pipe = ends[0];
    *ret_fd = ends[1];
    (void)fcntl(f->pipe, F_SETPIPE_SZ, PIPE_SIZE);
    f->readable = event_new(loop_base(f->loop), f->pipe, EV_READ, on_readable, f);
    if (!f->readable || event_add(f->readable, NULL) < 0)
        abort();
    return 0;
}

static struct form *form_new(struct forms *all)
{
    struct form *f = xcalloc(1, sizeof(*f));

    *f = (struct form){ .all = all, .loop = all->d->loop, .pipe = -1, .fd = -1,
                        .most = (uint64_t)all->d->config->max_form_bytes };
    /* Who sends one does not notice a restart at once: an id must mean no other form in the next process. */
    if (getrandom(&f->id, sizeof(f->id), 0) != (ssize_t)sizeof(f->id))
        abort();
    TAILQ_INSERT_TAIL(&all->list, f, next);
    all->n++;
    return f;
}

void form_open(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct forms *all = ((struct syncd *)daemon)->forms;
    Lf__FormOpened opened = LF__FORM_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FORM_OPENED, form_opened, &opened);
    CLEANUP_CLOSE int end = -1;
    struct form *f;
    int r;

    (void)env, (void)fds;
    if (all->n >= FORMS_MOST) {
        ipc_fail(req, -EAGAIN, "%d forms with files are on their way already; try again when one has come.",
                 FORMS_MOST);
        return;
    }
    f = form_new(all);
    r = open_ends(f, all->d->state_dir, &end);
    if (r < 0) {
        ipc_fail(req, r, "There is no place to keep the file until its upload: %s.", strerror(-r));
        drop(f);
        return;
    }
    opened.form = f->id;
    ipc_reply(req, &reply, &end, 1);
}

void form_done(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct forms *all = ((struct syncd *)daemon)->forms;
    struct form *f;

    (void)fds;
    TAILQ_FOREACH(f, &all->list, next)
        if (f->id == env->form_done->form && !f->req)
            break;
    if (!f) {
        ipc_fail(req, -ECONNRESET, "The file of the form was lost on its way; send it again.");
        return;
    }
    f->req = req;
    f->done = message_copy(&env->form_done->base);
    if (!f->working)
        (void)settled(f);
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

struct forms *forms_new(struct syncd *d)
{
    struct forms *all = xcalloc(1, sizeof(*all));

    all->d = d;
    TAILQ_INIT(&all->list);
    return all;
}

void forms_close(struct forms *all)
{
    while (all && !TAILQ_EMPTY(&all->list))
        drop(TAILQ_FIRST(&all->list));
}

void forms_free(struct forms *all)
{
    forms_close(all);
    free(all);
}
