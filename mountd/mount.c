/* Mounts with fsopen(2), fsmount(2) and move_mount(2): options are typed, so no drive name can add
 * one, and the mount goes onto the descriptor that was checked, so no rename can move it. */
#include "mountd/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fuse_control.h"
#include "mountd/fusermount.h"
#include "mountd/mount_point.h"

enum { INIT_WAIT_MS = 2000, SOURCE_MAX = 64, OPEN_MODE = 0700, CLOSED_MODE = 0500 };

#define FUSE_INIT_OPCODE 26   /* linux/fuse.h; the request's head is { u32 len, u32 opcode, ... } */

/* "landfall:" and the drive's name with everything odd replaced, so that mount tables stay readable. */
static void make_source(const char *name, char out[SOURCE_MAX])
{
    size_t n = (size_t)snprintf(out, SOURCE_MAX, "landfall:%s", name);

    for (size_t i = 0; i < n && out[i]; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_-", out[i]))
            out[i] = '_';
}

bool mount_alive(int fuse)
{
    struct pollfd p = { .fd = fuse, .events = POLLIN };

    return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLERR | POLLNVAL));
}

/* The kernel queues FUSE_INIT before the mount call returns; waiting is for a kernel that would not. */
static int read_init(struct mount_made *m)
{
    struct pollfd p = { .fd = m->fuse, .events = POLLIN };
    uint32_t head[2];
    ssize_t n;

    if (poll(&p, 1, INIT_WAIT_MS) != 1)
        return -ETIMEDOUT;
    n = read(m->fuse, m->init, sizeof(m->init));
    if (n < (ssize_t)sizeof(head))
        return n < 0 ? -errno : -EPROTO;
    (void)memcpy(head, m->init, sizeof(head));
    if (head[0] != (size_t)n || head[1] != FUSE_INIT_OPCODE)
        return -EPROTO;
    m->init_size = (size_t)n;
    return 0;
}

/* --- as root ----------------------------------------------------------------------------------- */

struct option {
    const char *key;
    char value[SOURCE_MAX];   /* "": a flag */
};

static int set_options(int fs, const struct option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct option *o = &options[i];
        int r = o->value[0] ? fsconfig(fs, FSCONFIG_SET_STRING, o->key, o->value, 0)
                            : fsconfig(fs, FSCONFIG_SET_FLAG, o->key, NULL, 0);

        if (r < 0)
            return -errno;
    }
    return fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

static int configure(int fs, const struct mount_spec *spec, int fuse)
{
    struct option options[] = {
        { "source", "" }, { "subtype", "landfall" }, { "fd", "" }, { "rootmode", "40700" }, { "user_id", "" },
        { "group_id", "" }, { "max_read", "" }, { "default_permissions", "" }, { "allow_other", "" },
    };

    make_source(spec->name, options[0].value);
    (void)snprintf(options[2].value, SOURCE_MAX, "%d", fuse);
    (void)snprintf(options[4].value, SOURCE_MAX, "%u", spec->uid);
    (void)snprintf(options[5].value, SOURCE_MAX, "%u", spec->gid);
    (void)snprintf(options[6].value, SOURCE_MAX, "%d", MOUNT_MAX_IO);
    return set_options(fs, options, ARRAY_SIZE(options));
}

/* Without waiting for the server: it may be ourselves. */
static int device_at(int dir, const char *name, uint64_t *ret)
{
    struct statx sx;

    if (statx(dir, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &sx) < 0)
        return -errno;
    *ret = makedev(sx.stx_dev_major, sx.stx_dev_minor);
    return 0;
}

/* A mount that is attached nowhere yet; closing it undoes it. */
static int make_detached(const struct mount_spec *spec, struct mount_made *m, int *ret_mount)
{
    unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (spec->read_only ? MOUNT_ATTR_RDONLY : 0);
    CLEANUP_CLOSE int fs = -1;
    int r;

    m->fuse = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    fs = m->fuse < 0 ? -1 : fsopen("fuse", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    r = configure(fs, spec, m->fuse);
    if (r < 0)
        return r;
    *ret_mount = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
    if (*ret_mount < 0)
        return -errno;
    r = read_init(m);
    return r < 0 ? r : device_at(*ret_mount, "", &m->device);
}

/* The kernel reads ahead 128 KiB unless told otherwise; a cloud wants larger requests. Best effort. */
static void widen_read_ahead(uint64_t device)
{
    char path[64], text[16];
    CLEANUP_CLOSE int fd = -1;
    int n = snprintf(text, sizeof(text), "%d\n", MOUNT_MAX_IO / 1024);

    (void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(device), minor(device));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)n) < 0)
        return;
}

