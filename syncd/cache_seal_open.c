/* Owns what is done with a sealed file as its pair is opened: with one that has no head, or a damaged one, too.
 *
 * Must not know its chunks (cache_seal.c, cache_fresh.c). */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "common/log.h"
#include "syncd/cache.h"

static void say_head(const struct cache_file *f, int why, const char *then)
{
    const char *reason = why == -EOPNOTSUPP ? "A newer version of Landfall made it."
                         : why == -EIO      ? "The disk does not give the head of its sealed file back."
                                            : "The head of its sealed file is damaged.";
    char path[CACHE_PATH];

    LOG(LOG_ERR, "cache_damaged", "drive=%s", f->cache->volume->drive->id, "ino=%" PRIu64, f->ino, "cache=%s",
        f->cache->volume->cache_dir, "file=%s", cache_file_path(path, f->ino, "seal"), "reason=%s", reason,
        "then=%s", then);
}

/* What the cloud has is fetched into another one. */
static int replace_sealed(struct cache_file *f)
{
    int r = cache_seal_put_aside(f);

    if (r == 0)
        r = cache_seal_begin(f, true, false);
    cache_file_rebase(f, CACHE_OUTDATED);
    return r;
}

/* It was about to be sealed, with nothing in it. */
static int unseal_empty(struct cache_file *f)
{
    char path[CACHE_PATH];

    cache_seal_detach(f);
    return unlinkat(f->cache->dir_fd, cache_file_path(path, f->ino, "seal"), 0) < 0 ? -errno : 0;
}

int cache_seal_open(struct cache_file *f, const struct index_inode *i, bool fresh, bool cut)
{
    int r = cache_seal_begin(f, fresh, cut);

    if (r == -ENODATA)
        return unseal_empty(f);
    if (r == -EUCLEAN || r == -EOPNOTSUPP || r == -EIO) {   /* without its head nothing of it can be read */
        bool clean = !(i->pending & INDEX_CONTENT);

        say_head(f, r, clean ? "It is kept in the folder lost of the cache, and what the cloud has is fetched again."
                             : "It is kept as it is: the cloud does not have it.");
        return clean ? replace_sealed(f) : r;
    }
    return r == 0 && !fresh ? cache_fresh_check(f, i) : r;
}
