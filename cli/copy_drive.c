/* From a drive through the API's stream; to a drive through its mount, until it is in the cloud. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/copy.h"
#include "cli/instance.h"
#include "cli/landing.h"
#include "cli/place.h"
#include "cli/progress.h"
#include "cli/wait.h"
#include "common/cleanup.h"
#include "common/mount_table.h"
#include "common/write_all.h"

enum { PIECE = 1 << 18 };

/* Of what is below the mount point, links on the way included. */
static int find_place(const struct copy *c, char **ret, struct error *e)
{
    const char *point = instance_text(c->place, "localPath");
    CLEANUP_FREE char *path = NULL;
    int r;

    if (asprintf(&path, "%s/%s", point, c->remote) < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    r = place_absolute(path, ret, e);
    if (r == 0 && (strncmp(*ret, point, strlen(point)) != 0 || (*ret)[strlen(point)] != '/'))
        r = error_set(e, -EINVAL, "%.300s does not name a file of the drive.", c->remote);
    return r;
}

/* --- from the drive ----------------------------------------------------------------------------------- */

static int stream_to(const struct copy *c, const char *request, const char *target, struct error *e)
{
    struct landing l;
    int r;

    if (strcmp(target, "-") == 0)
        return api_stream(c->instance, request, STDOUT_FILENO, progress_show, e);
    r = landing_open(&l, target, c->force, e);
    if (r < 0)
        return r;
    r = api_stream(c->instance, request, l.fd, progress_show, e);
    progress_clear();
    return landing_end(&l, r, e);
}

static int download(const struct copy *c, const char *place, struct error *e)
{
    CLEANUP_FREE char *target = NULL, *request = NULL;
    int r = strcmp(c->local, "-") == 0 ? 0 : copy_target(c->local, copy_name(place), &target, e);

    if (r == 0)
        r = place_request("/management/get_object_stream", place, "", &request, e);
    return r < 0 ? r : stream_to(c, request, target ? target : "-", e);
}

/* --- to the drive ------------------------------------------------------------------------------------- */

static int pump(int from, int to, int64_t total, struct error *e)
{
    CLEANUP_FREE char *piece = malloc(PIECE);
    int64_t done = 0;
    ssize_t n;
    int r = piece ? 0 : -ENOMEM;

    while (r == 0 && (n = read(from, piece, PIECE)) != 0) {
        if (n < 0)
            r = errno == EINTR ? 0 : -errno;
        else
            r = write_all(to, piece, (size_t)n);
        done += n > 0 ? n : 0;
        progress_show(done, total);
    }
    progress_clear();
    return r < 0 ? error_set(e, r, "It cannot be copied: %s.", strerror(-r)) : 0;
}

static int open_source(const char *path, int64_t *ret_size, struct error *e)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, -errno, "%.300s cannot be read: %m.", path);
    *ret_size = S_ISREG(st.st_mode) ? st.st_size : 0;
    if (!S_ISDIR(st.st_mode))
        return fd;
    (void)close(fd);
    return error_set(e, -EISDIR, "%.300s is a folder; cp copies one file, and cp(1) into the mount all of them.", path);
}

/* Below a mount point without a mount it would stay on this machine. */
static int check_mounted(const struct copy *c, const char *target, struct error *e)
{
    if (mount_table_on(target, MOUNT_TABLE_DRIVE))
        return 0;
    return error_set(e, -ENOTCONN, "The drive %.100s is not mounted at %.300s.", instance_text(c->place, "name"),
                     instance_text(c->place, "localPath"));
}

static int upload(const struct copy *c, const char *place, struct error *e)
{
    CLEANUP_FREE char *target = NULL;
    CLEANUP_CLOSE int from = -1;
    struct landing l;
    int64_t size = 0;
    int r = check_mounted(c, place, e);

    if (r == 0)
        r = copy_target(place, strcmp(c->local, "-") == 0 ? "" : copy_name(c->local), &target, e);
    if (r == 0)
        r = from = open_source(c->local, &size, e);
    if (r >= 0)
        r = landing_open(&l, target, c->force, e);
    if (r < 0)
        return r;
    r = landing_end(&l, pump(from, l.fd, size, e), e);
    return r < 0 ? r : wait_for_cloud(c->instance, target);
}

int copy_drive(const struct copy *c, struct error *e)
{
    CLEANUP_FREE char *place = NULL;
    bool folder = c->up && (!*c->remote || c->remote[strlen(c->remote) - 1] == '/');
    int r;

    if (folder && !*c->remote) {
        place = strdup(instance_text(c->place, "localPath"));
        r = place ? 0 : -ENOMEM;
    } else {
        r = find_place(c, &place, e);
    }
    if (r < 0)
        return r;
    return c->up ? upload(c, place, e) : download(c, place, e);
}
