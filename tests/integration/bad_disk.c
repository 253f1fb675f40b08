/* A disk with bad places, for the loop device: a mount whose one file, "disk", has the bytes of IMAGE but for the
 * ranges that the file FAULTS lists, a line "from to r" for what cannot be read, "from to w" for what cannot be written,
 * and "from to rw" for both. */
#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *faults;
static int image;

static bool bad(off_t from, size_t size, char way)
{
    FILE *f = fopen(faults, "re");
    char line[128];
    bool hit = false;

    while (f && !hit && fgets(line, sizeof(line), f)) {
        int64_t a, b;

        if (sscanf(line, "%" SCNd64 " %" SCNd64, &a, &b) == 2)
            hit = from < b && from + (off_t)size > a && strchr(line, way);
    }
    if (f)
        (void)fclose(f);
    return hit;
}

static int disk_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    (void)fi;
    if (!strcmp(path, "/disk"))
        return fstat(image, st) < 0 ? -errno : 0;
    *st = (struct stat){ .st_mode = S_IFDIR | 0700, .st_nlink = 2 };
    return strcmp(path, "/") ? -ENOENT : 0;
}

static int disk_open(const char *path, struct fuse_file_info *fi)
{
    (void)fi;
    return strcmp(path, "/disk") ? -ENOENT : 0;
}

static int disk_read(const char *path, char *data, size_t size, off_t at, struct fuse_file_info *fi)
{
    ssize_t n = bad(at, size, 'r') ? -1 : pread(image, data, size, at);

    (void)path;
    (void)fi;
    return n < 0 ? -EIO : (int)n;
}

static int disk_write(const char *path, const char *data, size_t size, off_t at, struct fuse_file_info *fi)
{
    ssize_t n = bad(at, size, 'w') ? -1 : pwrite(image, data, size, at);

    (void)path;
    (void)fi;
    return n < 0 ? -EIO : (int)n;
}

static int disk_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
    (void)path;
    (void)datasync;
    (void)fi;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations operations = {
        .getattr = disk_getattr, .open = disk_open, .read = disk_read, .write = disk_write, .fsync = disk_fsync,
    };
    char foreground[] = "-f", single[] = "-s";
    char *arguments[] = { argv[0], foreground, single, argc == 4 ? argv[3] : NULL, NULL };

    if (argc != 4) {
        (void)fprintf(stderr, "usage: bad_disk IMAGE FAULTS POINT\n");
        return 2;
    }
    faults = argv[2];
    image = open(argv[1], O_RDWR | O_CLOEXEC);
    if (image < 0) {
        perror(argv[1]);
        return 1;
    }
    return fuse_main(4, arguments, &operations, NULL);
}
