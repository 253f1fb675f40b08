/* The directories of an instance, its lock and the root key file.
 *
 * Nothing that exists changes its owner, and no symbolic link is followed in the last component: a
 * directory that somebody else prepared is refused with a sentence instead. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/run.h"
#include "common/cleanup.h"
#include "common/exposed.h"
#include "common/log.h"

enum { KEY_BYTES = 32, LOG_BYTES_MAX = 16 << 20, LOG_TAIL_BYTES = 2000 };

/* A directory of the instance, as it is made when it is absent. One that is there already keeps
 * its mode, but must not grant others any of `forbidden`. */
struct place {
    const char *path;
    const struct run_account *owner;
    gid_t gid;
    mode_t mode, forbidden;
};

static int give_away(int fd, const struct place *want, struct error *e)
{
    if (fchown(fd, want->owner->uid, want->gid) < 0 || fchmod(fd, want->mode) < 0)
        return error_set(e, -errno, "%s cannot be given to %s: %m.", want->path, want->owner->name);
    return 0;
}

static int check_existing(const struct stat *st, const struct place *want, struct error *e)
{
    if (st->st_uid != want->owner->uid)
        return error_set(e, -EPERM, "%s belongs to uid %d, but it has to belong to %s; choose another directory, or "
                         "move it away.", want->path, (int)st->st_uid, want->owner->name);
    if (st->st_mode & want->forbidden)
        return error_set(e, -EPERM, "%s has mode %03o, which lets others in; run: chmod %03o %s", want->path,
                         st->st_mode & 0777, want->mode, want->path);
    return 0;
}

static int make_directory(const struct place *want, struct error *e)
{
    bool created = mkdir(want->path, 0700) == 0;
    CLEANUP_CLOSE int fd = -1;
    struct stat st;

    if (!created && errno != EEXIST)
        return error_set(e, -errno, "%s cannot be made: %m.", want->path);
    fd = open(want->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, -errno, "%s cannot be used: %m.", want->path);
    if (created && st.st_uid == geteuid())
        return give_away(fd, want, e);
    /* Ours and empty: an earlier start ended between making it and giving it away. */
    if (st.st_uid != want->owner->uid && st.st_uid == geteuid() && rmdir(want->path) == 0)
        return make_directory(want, e);
    return check_existing(&st, want, e);
}

/* --- DIR and its lock ------------------------------------------------------------------------- */

/* Whoever may write into a directory above DIR could put another DIR in its place. */
static int check_above(const char *path, const struct run_plan *p, struct error *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return error_set(e, -errno, "%s cannot be examined: %m.", path);
    return exposed_check(path, &st, p->served.uid, e);
}

static int make_above(const struct run_plan *p, struct error *e)
{
    CLEANUP_FREE char *path = strdup(p->dir);
    int r = path ? 0 : -ENOMEM;

    for (char *slash = path ? strchr(path + 1, '/') : NULL; r == 0 && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            r = error_set(e, -errno, "%s cannot be made: %m.", path);
        else
            r = check_above(path, p, e);
        *slash = '/';
    }
    return r;
}

static int make_dir(const struct run_plan *p, struct error *e)
{
    CLEANUP_CLOSE int fd = -1;
    struct stat st;

    if (mkdir(p->dir, 0755) < 0 && errno != EEXIST)
        return error_set(e, -errno, "%s cannot be made: %m.", p->dir);
    fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, -errno, "%s cannot be used: %m.", p->dir);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return error_set(e, -EPERM, "%s must belong to you and be writable by nobody else; choose another --dir.",
                         p->dir);
    /* The daemons' users have to reach what is theirs below; the umask may have been strict. */
    if (p->root && fchmod(fd, 0755) < 0)
        return error_set(e, -errno, "%s cannot be opened to the daemons: %m.", p->dir);
    return 0;
}

static int take_lock(const char *path, int *ret_lock, struct error *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    char pid[32] = "";
    ssize_t n;

    if (fd < 0)
        return error_set(e, -errno, "%s cannot be opened: %m.", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        n = pread(fd, pid, sizeof(pid) - 1, 0);
        pid[n > 0 ? n - 1 : 0] = '\0';
        return error_set(e, -EBUSY, "An instance is running here already (process %s); `landfall stop` ends it.", pid);
    }
    n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) != n)
        return error_set(e, -errno, "%s cannot be written: %m.", path);
    *ret_lock = take_fd(&fd);
    return 0;
}

