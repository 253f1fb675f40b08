/* Owns the answers to those who ask for objects to be encrypted, or how far that is.
 *
 * Must not know how it is done (encrypt.c). */
#include "syncd/encrypt_ask.h"

#include <errno.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/encrypt.h"
#include "syncd/object.h"
#include "syncd/store_encrypt.h"

enum { SHOWN_FAILURES = 16 };

/* --- what is to be encrypted ------------------------------------------------------------------------- */

static int check(struct volume *v, struct error *e)
{
    if (!object_seals(v))
        return error_set(e, -EINVAL, "The drive does not encrypt what it puts into the cloud, so what is there already "
                         "is not encrypted either. Change that first (cloudObjectsEncrypted).");
    return v->read_only ? error_set(e, -EROFS, "%s", error_meaning(EROFS)->text) : 0;
}

static int put(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(v->index, ino, &i);

    if (r < 0 || !(S_ISREG(i.mode) || S_ISDIR(i.mode)))
        return r;
    r = index_encrypt_anew(v->index);
    return r < 0 ? r : index_encrypt_put(v->index, ino, S_ISDIR(i.mode), i.size);
}

static void answer(struct volume *v, int r, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };

    if (r < 0) {
        error_set(&e, r, "%s", error_meaning(r)->text);
        done(&e, arg);
        return;
    }
    encrypter_begin(v);
    volume_answer_durably(v, done, arg);
}

void volume_encrypt(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    struct error e;
    int r;

    if (check(v, &e) < 0) {
        done(&e, arg);
        return;
    }
    r = index_begin(v->index);
    answer(v, r == 0 ? index_end(v->index, put(v, ino)) : r, done, arg);
}

void volume_encrypt_stop(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    int r = index_begin(v->index);

    if (r == 0)
        r = index_end(v->index, index_encrypt_forget_below(v->index, ino));
    uploader_kick(v->uploader);
    answer(v, r, done, arg);
}

/* --- how far it is ----------------------------------------------------------------------------------- */

struct encrypt_wait {
    LIST_ENTRY(encrypt_wait) next;
    struct volume *volume;
    struct loop_timer *timer;
    volume_encryption_fn *done;
    void *arg;
};

struct failures {
    struct volume *volume;
    Lf__Encryption *shown;
};

static bool add_failure(uint64_t ino, const char *reason, void *arg)
{
    struct failures *f = arg;
    Lf__EncryptionFailure *one = xcalloc(1, sizeof(*one));
    char *path = index_path(f->volume->index, ino);

    lf__encryption_failure__init(one);
    one->path = path ? path : xstrdup("");
    one->reason = xstrdup(reason);
    *xadd(f->shown->failures, f->shown->n_failures) = one;
    return f->shown->n_failures < SHOWN_FAILURES;
}

/* lf__encryption__free_unpacked() it. */
static Lf__Encryption *progress(struct volume *v)
{
    Lf__Encryption *p = xcalloc(1, sizeof(*p));
    struct index_encryption now;

    (void)index_encryption(v->index, &now);
    lf__encryption__init(p);
    p->has_files_left = p->has_bytes_left = p->has_folders_left = true;
    p->has_files_done = p->has_bytes_done = p->has_failed = true;
    p->files_left = (int64_t)now.files;
    p->bytes_left = (int64_t)now.bytes;
    p->folders_left = (int64_t)now.directories;
    p->files_done = (int64_t)now.done;
    p->bytes_done = (int64_t)now.done_bytes;
    p->failed = (int64_t)now.failed;
    if (now.failed)
        (void)index_encrypt_failures(v->index, add_failure, &(struct failures){ v, p });
    return p;
}

static void tell(struct encrypt_wait *a, const struct error *e)
{
    static const struct error none;
    struct encrypt_wait told = *a;
    Lf__Encryption *p = e ? NULL : progress(told.volume);

    LIST_REMOVE(a, next);
    loop_timer_free(a->timer);
    free(a);
    told.done(e ? e : &none, p, told.arg);
    if (p)
        lf__encryption__free_unpacked(p, NULL);
}

static void on_deadline(void *arg)
{
    tell(arg, NULL);
}

void encrypt_asked_look(struct volume *v)
{
    struct index_encryption now;
    struct encrypt_wait *a;

    if (LIST_EMPTY(&v->encrypt_waits) || index_encryption(v->index, &now) < 0 || now.files || now.directories)
        return;
    while ((a = LIST_FIRST(&v->encrypt_waits)))
        tell(a, NULL);
}

void encrypt_asked_end(struct volume *v)
{
    static const struct error closed = { -ECANCELED, "The drive was closed." };
    struct encrypt_wait *a;

    while ((a = LIST_FIRST(&v->encrypt_waits)))
        tell(a, &closed);
}

void volume_encryption(struct volume *v, unsigned seconds, volume_encryption_fn *done, void *arg)
{
    struct encrypt_wait *a = xcalloc(1, sizeof(*a));

    *a = (struct encrypt_wait){ .volume = v, .done = done, .arg = arg };
    LIST_INSERT_HEAD(&v->encrypt_waits, a, next);
    if (seconds)
        a->timer = loop_timer(v->loop, (uint64_t)seconds * 1000, on_deadline, a);
    else
        tell(a, NULL);
    encrypt_asked_look(v);
}
