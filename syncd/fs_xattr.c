/* Extended attributes: user.* is stored and travels with the object's metadata; user.landfall.state
 * is made up on the spot and says how the file stands with the cloud. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/volume_internal.h"

enum { NAME_MAX_BYTES = 255, STATE_BYTES = 600, HEADER_NAME_BYTES = 16 };
static const char PREFIX[] = "user.", STATE[] = "user.landfall.state";

static bool is_state(const char *name)
{
    return strcmp(name, STATE) == 0;
}

static int check_name(const char *name)
{
    size_t len = strlen(name);

    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
        return -EOPNOTSUPP;
    if (len == strlen(PREFIX))
        return -EINVAL;
    return len > NAME_MAX_BYTES ? -ERANGE : 0;
}

/* --- reading ---------------------------------------------------------------------------------------- */

static int make_state(struct volume *v, uint64_t ino, void **ret, size_t *ret_size)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(v->index, ino, &i);
    CLEANUP_FREE char *reason = r == 0 && i.pending ? index_reason(v->index, ino) : NULL;
    char state[STATE_BYTES];

    if (r < 0)
        return r;
    if (reason)
        snprintf(state, sizeof(state), "error: %s", reason);
    else
        strcpy(state, uploader_busy(v->uploader, ino) ? "uploading" : i.pending ? "dirty" : "clean");
    *ret = xstrdup(state);
    *ret_size = strlen(state);
    return 0;
}

static void get_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsXattrGet *m = env->fs_xattr_get;
    Lf__FsXattrValue value = LF__FS_XATTR_VALUE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_XATTR_VALUE, fs_xattr_value, &value);
    CLEANUP_FREE void *bytes = NULL;
    size_t size = 0;
    int r = is_state(m->name) ? make_state(v, m->ino, &bytes, &size)
                              : index_xattr_get(v->index, m->ino, m->name, &bytes, &size);

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
    else if (is_state(env->fs_xattr_get->name))
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
    char **grown = reallocarray(names->names, names->n + 1, sizeof(*grown));

    (void)value;
    (void)size;
    if (!grown)
        abort();
    names->names = grown;
    names->names[names->n++] = xstrdup(name);
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

static int check_change(const char *name)
{
    int r = check_name(name);

    return r == 0 && is_state(name) ? -EPERM : r;
}

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
    int r = index_get(v->index, ino, &i);

    if (r < 0)
        return r;
    fs_mark_meta(&i);
    return index_update(v->index, &i);
}

static int set(struct volume *v, const Lf__FsXattrSet *m)
{
    int r = check_change(m->name);

    if (r == 0 && m->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        r = -EINVAL;
    if (r == 0)
        r = check_room(v, m);
    if (r == 0)
        r = mark(v, m->ino);
    return r < 0 ? r : index_xattr_set(v->index, m->ino, m->name, m->value.data, m->value.len, (int)m->flags);
}

static void set_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    if (fs_begin(v, req))
        fs_end_done(v, req, set(v, env->fs_xattr_set));
}

void fs_xattr_set(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_settled(fs_volume(req), req, env, env->fs_xattr_set->ino, set_settled);
}

static void remove_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsXattrRemove *m = env->fs_xattr_remove;
    int r;

    if (!fs_begin(v, req))
        return;
    r = check_change(m->name);
    if (r == 0)
        r = index_xattr_remove(v->index, m->ino, m->name);
    fs_end_done(v, req, r < 0 ? r : mark(v, m->ino));
}

void fs_xattr_remove(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_settled(fs_volume(req), req, env, env->fs_xattr_remove->ino, remove_settled);
}
