/* Owns where the root key comes from and in which form. */
#include "cryptd/root_key.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"

#define CREDENTIAL "landfall.key"

/* systemd grants a service its credentials by an access list, which shows as group bits. */
enum { KEY_FILE_FORBIDS = 077, CREDENTIAL_FORBIDS = 007 };

static int check_file(int fd, const char *path, mode_t forbidden, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return error_set(e, -errno, "The root key %s cannot be read: %s.", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(e, -EINVAL, "The root key %s is not a regular file.", path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return error_set(e, -EPERM, "The root key %s belongs to uid %u; it must belong to cryptd's user or root.",
                         path, (unsigned)st.st_uid);
    if (st.st_mode & forbidden)
        return error_set(e, -EPERM, "Others than its owner can use the root key %s; run chmod 0400 on it.", path);
    return 0;
}

/* Reads all of the file, or one byte more than any key has. */
static ssize_t read_all(int fd, uint8_t *out, size_t size)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(fd, out + len, size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static bool parse(struct secret *s, size_t len)
{
    if (len == KEY_SIZE) {
        memcpy(s->root_key, s->text, KEY_SIZE);
        return true;
    }
    if (len == 2 * KEY_SIZE + 1 && s->text[2 * KEY_SIZE] == '\n')
        len--;
    s->text[len] = '\0';
    return len == 2 * KEY_SIZE && text_unhex((const char *)s->text, s->root_key, KEY_SIZE) == 0;
}

static int read_key(const char *path, mode_t forbidden, struct secret *s, struct error *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    ssize_t len;
    bool parsed;
    int r;

    if (fd < 0)
        return error_set(e, errno == ENOENT ? -ENOKEY : -errno, "The root key %s cannot be opened: %s.", path,
                         strerror(errno));
    r = check_file(fd, path, forbidden, e);
    if (r < 0)
        return r;
    len = read_all(fd, s->text, sizeof(s->text) - 1);
    parsed = len >= 0 && parse(s, (size_t)len);
    secret_wipe(s->text, sizeof(s->text));
    if (len < 0)
        return error_set(e, (int)len, "The root key %s cannot be read: %s.", path, strerror((int)-len));
    if (!parsed)
        return error_set(e, -EINVAL, "The root key %s must be exactly 32 bytes, or 64 hexadecimal digits.", path);
    return 0;
}

int root_key_read(const char *path, const char *credentials, struct secret *s, struct error *e)
{
    char credential[PATH_MAX];
    int n;

    if (path[0])
        return read_key(path, KEY_FILE_FORBIDS, s, e);
    if (!credentials)
        return error_set(e, -ENOKEY, "There is no root key: set KeyFile, or pass the systemd credential "
                         CREDENTIAL ".");
    n = snprintf(credential, sizeof(credential), "%s/" CREDENTIAL, credentials);
    if (n < 0 || (size_t)n >= sizeof(credential))
        return error_set(e, -ENAMETOOLONG, "The directory of credentials has too long a name.");
    return read_key(credential, CREDENTIAL_FORBIDS, s, e);
}
