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
#include "cryptd/passphrase.h"

#define NEW_NAME KEY_STORE_NAME ".new"

enum { VERSION = 2, VERSION_OF_KEYS_ONLY = 1, SALT_SIZE = 32, CHECK_SIZE = 16 };

struct store_file {
    char magic[8];
    uint8_t version;
    uint8_t root;                 /* enum root_kind; 0 in version 1 */
    struct scrypt_cost cost;
    uint8_t zero[3];
    uint8_t salt[SALT_SIZE];
    uint8_t check[CHECK_SIZE];
    uint8_t nonce[AEAD_NONCE_SIZE];
    uint8_t data_key[KEY_SIZE + AEAD_TAG_SIZE];
    uint8_t digest[DIGEST_SIZE];
};
static_assert(sizeof(struct store_file) == KEY_STORE_SIZE, "bytes only, so no padding");

static const char magic[8] = "LNDFKEYS";

static const struct {
    const char *check, *wrap;
} labels[] = {
    [VERSION_OF_KEYS_ONLY] = { "landfall key store 1 check", "landfall key store 1 wrap" },
    [VERSION] = { "landfall key store 2 check", "landfall key store 2 wrap" },
};

/* --- the form -------------------------------------------------------------------------------------- */

static enum root_kind kind_of(const struct store_file *f)
{
    return f->version == VERSION_OF_KEYS_ONLY ? ROOT_KEY : (enum root_kind)f->root;
}

/* Into s->root_key. */
static int make_root_key(const struct root *root, const struct store_file *f, struct secret *s, struct error *e)
{
    if (root->kind == ROOT_PASSPHRASE)
        return passphrase_derive(root->passphrase, root->passphrase_len, f->salt, SALT_SIZE, &f->cost, s->root_key, e);
    memcpy(s->root_key, root->key, KEY_SIZE);
    return 0;
}

static int derive_check(const struct secret *s, const struct store_file *f, uint8_t out[CHECK_SIZE])
{
    return aead_derive(s->root_key, f->salt, SALT_SIZE, labels[f->version].check, out, CHECK_SIZE);
}

static int derive_wrap(struct secret *s, const struct store_file *f)
{
    return aead_derive(s->root_key, f->salt, SALT_SIZE, labels[f->version].wrap, s->work_key, KEY_SIZE);
}

static int seal_data_key(struct store_file *f, struct secret *s)
{
    int r = derive_check(s, f, f->check);

    if (r == 0)
        r = derive_wrap(s, f);
    if (r == 0)
        r = aead_seal(AEAD_AES_256_GCM, s->work_key, f->nonce, f, offsetof(struct store_file, nonce), s->data_key,
                      KEY_SIZE, f->data_key, f->data_key + KEY_SIZE);
    secret_wipe(s->work_key, KEY_SIZE);
    return r == 0 ? aead_digest(f, offsetof(struct store_file, digest), f->digest) : r;
}

/* A store of s->data_key that `root` unlocks. */
static int fill(struct store_file *f, const struct root *root, struct secret *s, struct error *e)
{
    int r;

    *f = (struct store_file){ .version = VERSION, .root = (uint8_t)root->kind };
    memcpy(f->magic, magic, sizeof(magic));
    if (root->kind == ROOT_PASSPHRASE)
        f->cost = scrypt_cost_new;
    secret_random(f->salt, sizeof(f->salt));
    secret_random(f->nonce, sizeof(f->nonce));
    r = make_root_key(root, f, s, e);
    if (r == 0 && seal_data_key(f, s) < 0)
        r = error_set(e, -EIO, "The key store could not be sealed: libcrypto failed.");
    secret_wipe(s->root_key, KEY_SIZE);
    return r;
}

static int damaged(const char *path, const char *how, struct error *e)
{
    return error_set(e, -EUCLEAN, "The key store %s is damaged (%s). It was left as it is; put back a copy of it.",
                     path, how);
}

static int wrong_root(const struct root *root, const char *path, struct error *e)
{
    return error_set(e, -ENOKEY, "The %s is not the one that %s was made with. The store was left as it is; give "
                     "cryptd the right %s.", root->kind == ROOT_KEY ? "root key" : "passphrase", path,
                     root->kind == ROOT_KEY ? "root key" : "one");
}

static int unwrap(const struct store_file *f, const struct root *root, struct secret *s, const char *path,
                  struct error *e)
{
    uint8_t check[CHECK_SIZE];
    int r = derive_check(s, f, check);

    if (r == 0 && !aead_same(check, f->check, CHECK_SIZE))
        return wrong_root(root, path, e);
    if (r == 0)
        r = derive_wrap(s, f);
    if (r == 0)
        r = aead_open(AEAD_AES_256_GCM, s->work_key, f->nonce, f, offsetof(struct store_file, nonce), f->data_key,
                      KEY_SIZE, f->data_key + KEY_SIZE, s->data_key);
    secret_wipe(s->work_key, KEY_SIZE);
    if (r == -EBADMSG)
        return damaged(path, "its key does not open", e);
    return r < 0 ? error_set(e, r, "The key store %s could not be opened: %s.", path, strerror(-r)) : 0;
}

static int try_root(const struct store_file *f, const struct root *root, struct secret *s, const char *path,
                    struct error *e)
{
    int r;

