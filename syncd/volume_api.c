/* Paths and objects as the HTTP API asks for them: a path is walked name by name, with the listings
 * that are missing fetched on the way. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/name.h"
#include "syncd/object.h"
#include "syncd/waits.h"

enum { TRIES = 3 };

/* FileState, numbering A. */
enum { STATE_NORMAL = 0, STATE_UPLOADING = 1, STATE_ENCRYPTING = 7, STATE_ERROR = 10 };

/* --- walking ---------------------------------------------------------------------------------------- */

struct walk {
    struct volume *v;
    char *path;                      /* owned */
    const char *rest;                /* of it: what is still to be walked */
    uint64_t ino;                    /* as far as it got */
    /* who asked */
    void (*arrived)(struct walk *w);
    void (*stat_done)(const struct error *e, const struct volume_node *n, void *arg);
    bool (*each)(const struct volume_node *n, void *arg);
    void (*list_done)(const struct error *e, bool more, void *arg);
    void *arg;
    char *after;                     /* owned */
    bool more;
    unsigned tries;
};

static struct walk *walk_new(struct volume *v, const char *path, void *arg)
{
    struct walk *w = xcalloc(1, sizeof(*w));

    w->v = v;
    w->path = xstrdup(path);
    w->rest = w->path + strspn(w->path, "/");
    w->ino = INDEX_ROOT;
    w->arg = arg;
    return w;
}

static void walk_free(struct walk *w)
{
    free(w->path);
    free(w->after);
    free(w);
}

static void fail(struct walk *w, const struct error *e)
{
    if (w->stat_done)
        w->stat_done(e, NULL, w->arg);
    else
        w->list_done(e, false, w->arg);
    walk_free(w);
}

static void fail_with(struct walk *w, int code)
{
    struct error e = { 0 };

    if (code == -ENOENT)
        error_set(&e, code, "There is no %s on the drive.", w->path);
    else
        error_set(&e, code, "%s", error_meaning(code)->text);
    fail(w, &e);
}

static void on_listed(const struct error *e, void *arg);

static void walk_on(struct walk *w)
{
    if (*w->rest)
        lister_ensure(w->v->lister, w->ino, on_listed, w);
    else
        w->arrived(w);
}

static void on_listed(const struct error *e, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct walk *w = arg;
    size_t len = strcspn(w->rest, "/");
    int r;

    if (e->code) {
        /* Something that is no directory has nothing below it. */
        if (e->code == -ENOTDIR)
            fail_with(w, -ENOENT);
        else
            fail(w, e);
        return;
    }
    r = index_find(w->v->index, w->ino, w->rest, len, &i);
    if (r < 0) {
        fail_with(w, r);
        return;
    }
    w->ino = i.ino;
    w->rest += len;
    w->rest += strspn(w->rest, "/");
    walk_on(w);
}

/* --- nodes ------------------------------------------------------------------------------------------ */

static int state_of(struct volume *v, const struct index_inode *i)
{
    CLEANUP_FREE char *reason = i->pending ? index_reason(v->index, i->ino) : NULL;

    if (reason || object_fault(v, i))
        return STATE_ERROR;
    if (uploader_seals(v->uploader, i->ino))
        return STATE_ENCRYPTING;
    if (i->pending & INDEX_LACKING || index_displaced(v->index, i) ||
        (S_ISDIR(i->mode) && index_pending_below(v->index, i->ino)))
        return STATE_UPLOADING;
    if (waits_encrypting(v, i->ino))
        return STATE_ENCRYPTING;
    return STATE_NORMAL;
}

static struct volume_node node_of(struct volume *v, const struct index_inode *i)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;

    volume_attr(v, i, &attr);
    return (struct volume_node){
        .ino = i->ino, .size = attr.size, .mtime_ns = attr.mtime_ns, .is_directory = S_ISDIR(i->mode),
        .cut = i->cut,
        .state_a = state_of(v, i), .name = i->name, .id = "",
    };
}

/* --- stat -------------------------------------------------------------------------------------------- */

/* While its metadata was asked for, another version may have got the name: that is another inode. */
static void walk_again(struct walk *w)
{
    w->ino = INDEX_ROOT;
    w->rest = w->path + strspn(w->path, "/");
    walk_on(w);
}

/* Metadata that cannot be had is not worth a failure: the listing's will do. */
static void on_settled(const struct error *e, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct walk *w = arg;
    int r = e->code == -ECANCELED ? e->code : index_get(w->v->index, w->ino, &i);
    struct volume_node n;

    if ((r == -ENOENT || (r == 0 && i.nlink == 0)) && w->tries++ < TRIES) {
        walk_again(w);
        return;
    }
    if (r < 0) {
        fail_with(w, r);
        return;
    }
    n = node_of(w->v, &i);
    w->stat_done(NULL, &n, w->arg);
    walk_free(w);
}

