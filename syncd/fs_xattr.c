/* Extended attributes: user.* is stored and travels with the object's metadata. Those of the table are
 * ours: user.landfall.state is made up on the spot and says how the file stands with the cloud; user.landfall.cut
 * is "1" at a folder of which objectsPerFolder keeps something from being shown; user.landfall.pin is "1" where a
 * file is to be here always, also by a directory above it, and is set and removed where that begins;
 * user.landfall.accept can only be set, to "1": what is refused for being older than what was there is right. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/object.h"
#include "syncd/waits.h"

enum { NAME_MAX_BYTES = 255, HEADER_NAME_BYTES = 16 };
static const char PREFIX[] = "user.", OURS[] = "user.landfall.", PINNED[] = "1", CUT[] = "1";

/* An attribute that is not stored. Each may be NULL: nobody may. */
struct own {
    const char *name;
    int (*get)(struct volume *v, uint64_t ino, void **ret, size_t *ret_size);
    int (*set)(struct volume *v, const Lf__FsXattrSet *m);
    int (*remove)(struct volume *v, uint64_t ino);
};
static const struct own *own_named(const char *name);

static int check_name(const char *name)
{
    size_t len = strlen(name);

    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return -EOPNOTSUPP;
    if (len == strlen(PREFIX))
        return -EINVAL;
    return len > NAME_MAX_BYTES ? -ERANGE : 0;
}

bool fs_xattr_storable(const char *name)
{
    return check_name(name) == 0 && strncmp(name, OURS, strlen(OURS)) != 0;
}

/* --- reading ---------------------------------------------------------------------------------------- */

static int make_state(struct volume *v, uint64_t ino, void **ret, size_t *ret_size)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = fs_inode(v, ino, &i);

    if (r < 0)
        return r;
    *ret = waits_state(v, &i);
    *ret_size = strlen(*ret);
    return 0;
}

static int get_cut(struct volume *v, uint64_t ino, void **ret, size_t *ret_size)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = fs_inode(v, ino, &i);

    if (r < 0 || !i.cut)
        return r < 0 ? r : -ENODATA;
    *ret = xstrdup(CUT);
    *ret_size = strlen(CUT);
    return 0;
}

static int get_pin(struct volume *v, uint64_t ino, void **ret, size_t *ret_size)
{
    if (!index_pinned_above(v->index, ino))
        return -ENODATA;
    *ret = xstrdup(PINNED);
    *ret_size = strlen(PINNED);
    return 0;
}

static void get_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsXattrGet *m = env->fs_xattr_get;
    Lf__FsXattrValue value = LF__FS_XATTR_VALUE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_XATTR_VALUE, fs_xattr_value, &value);
    CLEANUP_FREE void *bytes = NULL;
    size_t size = 0;
    const struct own *own = own_named(m->name);
    int r = -ENODATA;

    if (!own)
        r = index_xattr_get(v->index, m->ino, m->name, &bytes, &size);
    else if (own->get)
        r = own->get(v, m->ino, &bytes, &size);
    if (r < 0) {
        fs_fail(req, r);
        return;
    }
    value.value = (ProtobufCBinaryData){ size, bytes };
    ipc_reply(req, &reply, NULL, 0);
}

void fs_xattr_get(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    int r = check_name(env->fs_xattr_get->name);

    (void)fds;
    (void)daemon;
    if (r < 0)
        fs_fail(req, r);
    else if (own_named(env->fs_xattr_get->name))
        get_settled(fs_volume(req), req, env);
    else
        fs_when_settled(fs_volume(req), req, env, env->fs_xattr_get->ino, get_settled);
}

struct names {
    char **names;
    size_t n;
};

static void add_name(const char *name, const void *value, size_t size, void *arg)
{
    struct names *names = arg;

    (void)value;
    (void)size;
    *xadd(names->names, names->n) = xstrdup(name);
}

static void list_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    Lf__FsXattrNames listed = LF__FS_XATTR_NAMES__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_XATTR_NAMES, fs_xattr_names, &listed);
    struct names names = { 0 };
    int r = index_xattr_list(v->index, env->fs_xattr_list->ino, add_name, &names);

    listed.names = names.names;
    listed.n_names = names.n;
    if (r < 0)
        fs_fail(req, r);
    else
        ipc_reply(req, &reply, NULL, 0);
    for (size_t i = 0; i < names.n; i++)
        free(names.names[i]);
    free(names.names);
}

void fs_xattr_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_settled(fs_volume(req), req, env, env->fs_xattr_list->ino, list_settled);
}