int run_dirs_lock(const struct run_plan *p, int *ret_lock, struct error *e)
{
    CLEANUP_FREE char *path = NULL;
    int r = make_above(p, e);

    if (r == 0)
        r = make_dir(p, e);
    if (r == 0 && asprintf(&path, "%s/lock", p->dir) < 0)
        r = -ENOMEM;
    return r < 0 ? r : take_lock(path, ret_lock, e);
}

/* --- the root key ----------------------------------------------------------------------------- */

static int write_key(int fd, const struct run_plan *p)
{
    unsigned char key[KEY_BYTES];
    const struct run_account *owner = &p->accounts[ROLE_CRYPTD];
    int r = 0;

    if (getrandom(key, sizeof(key), 0) != sizeof(key) || write(fd, key, sizeof(key)) != sizeof(key) ||
        fchown(fd, owner->uid, owner->gid) < 0 || fchmod(fd, 0400) < 0 || fsync(fd) < 0)
        r = errno ? -errno : -EIO;
    explicit_bzero(key, sizeof(key));
    return r;
}

/* A key that is half written must not be found by the next start: it gets its name when it is whole. */
static int make_key(const struct run_plan *p, struct error *e)
{
    const char *path = p->config->key_file;
    CLEANUP_FREE char *fresh = NULL;
    CLEANUP_CLOSE int fd = -1;
    int r;

    if (access(path, F_OK) == 0)
        return 0;
    if (asprintf(&fresh, "%s.new", path) < 0)
        return -ENOMEM;
    (void)unlink(fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    r = fd < 0 ? -errno : write_key(fd, p);
    if (r == 0 && rename(fresh, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(fresh);
        errno = -r;
        return error_set(e, r, "The root key %s cannot be created: %m.", path);
    }
    LOG(LOG_NOTICE, "root_key_created", "path=%s", path);
    return 0;
}

int run_dirs_make(const struct run_plan *p, struct error *e)
{
    CLEANUP_FREE char *log = NULL;
    const struct run_account *cryptd = &p->accounts[ROLE_CRYPTD];
    struct run_account self = { .uid = geteuid(), .gid = getegid(), .name = "whoever starts Landfall" };
    int r = asprintf(&log, "%s/log", p->dir) < 0 ? -ENOMEM : 0;
    const struct place wanted[] = {
        { p->config->runtime_dir, &self, self.gid, 0755, 022 },
        { log, &self, self.gid, 0755, 022 },
        { p->config->state_dir, &p->served, p->served.gid, 0700, 077 },
        { p->config->key_dir, cryptd, cryptd->gid, 0700, 077 },
        { p->config->mount_root, &p->served, p->group, 0750, 022 },
    };

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(wanted); i++)
        r = make_directory(&wanted[i], e);
    return r < 0 ? r : make_key(p, e);
}

/* --- logs ------------------------------------------------------------------------------------- */

static char *log_path(const struct run_plan *p, const struct run_row *row)
{
    char *path = NULL;

    return asprintf(&path, "%s/log/%s.log", p->dir, row->name) < 0 ? NULL : path;
}

/* A log that grew long gives way to a new one; one old one is kept. */
static void rotate(const char *path)
{
    CLEANUP_FREE char *old = NULL;
    struct stat st;

    if (stat(path, &st) == 0 && st.st_size > LOG_BYTES_MAX && asprintf(&old, "%s.1", path) > 0)
        (void)rename(path, old);
}

/* Readable by the served user, not by others: it names files of drives. */
int run_dirs_log(const struct run_plan *p, const struct run_row *row)
{
    CLEANUP_FREE char *path = log_path(p, row);
    CLEANUP_CLOSE int fd = -1;

    if (!path)
        return -ENOMEM;
    rotate(path);
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0 || fchown(fd, geteuid(), p->served.gid) < 0 || fchmod(fd, 0640) < 0)
        return -errno;
    return take_fd(&fd);
}

void run_dirs_print_log(const struct run_plan *p, const struct run_row *row)
{
    CLEANUP_FREE char *path = log_path(p, row);
    CLEANUP_FCLOSE FILE *f = path ? fopen(path, "re") : NULL;
    bool at_line_start;
    char line[1024];

    if (!f)
        return;
    at_line_start = fseek(f, -LOG_TAIL_BYTES, SEEK_END) < 0;   /* a shorter log is shown whole */
    if (at_line_start)
        rewind(f);
    for (; fgets(line, sizeof(line), f); at_line_start = true)
        if (at_line_start)
            fputs(line, stderr);
}
