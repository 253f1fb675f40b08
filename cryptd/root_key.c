/* Owns where root keys and passphrases come from and in which form. */
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
#define PASSPHRASE "landfall.passphrase"

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

/* --- forms ------------------------------------------------------------------------------------- */

static bool parse_key(struct secret *s, size_t len, struct root *out)
{
    if (len == KEY_SIZE) {
        memcpy(out->key, s->text, KEY_SIZE);
        return true;
    }
    if (len == 2 * KEY_SIZE + 1 && s->text[2 * KEY_SIZE] == '\n')
        len--;
    s->text[len] = '\0';
    return len == 2 * KEY_SIZE && text_unhex((const char *)s->text, out->key, KEY_SIZE) == 0;
}

static int read_key(int fd, const char *path, struct secret *s, struct root *out, struct error *e)
{
    ssize_t len = read_all(fd, s->text, sizeof(s->text) - 1);
    bool parsed = len >= 0 && parse_key(s, (size_t)len, out);

    secret_wipe(s->text, sizeof(s->text));
    if (len < 0)
        return error_set(e, (int)len, "The root key %s cannot be read: %s.", path, strerror((int)-len));
    if (!parsed)
        return error_set(e, -EINVAL, "The root key %s must be exactly 32 bytes, or 64 hexadecimal digits.", path);
    out->kind = ROOT_KEY;
    return 0;
}

static int read_passphrase(int fd, const char *path, struct secret *s, struct root *out, struct error *e)
{
    ssize_t len = read_all(fd, out->passphrase, sizeof(out->passphrase));

    (void)s;
    if (len < 0)
        return error_set(e, (int)len, "The passphrase %s cannot be read: %s.", path, strerror((int)-len));
    out->passphrase_len = (size_t)len;
    if (len > 0 && out->passphrase[len - 1] == '\n')
        out->passphrase_len--;
    if (out->passphrase_len < 1 || out->passphrase_len > PASSPHRASE_MAX ||
        memchr(out->passphrase, '\n', out->passphrase_len) || memchr(out->passphrase, '\0', out->passphrase_len))
        return error_set(e, -EINVAL, "The passphrase %s must be one line of 1 to %d bytes.", path, PASSPHRASE_MAX);
    out->kind = ROOT_PASSPHRASE;
    return 0;
}

/* --- files ------------------------------------------------------------------------------------- */

typedef int reader_fn(int fd, const char *path, struct secret *s, struct root *out, struct error *e);

static int read_file(const char *path, mode_t forbidden, reader_fn *reader, struct secret *s, struct root *out,
                     struct error *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    int r;

    if (fd < 0)
        return error_set(e, errno == ENOENT ? -ENOKEY : -errno, "The root key %s cannot be opened: %s.", path,
                         strerror(errno));
    r = check_file(fd, path, forbidden, e);
    return r == 0 ? reader(fd, path, s, out, e) : r;
}

/* -ENOKEY: there is no such credential. */
static int read_credential(const char *credentials, const char *name, reader_fn *reader, struct secret *s,
                           struct root *out, struct error *e)
{
    char path[PATH_MAX];
    int n;

    if (!credentials)
        return -ENOKEY;
    n = snprintf(path, sizeof(path), "%s/%s", credentials, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return error_set(e, -ENAMETOOLONG, "The directory of credentials has too long a name.");
    return read_file(path, CREDENTIAL_FORBIDS, reader, s, out, e);
}

int root_key_read(const char *path, const char *credentials, struct secret *s, struct error *e)
{
    int r;

    if (path[0])
        return read_file(path, KEY_FILE_FORBIDS, read_key, s, &s->now, e);
    r = read_credential(credentials, CREDENTIAL, read_key, s, &s->now, e);
    if (r == -ENOKEY)
        return error_set(e, -ENOKEY, "There is no root key: set KeyFile, or pass the systemd credential " CREDENTIAL
                         " or " PASSPHRASE ".");
    return r;
}

/* --- the order --------------------------------------------------------------------------------- */

/* A descriptor in memory is read anew after a restart, so from its beginning. */
static int read_given(int fd, const char *name, reader_fn *reader, struct secret *s, struct root *out, struct error *e)
{
    if (fd < 0)
        return -ENOKEY;
    (void)lseek(fd, 0, SEEK_SET);
    return reader(fd, name, s, out, e);
}

static int read_next(const struct root_sources *from, struct secret *s, struct error *e)
{
    int r = read_given(from->new_passphrase, "that was handed over", read_passphrase, s, &s->next, e);

    if (r == -ENOKEY)
        r = read_credential(from->credentials, "landfall.new-passphrase", read_passphrase, s, &s->next, e);
    if (r == -ENOKEY)
        r = read_given(from->new_key, "that was handed over", read_key, s, &s->next, e);
    if (r == -ENOKEY)
        r = read_credential(from->credentials, "landfall.new-key", read_key, s, &s->next, e);
    return r == -ENOKEY ? 0 : r;
}

int root_read(const struct root_sources *from, struct secret *s, struct error *e)
{
    int r = read_given(from->passphrase, "that was handed over", read_passphrase, s, &s->now, e);

    if (r == -ENOKEY)
        r = read_credential(from->credentials, PASSPHRASE, read_passphrase, s, &s->now, e);
    if (r == -ENOKEY)
        r = root_key_read(from->key_file, from->credentials, s, e);
    return r == 0 ? read_next(from, s, e) : r;
}