static int make_privileged(const struct mount_spec *spec, const struct mount_point *p, struct mount_made *m)
{
    CLEANUP_CLOSE int mount = -1;
    int r = make_detached(spec, m, &mount);

    if (r < 0)
        return r;
    if (move_mount(mount, "", p->dir, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        return -errno;
    widen_read_ahead(m->device);
    return 0;
}

static int unmount_at(const struct mount_point *p, int flags)
{
    char path[NAME_MAX + 64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", p->parent, p->name);
    return umount2(path, UMOUNT_NOFOLLOW | flags) < 0 ? -errno : 0;
}

/* Where files are in use the connection is aborted at once: nobody will answer what the kernel still waits for, and
 * who waits for that may have the connection open itself. */
static int remove_privileged(const struct mount_point *p, bool *ret_busy)
{
    int r = unmount_at(p, 0);

    *ret_busy = r == -EBUSY;
    return *ret_busy ? unmount_at(p, MNT_DETACH | MNT_FORCE) : r;
}

/* --- without root -------------------------------------------------------------------------------- */

static int set_mode(const struct mount_point *p, mode_t mode)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", p->dir);
    return chmod(path, mode) < 0 ? -errno : 0;
}

/* fusermount3 asks for the right to write into the mount point, which syncd took away against accidents. By descriptor
 * the mode is still that of the directory below once something is mounted on it. */
static int call_fusermount(const struct mount_spec *spec, const struct mount_point *p, const char *options)
{
    int fuse = set_mode(p, OPEN_MODE);

    if (fuse < 0)
        return fuse;
    fuse = fusermount_mount(spec->path, options);
    (void)set_mode(p, CLOSED_MODE);
    return fuse;
}

static int make_by_fusermount(const struct mount_spec *spec, const struct mount_point *p, struct mount_made *m)
{
    char source[SOURCE_MAX], options[256];
    int r;

    make_source(spec->name, source);
    (void)snprintf(options, sizeof(options), "%s,nosuid,nodev,default_permissions,max_read=%d,subtype=landfall,"
                   "fsname=%s", spec->read_only ? "ro" : "rw", MOUNT_MAX_IO, source);
    m->fuse = call_fusermount(spec, p, options);
    if (m->fuse < 0)
        return m->fuse;
    r = read_init(m);
    if (r == 0)
        r = device_at(p->parent, p->name, &m->device);
    if (r < 0)
        (void)fusermount_unmount(spec->path, true);
    return r;
}

static int remove_by_fusermount(const char *path, uint64_t device, bool *ret_busy)
{
    int r = fusermount_unmount(path, false);

    *ret_busy = r == -EBUSY;
    if (*ret_busy)
        (void)fuse_control_abort(device);   /* as above */
    return *ret_busy ? fusermount_unmount(path, true) : r;
}

/* --- both ------------------------------------------------------------------------------------------ */

static const struct {
    bool privileged;
    int code;
    const char *hint;
} hints[] = {
    { true, -EPERM, " Does this system let root mount, or is it a container without that right?" },
    { true, -ENOENT, " This system has no /dev/fuse." },
    { true, -ENODEV, " This kernel has no FUSE." },
    { false, -EPERM, " fusermount3 refused; its reason is in the log." },
    { false, -ENOENT, " fusermount3 is missing: install the package fuse3." },
};

static int explain(int r, const struct mount_spec *spec, struct error *e)
{
    const char *hint = "";

    for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
        if (hints[i].privileged == spec->privileged && hints[i].code == r)
            hint = hints[i].hint;
    return error_set(e, r, "The drive could not be mounted at %s: %s.%s", spec->path, strerror(-r), hint);
}

/* Opens the mount point; takes a dead mount away from it and looks once more. */
static int open_point(const struct mount_spec *spec, struct mount_point *ret, struct error *e)
{
    struct mount_point dead;
    int r = mount_point_open(spec->root, spec->path, spec->uid, ret, e);

    if (r != -ENOTCONN)
        return r;
    if (!spec->privileged)
        (void)fusermount_unmount(spec->path, true);
    else if (mount_point_find(spec->root, spec->path, &dead, e) == 0) {
        (void)unmount_at(&dead, MNT_DETACH);
        mount_point_close(&dead);
    }
    return mount_point_open(spec->root, spec->path, spec->uid, ret, e);
}

int mount_make(const struct mount_spec *spec, struct mount_made *ret, struct error *e)
{
    CLEANUP(mount_point_close) struct mount_point p = { .parent = -1, .dir = -1 };
    int r = open_point(spec, &p, e);

    *ret = (struct mount_made){ .fuse = -1 };
    if (r < 0)
        return r;
    r = spec->privileged ? make_privileged(spec, &p, ret) : make_by_fusermount(spec, &p, ret);
    if (r < 0) {
        cleanup_close(&ret->fuse);
        ret->fuse = -1;
        return explain(r, spec, e);
    }
    return 0;
}

int mount_remove(const struct mount_spec *spec, uint64_t device, bool *ret_busy, struct error *e)
{
    CLEANUP(mount_point_close) struct mount_point p = { .parent = -1, .dir = -1 };
    uint64_t there;
    int r = mount_point_find(spec->root, spec->path, &p, e);

    *ret_busy = false;
    if (r < 0)
        return r;
    if (device_at(p.parent, p.name, &there) < 0 || there != device)
        return 0;   /* unmounted by somebody else, or hidden below something that is not ours */
    r = spec->privileged ? remove_privileged(&p, ret_busy) : remove_by_fusermount(spec->path, device, ret_busy);
    if (r < 0)
        return error_set(e, r, "The drive at %s could not be unmounted: %s.", spec->path, strerror(-r));
    return 0;
}
