/* Owns the key store's file: its form, its creation, its checks. */
#include "cryptd/key_store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "cryptd/aead.h"

#define NEW_NAME KEY_STORE_NAME ".new"

enum { VERSION = 1, SALT_SIZE = 32, CHECK_SIZE = 16 };

struct store_file {
    char magic[8];
    uint8_t version;
    uint8_t zero[7];
    uint8_t salt[SALT_SIZE];
    uint8_t check[CHECK_SIZE];
    uint8_t nonce[AEAD_NONCE_SIZE];
    uint8_t data_key[KEY_SIZE + AEAD_TAG_SIZE];
    uint8_t digest[DIGEST_SIZE];
};
static_assert(sizeof(struct store_file) == KEY_STORE_SIZE, "bytes only, so no padding");

static const char magic[8] = "LNDFKEYS";

/* --- the form -------------------------------------------------------------------------------------- */

static int derive_check(const struct secret *s, const struct store_file *f, uint8_t out[CHECK_SIZE])
{
    return aead_derive(s->root_key, f->salt, SALT_SIZE, "landfall key store 1 check", out, CHECK_SIZE);
}

static int derive_wrap(struct secret *s, const struct store_file *f)
{
    return aead_derive(s->root_key, f->salt, SALT_SIZE, "landfall key store 1 wrap", s->work_key, KEY_SIZE);
}

static int fill(struct store_file *f, struct secret *s)
{
    int r;

    *f = (struct store_file){ .version = VERSION };
    memcpy(f->magic, magic, sizeof(magic));
    secret_random(f->salt, sizeof(f->salt));
    secret_random(f->nonce, sizeof(f->nonce));
    secret_random(s->data_key, KEY_SIZE);
    r = derive_check(s, f, f->check);
    if (r == 0)
        r = derive_wrap(s, f);
    if (r == 0)
        r = aead_seal(s->work_key, f->nonce, f, offsetof(struct store_file, nonce), s->data_key, KEY_SIZE, f->data_key);
    secret_wipe(s->work_key, KEY_SIZE);
    return r == 0 ? aead_digest(f, offsetof(struct store_file, digest), f->digest) : r;
}

static int damaged(const char *path, const char *how, struct error *e)
{
    return error_set(e, -EUCLEAN, "The key store %s is damaged (%s). It was left as it is; put back a copy of it.",
                     path, how);
}

static int unwrap(const struct store_file *f, struct secret *s, const char *path, struct error *e)
{
    uint8_t check[CHECK_SIZE];
    int r = derive_check(s, f, check);

    if (r == 0 && memcmp(check, f->check, CHECK_SIZE) != 0)
        return error_set(e, -ENOKEY, "The root key is not the one that %s was made with. The store was left as it is; "
                         "give cryptd the right root key.", path);
    if (r == 0)
        r = derive_wrap(s, f);
    if (r == 0)
        r = aead_open(s->work_key, f->nonce, f, offsetof(struct store_file, nonce), f->data_key, sizeof(f->data_key),
                      s->data_key);
    secret_wipe(s->work_key, KEY_SIZE);
    if (r == -EBADMSG)
        return damaged(path, "its key does not open", e);
    return r < 0 ? error_set(e, r, "The key store %s could not be opened: %s.", path, strerror(-r)) : 0;
}

static int parse(const struct store_file *f, size_t len, struct secret *s, const char *path, struct error *e)
{
    static const uint8_t zero[sizeof(f->zero)];
    uint8_t digest[DIGEST_SIZE];

    if (len != KEY_STORE_SIZE)
        return damaged(path, "wrong length", e);
    if (memcmp(f->magic, magic, sizeof(magic)) != 0)
        return damaged(path, "no key store", e);
    if (aead_digest(f, offsetof(struct store_file, digest), digest) < 0 ||
        memcmp(digest, f->digest, DIGEST_SIZE) != 0)
        return damaged(path, "wrong checksum", e);
    if (f->version != VERSION || memcmp(f->zero, zero, sizeof(zero)) != 0)
        return error_set(e, -EOPNOTSUPP, "The key store %s was made by a newer version of Landfall.", path);
    return unwrap(f, s, path, e);
}

/* --- the file -------------------------------------------------------------------------------------- */

static int write_new(int dir, const struct store_file *f)
{
    CLEANUP_CLOSE int fd = -1;

    if (unlinkat(dir, NEW_NAME, 0) < 0 && errno != ENOENT)   /* of a start that was cut short */
        return -errno;
    fd = openat(dir, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (write(fd, f, sizeof(*f)) != sizeof(*f))
        return errno != 0 ? -errno : -EIO;
    if (fsync(fd) < 0 || renameat2(dir, NEW_NAME, dir, KEY_STORE_NAME, RENAME_NOREPLACE) < 0 || fsync(dir) < 0)
        return -errno;
    return 0;
}

static int make(int dir, const char *path, struct secret *s, struct error *e)
{
    struct store_file f;
    int r = fill(&f, s);

    if (r == 0)
        r = write_new(dir, &f);
    if (r < 0)
        return error_set(e, r, "The key store %s could not be made: %s.", path, strerror(-r));
    LOG(LOG_NOTICE, "key_store_made", "path=%s", path);
    return 0;
}

static int load(int fd, const char *path, struct secret *s, struct error *e)
{
    uint8_t bytes[KEY_STORE_SIZE + 1];
    struct store_file f = { 0 };
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return error_set(e, -errno, "The key store %s cannot be read: %s.", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
        return error_set(e, -EPERM, "The key store %s must be a regular file of cryptd's user with mode 0600.", path);
    n = read(fd, bytes, sizeof(bytes));
    if (n < 0)
        return error_set(e, -errno, "The key store %s cannot be read: %s.", path, strerror(errno));
    memcpy(&f, bytes, sizeof(f));
    return parse(&f, (size_t)n, s, path, e);
}

/* The lock keeps a second cryptd from making another store at the same moment; it goes with the descriptor. */
static int open_dir(const char *path, struct error *e)
{
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(e, -errno, "The key directory %s cannot be opened: %s.", path, strerror(errno));
    if (st.st_uid != geteuid() || st.st_mode & 022)
        return error_set(e, -EPERM, "The key directory %s must belong to cryptd's user, and only that user may write "
                         "to it.", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(e, -EBUSY, "Another cryptd is starting with the key directory %s.", path);
    return take_fd(&fd);
}

static int open_or_make(const char *dir_path, struct secret *s, struct error *e)
{
    CLEANUP_CLOSE int dir = -1, fd = -1;
    CLEANUP_FREE char *path = NULL;

    if (!dir_path[0])
        return error_set(e, -EINVAL, "KeyDir is not set; cryptd keeps its key store there.");
    dir = open_dir(dir_path, e);
    if (dir < 0)
        return dir;
    if (asprintf(&path, "%s/%s", dir_path, KEY_STORE_NAME) < 0)
        return error_set(e, -ENOMEM, "There is no memory for the path of the key store.");
    fd = openat(dir, KEY_STORE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0)
        return load(fd, path, s, e);
    if (errno != ENOENT)
        return error_set(e, -errno, "The key store %s cannot be opened: %s.", path, strerror(errno));
    return make(dir, path, s, e);
}

int key_store_open(const char *dir, struct secret *s, struct error *e)
{
    int r = open_or_make(dir, s, e);

    secret_wipe(s->root_key, KEY_SIZE);
    if (r < 0)
        secret_wipe(s->data_key, KEY_SIZE);
    return r;
}