/* --- changing ----------------------------------------------------------------------------------------- */

struct weight {
    const char *except;
    size_t bytes;
};

/* As a header: the name in base32, the value in base64. */
static size_t weight_of(const char *name, size_t size)
{
    return HEADER_NAME_BYTES + strlen(name) * 8 / 5 + 1 + (size + 2) / 3 * 4;
}

static void weigh(const char *name, const void *value, size_t size, void *arg)
{
    struct weight *w = arg;

    (void)value;
    if (strcmp(name, w->except) != 0)
        w->bytes += weight_of(name, size);
}

static int check_room(struct volume *v, const Lf__FsXattrSet *m)
{
    struct weight w = { .except = m->name };
    int r = index_xattr_list(v->index, m->ino, weigh, &w);

    if (r < 0)
        return r;
    return w.bytes + weight_of(m->name, m->value.len) > FS_META_MAX_BYTES ? -E2BIG : 0;
}

static int mark(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = fs_inode_to_change(v, ino, &i);

    if (r < 0)
        return r;
    fs_mark_meta(&i);
    i.settled = true;
    return index_update(v->index, &i);
}

static int set_stored(struct volume *v, const Lf__FsXattrSet *m)
{
    int r = check_room(v, m);

    if (r == 0)
        r = mark(v, m->ino);
    return r < 0 ? r : index_xattr_set(v->index, m->ino, m->name, m->value.data, m->value.len, (int)m->flags);
}

static int remove_stored(struct volume *v, uint64_t ino, const char *name)
{
    int r = index_xattr_remove(v->index, ino, name);

    return r < 0 ? r : mark(v, ino);
}

static int set_pin(struct volume *v, const Lf__FsXattrSet *m)
{
    bool is_pinned = index_pinned(v->index, m->ino);

    if (m->value.len != strlen(PINNED) || memcmp(m->value.data, PINNED, m->value.len) != 0)
        return -EINVAL;
    if (m->flags & XATTR_CREATE && is_pinned)
        return -EEXIST;
    if (m->flags & XATTR_REPLACE && !is_pinned)
        return -ENODATA;
    keeper_forgive(v);
    return index_pin(v->index, m->ino, true);
}

static int remove_pin(struct volume *v, uint64_t ino)
{
    return index_pinned(v->index, ino) ? index_pin(v->index, ino, false) : -ENODATA;
}

static int set_accept(struct volume *v, const Lf__FsXattrSet *m)
{
    if (m->value.len != 1 || *m->value.data != '1')
        return -EINVAL;
    return object_accept(v, m->ino);
}

static const struct own OWN[] = {
    { "user.landfall.accept", NULL, set_accept, NULL },
    { "user.landfall.state", make_state, NULL, NULL },
    { "user.landfall.cut", get_cut, NULL, NULL },
    { "user.landfall.pin", get_pin, set_pin, remove_pin },
};

static const struct own *own_named(const char *name)
{
    for (size_t n = 0; n < ARRAY_SIZE(OWN); n++)
        if (strcmp(OWN[n].name, name) == 0)
            return &OWN[n];
    return NULL;
}

static int set(struct volume *v, const Lf__FsXattrSet *m)
{
    const struct own *own = own_named(m->name);
    int r = check_name(m->name);

    if (r == 0 && m->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        r = -EINVAL;
    if (r < 0)
        return r;
    if (own)
        return own->set ? own->set(v, m) : -EPERM;
    return fs_xattr_storable(m->name) ? set_stored(v, m) : -EPERM;
}

static int remove_(struct volume *v, const Lf__FsXattrRemove *m)
{
    const struct own *own = own_named(m->name);
    int r = check_name(m->name);

    if (r < 0)
        return r;
    if (own)
        return own->remove ? own->remove(v, m->ino) : -EPERM;
    return remove_stored(v, m->ino, m->name);
}

static void set_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    if (fs_begin(v, req) && fs_end_done(v, req, set(v, env->fs_xattr_set)))
        keeper_kick(v);
}

void fs_xattr_set(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_changeable(fs_volume(req), req, env, env->fs_xattr_set->ino, fs_xattr_storable(env->fs_xattr_set->name),
                       set_settled);
}

static void remove_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    if (fs_begin(v, req) && fs_end_done(v, req, remove_(v, env->fs_xattr_remove)))
        keeper_unpinned(v);
}

void fs_xattr_remove(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_changeable(fs_volume(req), req, env, env->fs_xattr_remove->ino,
                       fs_xattr_storable(env->fs_xattr_remove->name), remove_settled);
}
