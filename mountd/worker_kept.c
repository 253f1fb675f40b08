/* Chunks of sealed files that were just written: a program that writes little by little writes the same one again, and
 * what it has need not be opened each time. Owns that plaintext, which lies where cryptd seals it from.
 *
 * What is in the file counts: the record that is there is the one that was stored with those bytes, or somebody else
 * has written the chunk, or it went. So nobody has to say that it changed. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "mountd/worker_internal.h"

enum { KEPT_MOST = 8 };          /* of 128 KiB each */

struct kept_chunk {
    TAILQ_ENTRY(kept_chunk) next;
    struct file *file;           /* in use */
    struct kept kept;
    unsigned exchanged;          /* the file's, then */
};

/* What it had is the caller's. */
static struct kept forget(struct worker *w, struct file *f)
{
    struct kept_chunk *k = f->kept;
    struct kept kept = k->kept;

    TAILQ_REMOVE(&w->kept, k, next);
    w->n_kept--;
    f->kept = NULL;
    free(k);
    file_unuse(&w->files, f);
    return kept;
}

void kept_drop(struct worker *w, struct file *f)
{
    if (f->kept)
        sealed_job_end(forget(w, f).job);
}

void kept_drop_all(struct worker *w)
{
    while (!TAILQ_EMPTY(&w->kept))
        kept_drop(w, TAILQ_FIRST(&w->kept)->file);
}

void kept_put(struct worker *w, struct file *f, struct kept kept)
{
    struct kept_chunk *k = xcalloc(1, sizeof(*k));

    file_use(f);
    kept_drop(w, f);
    if (w->n_kept == KEPT_MOST)
        kept_drop(w, TAILQ_FIRST(&w->kept)->file);
    *k = (struct kept_chunk){ .file = f, .kept = kept, .exchanged = f->exchanged };
    TAILQ_INSERT_TAIL(&w->kept, k, next);
    w->n_kept++;
    f->kept = k;
}

static bool is_current(const struct file *f)
{
    const struct sealed_job *job = f->kept->kept.job;
    struct sealed_entry e;
    int slot;

    if (f->kept->exchanged != f->exchanged || sealed_entries(f->fd, job->first, 1, &e) < 0)
        return false;
    slot = sealed_newest(&e, UINT64_MAX);
    return slot >= 0 && memcmp(&e.records[slot], &job->chunks[0].record, sizeof(e.records[slot])) == 0;
}

static bool is_of(const struct file *f, uint64_t chunk)
{
    return f->kept && f->kept->kept.job->first == chunk;
}

bool kept_has_space(const struct file *f, uint64_t chunk)
{
    return is_of(f, chunk) && f->kept->kept.writes >= SEALED_SLOTS;
}

bool kept_take(struct worker *w, struct file *f, uint64_t chunk, struct kept *ret)
{
    if (!is_of(f, chunk))
        return false;
    if (!is_current(f)) {
        kept_drop(w, f);
        return false;
    }
    *ret = forget(w, f);
    return true;
}