    if (root->kind != kind_of(f))
        return error_set(e, -ENOKEY, kind_of(f) == ROOT_PASSPHRASE
                         ? "The key store %s is unlocked with a passphrase, and none was given."
                         : "The key store %s is unlocked with a root key, and a passphrase was given.", path);
    r = make_root_key(root, f, s, e);
    if (r == 0)
        r = unwrap(f, root, s, path, e);
    secret_wipe(s->root_key, KEY_SIZE);
    return r;
}

static bool known_root(const struct store_file *f)
{
    static const struct scrypt_cost none;

    if (f->version == VERSION && f->root == ROOT_PASSPHRASE)
        return true;
    return f->root == (f->version == VERSION ? ROOT_KEY : 0) && memcmp(&f->cost, &none, sizeof(none)) == 0;
}

static int parse(const struct store_file *f, size_t len, const char *path, struct error *e)
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
    if (f->version < VERSION_OF_KEYS_ONLY || f->version > VERSION || memcmp(f->zero, zero, sizeof(zero)) != 0 ||
        !known_root(f))
        return error_set(e, -EOPNOTSUPP, "The key store %s was made by a newer version of Landfall.", path);
    if (kind_of(f) == ROOT_PASSPHRASE && !scrypt_cost_bearable(&f->cost))
        return damaged(path, "it asks for more memory than any passphrase needs", e);
    return 0;
}

/* --- the file -------------------------------------------------------------------------------------- */

static int write_synced(int dir, const struct store_file *f)
{
    CLEANUP_CLOSE int fd = -1;

    if (unlinkat(dir, NEW_NAME, 0) < 0 && errno != ENOENT)   /* of a start that was cut short */
        return -errno;
    fd = openat(dir, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    errno = 0;
    if (write(fd, f, sizeof(*f)) != sizeof(*f))
        return errno != 0 ? -errno : -EIO;
    return fsync(fd) < 0 ? -errno : 0;
}

static int put(int dir, const struct store_file *f, unsigned flags)
{
    int r = write_synced(dir, f);

    if (r == 0 && (renameat2(dir, NEW_NAME, dir, KEY_STORE_NAME, flags) < 0 || fsync(dir) < 0))
        r = -errno;
    return r;
}

/* Writes the store of s->data_key that `root` unlocks. */
static int store(int dir, const char *path, const struct root *root, unsigned flags, struct secret *s, struct error *e)
{
    struct store_file f;
    int r = fill(&f, root, s, e);

    if (r < 0)
        return r;
    r = put(dir, &f, flags);
    return r < 0 ? error_set(e, r, "The key store %s could not be written: %s.", path, strerror(-r)) : 0;
}

static int make(int dir, const char *path, struct secret *s, struct error *e)
{
    const struct root *root = s->next.kind != ROOT_NONE ? &s->next : &s->now;
    int r;

    secret_random(s->data_key, KEY_SIZE);
    r = store(dir, path, root, RENAME_NOREPLACE, s, e);
    if (r == 0)
        LOG(LOG_NOTICE, "key_store_made", "path=%s", path);
    return r;
}

static int load(int fd, const char *path, struct store_file *f, struct error *e)
{
    uint8_t bytes[KEY_STORE_SIZE + 1];
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return error_set(e, -errno, "The key store %s cannot be read: %s.", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
        return error_set(e, -EPERM, "The key store %s must be a regular file of cryptd's user with mode 0600.", path);
    n = read(fd, bytes, sizeof(bytes));
    if (n < 0)
        return error_set(e, -errno, "The key store %s cannot be read: %s.", path, strerror(errno));
    memcpy(f, bytes, sizeof(*f));
    return parse(f, (size_t)n, path, e);
}

/* What was to be changed may have been, by a start that was cut short after it. */
static int unlock(int dir, const char *path, const struct store_file *f, struct secret *s, struct error *e)
{
    bool change = s->next.kind != ROOT_NONE;
    int r;

    if (change && s->next.kind == kind_of(f) && try_root(f, &s->next, s, path, e) == 0)
        return 0;
    r = try_root(f, &s->now, s, path, e);
    if (r < 0 || (!change && f->version == VERSION))
        return r;
    r = store(dir, path, change ? &s->next : &s->now, 0, s, e);
    if (r == 0)
        LOG(LOG_NOTICE, "key_store_rewritten", "path=%s", path, "reason=%s", change ? "another secret" : "version");
    else if (!change)
        LOG(LOG_WARNING, "key_store_not_rewritten", "path=%s", path, "reason=%s", error_text(e));
    return change ? r : 0;
}

static int load_and_unlock(int dir, int fd, const char *path, struct secret *s, struct error *e)
{
    struct store_file f;
    int r = load(fd, path, &f, e);

    return r == 0 ? unlock(dir, path, &f, s, e) : r;
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
        return load_and_unlock(dir, fd, path, s, e);
    if (errno != ENOENT)
        return error_set(e, -errno, "The key store %s cannot be opened: %s.", path, strerror(errno));
    return make(dir, path, s, e);
}

int key_store_open(const char *dir, struct secret *s, struct error *e)
{
    int r = open_or_make(dir, s, e);

    secret_wipe(s->root_key, KEY_SIZE);
    secret_wipe(&s->now, sizeof(s->now));
    secret_wipe(&s->next, sizeof(s->next));
    if (r < 0)
        secret_wipe(s->data_key, KEY_SIZE);
    return r;
}