static void stat_arrived(struct walk *w)
{
    lister_settle(w->v->lister, w->ino, on_settled, w);
}

void volume_stat(struct volume *v, const char *path,
                 void (*done)(const struct error *e, const struct volume_node *n, void *arg), void *arg)
{
    struct walk *w = walk_new(v, path, arg);

    w->stat_done = done;
    w->arrived = stat_arrived;
    walk_on(w);
}

/* --- keys -------------------------------------------------------------------------------------------- */

/* The name's component of the key, owned by the caller: as the index has it, else what the name denotes. *parent moves
 * on to the inode; 0: there is none. */
static int component_of(struct volume *v, uint64_t *parent, const char *name, size_t len, char **ret)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    bool beside;

    if (len == 0)
        return -EINVAL;
    if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
        return -EPERM;
    if (index_find(v->index, *parent, name, len, &i) < 0) {
        *parent = 0;
        return name_to_key(name, len, NULL, ret, &beside);
    }
    *parent = i.ino;
    *ret = xstrdup(index_component(&i));
    return 0;
}

/* Adds the key of a path below the drive's prefix. As volume_key(). */
static int put_key(struct volume *v, const char *path, struct text *key)
{
    uint64_t parent = INDEX_ROOT;

    if (*path == '/')
        return -EPERM;
    while (*path) {
        CLEANUP_FREE char *component = NULL;
        size_t len = strcspn(path, "/");
        int r = component_of(v, &parent, path, len, &component);

        if (r < 0)
            return r;
        text_puts(key, component);
        if (path[len])
            text_puts(key, "/");
        path += len + (path[len] == '/');
    }
    return key->error ? -ENAMETOOLONG : 0;
}

int volume_key(struct volume *v, const char *path, char *out, size_t size)
{
    CLEANUP(text_free) struct text key = TEXT_INIT(FS_KEY_MAX_BYTES);
    int r;

    text_puts(&key, v->prefix);
    r = put_key(v, path, &key);
    if (r < 0 || key.error || key.len >= size)
        return r < 0 ? r : -ENAMETOOLONG;
    memcpy(out, key.data ? key.data : "", key.len + 1);
    return 0;
}

/* --- renames ----------------------------------------------------------------------------------------- */

/* As far as the path leads. */
static uint64_t find_path(struct volume *v, const char *path)
{
    uint64_t ino = INDEX_ROOT;

    for (path += strspn(path, "/"); *path; path += strspn(path, "/")) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };
        size_t len = strcspn(path, "/");

        if (index_find(v->index, ino, path, len, &i) < 0)
            break;
        ino = i.ino;
        path += len;
    }
    return ino;
}

uint64_t volume_find_directory(struct volume *v, const char *path)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    uint64_t ino = find_path(v, path);

    if (index_get(v->index, ino, &i) < 0)
        return INDEX_ROOT;
    return S_ISDIR(i.mode) ? ino : i.parent;
}

bool volume_rename_finished(struct volume *v, const char *path)
{
    CLEANUP(text_free) struct text key = TEXT_INIT(FS_KEY_MAX_BYTES + 1);

    path += strspn(path, "/");
    if (index_rename_under_way(v->index, find_path(v, path)))
        return false;
    if (put_key(v, path, &key) < 0)
        return true;
    if (key.len && key.data[key.len - 1] != '/')
        text_puts(&key, "/");
    return !key.len || !index_rename_under_way_from(v->index, key.data);
}

/* --- list -------------------------------------------------------------------------------------------- */

static bool list_entry(const struct index_inode *i, void *arg)
{
    struct walk *w = arg;
    struct volume_node n = node_of(w->v, i);

    w->more = !w->each(&n, w->arg);
    return !w->more;
}

static void on_list_listed(const struct error *e, void *arg)
{
    struct walk *w = arg;
    int r;

    if (e->code) {
        fail(w, e);
        return;
    }
    r = index_list(w->v->index, w->ino, w->after, strlen(w->after), list_entry, w);
    if (r < 0) {
        fail_with(w, r);
        return;
    }
    w->list_done(NULL, w->more, w->arg);
    walk_free(w);
}

static void list_arrived(struct walk *w)
{
    lister_ensure(w->v->lister, w->ino, on_list_listed, w);
}

void volume_list(struct volume *v, const char *path, const char *after_name,
                 bool (*each)(const struct volume_node *n, void *arg),
                 void (*done)(const struct error *e, bool more, void *arg), void *arg)
{
    struct walk *w = walk_new(v, path, arg);

    w->each = each;
    w->list_done = done;
    w->arrived = list_arrived;
    w->after = xstrdup(after_name);
    walk_on(w);
}
