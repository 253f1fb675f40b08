/* Owns reading ahead from name to name, and from a name to its bytes. A program that opens the small files of a
 * directory one after another, or lists directories so, waits for the cloud once each; when the third in a row is
 * opened the next ones are fetched, up to a window that doubles with each that was foreseen, and collapses when the
 * program turns elsewhere. What was fetched is an ordinary file of the cache, what was listed an ordinary listing.
 *
 * Whoever looked up two files and opened each is going to open the third as well. Its metadata would have to be asked
 * for; instead its bytes are, which bring it: one request for the lookup and the open.
 *
 * Whoever opens a good share of the tiny files of a directory in no order is going to open the rest as well. Then
 * others are fetched, whichever come next by number: at most as many, not opened yet, as the program has opened. So
 * what is fetched in vain is never more than what was of use.
 *
 * Must not know who opens, what comes after what (scan_order.c), nor how bytes or names come (fetch.c, listing.c). */
#include "syncd/scan_order.h"

#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/fetch.h"

enum {
    ROWS = 4,            /* sequences at the same time */
    IN_A_ROW = 2,        /* steps from file to file before anything is fetched */
    WINDOW_FIRST = 4,
    WINDOW_MAX = 64,
    WINDOW_DIRECTORIES = 16,
    AT_ONCE = 8,         /* requests; the rest of the connections is for those who wait */
    SHUFFLED_LEAST = 16, /* opened in no order before anything is fetched so */
    SHUFFLED_MAX = 512,  /* fetched so and not opened: 32 MiB at most */
    SHARE = 16,          /* one of so many entries is a good share */
    ENTRIES_MAX = 8192   /* counted; of a directory with more nothing is fetched so */
};

/* Of one that is not larger the bytes cost hardly more than the metadata. */
static const uint64_t TINY = 64 << 10;

/* A larger one is read ahead by itself, and its reader waits long enough not to mind. */
static const uint64_t SMALL = 256 << 10;

/* A directory of which the rest will have been opened by then: half of it before what is fetched now is too old. */
static const uint64_t SOON_MS = 2 * FORESEEN_MS;

enum kind { FILES, DIRECTORIES, KINDS };

/* What is fetched or listed before anybody opens it. */
struct ahead {
    unsigned window;               /* how many it may be */
    struct scan_place at;          /* as far as was looked */
    uint64_t inos[SHUFFLED_MAX];   /* here, or on their way, and not opened yet; as they were looked at */
    unsigned n;
};

struct row {
    TAILQ_ENTRY(row) next;
    uint64_t dir;                  /* 0: free */
    enum kind kind;
    struct scan_place last;        /* what was opened last */
    unsigned steps[SCAN_ORDERS];   /* from file to file, in a row */
    enum scan_order order;
    struct ahead ahead;            /* in that order */
    struct ahead shuffled;         /* in none: it passes the directory once */
    unsigned opened;               /* in none, without a rest of FORESEEN_MS */
    int64_t since_ns, jumped_ns;   /* when the first and the last of these was */
    uint64_t entries;              /* that the directory had when so many had been opened that it mattered */
    uint64_t looked_up;            /* and not opened yet; 0: nothing */
    unsigned kept;                 /* how many that were looked up were opened, in a row */
};

struct scanner {
    struct volume *volume;
    bool closing;
    TAILQ_HEAD(rows, row) rows;    /* the one used last first */
    struct row all[ROWS];
    struct fetching {
        struct scanner *scanner;
        uint64_t ino;              /* 0: free */
        struct cache_file *file;   /* held; NULL: a directory */
    } slots[AT_ONCE];
    unsigned n_fetching;
};

static void look_ahead(struct scanner *s, struct row *w);

/* --- fetching ------------------------------------------------------------------------------------- */

static enum kind kind_of(const struct index_inode *i)
{
    return S_ISDIR(i->mode) ? DIRECTORIES : FILES;
}

/* Its place there counted from 1, or 0. */
static unsigned place_in(const struct ahead *a, uint64_t ino)
{
    for (unsigned n = 0; n < a->n; n++)
        if (a->inos[n] == ino)
            return n + 1;
    return 0;
}

/* Takes `n` away, the last of which has that place. */
static void take_out(struct ahead *a, unsigned place, unsigned n)
{
    memmove(a->inos + place - n, a->inos + place, (a->n - place) * sizeof(*a->inos));
    a->n -= n;
}

static struct row *row_of(struct scanner *s, uint64_t ino)
{
    struct row *w;

    TAILQ_FOREACH(w, &s->rows, next)
        if (place_in(&w->ahead, ino) || place_in(&w->shuffled, ino))
            return w;
    return NULL;
}

/* Those that were opened pay for as many once they are a good share, unless at their pace the rest takes too long. */
static unsigned shuffled_window(const struct row *w)
{
    uint64_t left = excess(w->entries, w->opened), ms = (uint64_t)(loop_now_ns() - w->since_ns) / 1000000;

    if (w->opened < most(w->entries / SHARE, SHUFFLED_LEAST) || w->entries == ENTRIES_MAX ||
        left * ms > w->opened * SOON_MS)
        return 0;
    return (unsigned)least(w->opened, SHUFFLED_MAX);
}

/* What cannot be had is for whoever opens it to hear of. */
static void fetched(const struct error *e, void *arg)
{
    struct fetching *slot = arg;
    struct scanner *s = slot->scanner;
    struct row *w = row_of(s, slot->ino);

    slot->ino = 0;
    s->n_fetching--;
    if (slot->file)
        cache_release(take_ptr(slot->file));
    if (w && e->code) {
        w->ahead.window = 0;
        w->shuffled.window = w->opened = 0;
    }
    TAILQ_FOREACH(w, &s->rows, next)
        look_ahead(s, w);
}

static struct fetching *begin(struct scanner *s, uint64_t ino, struct cache_file *f)
{
    struct fetching *slot = s->slots;

    while (slot->ino)
        slot++;
    *slot = (struct fetching){ s, ino, f };
    s->n_fetching++;
    return slot;
}

/* Its cache file, held, when it has anything to fetch; else NULL. */
static struct cache_file *foresee(struct volume *v, const struct index_inode *i, uint64_t most)
{
    struct cache_file *f;

    if (!S_ISREG(i->mode) || i->pending || !i->cloud_key || i->size == 0 || i->size > most ||
        cache_acquire(v->cache, i, &f) < 0)
        return NULL;
    if (cache_file_whole(f)) {
        cache_release(f);
        return NULL;
    }
    f->map->foreseen_ns = loop_wall_ns();
    return f;
}

static bool fetch_file(struct scanner *s, const struct index_inode *i, uint64_t most)
{
    struct volume *v = s->volume;
    struct cache_file *f = cache_opening(v->cache, i->ino) ? NULL : foresee(v, i, most);

    if (!f)
        return false;
    fetch_range(f, FETCH_SCAN, 0, most, (uint64_t)v->config->read_deadline_seconds * 1000, fetched,
                begin(s, i->ino, f));
    return true;
}

static bool list_directory(struct scanner *s, const struct index_inode *i, uint64_t most)
{
    (void)most;
    if (!S_ISDIR(i->mode) || i->listed_ns)
        return false;
    lister_ensure(s->volume->lister, i->ino, fetched, begin(s, i->ino, NULL));
    return true;
}

struct fetches {
    unsigned window;
    uint64_t bytes;   /* the most that one takes */
    /* False: there is nothing to fetch. */
    bool (*fetch)(struct scanner *s, const struct index_inode *i, uint64_t most);
};

static const struct fetches kinds[KINDS] = {
    [FILES] = { WINDOW_MAX, SMALL, fetch_file },
    [DIRECTORIES] = { WINDOW_DIRECTORIES, 0, list_directory },
};

static const struct fetches shuffled_files = { SHUFFLED_MAX, TINY, fetch_file };

/* Space that is scarce is not for what may never be read. */
static bool may_take(const struct scanner *s, uint64_t space)
{
    struct volume *v = s->volume;

    return !s->closing && !v->paused && !lister_failing(v->lister) && space_ahead(v->cache) >= space;
}

static bool may_fetch(const struct scanner *s, const struct ahead *a, const struct fetches *k)
{
    return a->n < a->window && s->n_fetching < AT_ONCE && may_take(s, (a->n + 1) * k->bytes);
}

static void look_on(struct scanner *s, uint64_t dir, struct ahead *a, enum scan_order o, const struct fetches *k)
{
    unsigned passed = 0;

    while (passed++ < SCAN_PASSED && may_fetch(s, a, k)) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        if (!scan_orders[o].step(s->volume, dir, &a->at) || index_get(s->volume->index, a->at.ino, &i) < 0)
            return;
        a->inos[a->n++] = i.ino;   /* first: its answer may come at once */
        if (!k->fetch(s, &i, k->bytes))
            a->n--;
    }
}

static void look_ahead(struct scanner *s, struct row *w)
{
    look_on(s, w->dir, &w->ahead, w->order, &kinds[w->kind]);
    if (w->ahead.window == 0)
        look_on(s, w->dir, &w->shuffled, SCAN_BY_NUMBER, &shuffled_files);
}

/* --- who opens what --------------------------------------------------------------------------------- */

/* With it goes what was passed over. */
static void step_ahead(struct row *w, unsigned place)
{
    take_out(&w->ahead, place, place);
    w->ahead.window = least(w->ahead.window * 2, kinds[w->kind].window);
}

/* What was not foreseen: the order that it goes on in, if any, begins here. */
static void turn(struct row *w, const struct index_inode *i)
{
    struct ahead *a = &w->ahead;

    a->n = 0;
    w->order = w->steps[SCAN_BY_NAME] > w->steps[SCAN_BY_NUMBER] ? SCAN_BY_NAME : SCAN_BY_NUMBER;
    a->window = w->steps[w->order] >= IN_A_ROW ? WINDOW_FIRST : 0;
    scan_place_set(&a->at, i);
}

/* False: it is in no order. What was fetched in none does not end one that it follows. */
static bool step(struct volume *v, struct row *w, const struct index_inode *i, bool shuffled)
{
    unsigned place = place_in(&w->ahead, i->ino);

    for (int o = 0; o < SCAN_ORDERS; o++)
        w->steps[o] = w->last.ino && scan_orders[o].follows(v, &w->last, i) ? w->steps[o] + 1 : 0;
    if (place)
        step_ahead(w, place);
    else if (!shuffled || w->ahead.window == 0 || w->steps[w->order] == 0)
        turn(w, i);
    scan_place_set(&w->last, i);
    return w->ahead.window > 0;
}

static void jump(struct volume *v, struct row *w)
{
    int64_t now = loop_now_ns();

    if (w->opened == 0 || now - w->jumped_ns > FORESEEN_MS * INT64_C(1000000)) {
        w->opened = 0;
        w->since_ns = now;
    }
    w->jumped_ns = now;
    if (++w->opened == SHUFFLED_LEAST)
        w->entries = index_entries(v->index, w->dir, ENTRIES_MAX);
    w->shuffled.window = shuffled_window(w);
}

static void opened(struct volume *v, struct row *w, const struct index_inode *i)
{
    unsigned place = place_in(&w->shuffled, i->ino);

    if (place)
        take_out(&w->shuffled, place, 1);
    if (!step(v, w, i, place) && S_ISREG(i->mode) && i->size <= TINY)
        jump(v, w);
}

static struct row *find_row(struct scanner *s, uint64_t dir, enum kind kind)
{
    struct row *w;

    TAILQ_FOREACH(w, &s->rows, next)
        if (w->dir == dir && w->kind == kind)
            return w;
    return NULL;
}

static struct row *row_for(struct scanner *s, uint64_t dir, enum kind kind)
{
    struct row *w = find_row(s, dir, kind);

    if (!w) {
        w = TAILQ_LAST(&s->rows, rows);
        TAILQ_REMOVE(&s->rows, w, next);
        *w = (struct row){ .dir = dir, .kind = kind };
    } else {
        TAILQ_REMOVE(&s->rows, w, next);
    }
    TAILQ_INSERT_HEAD(&s->rows, w, next);
    return w;
}

struct cache_file *scanner_looked_up(struct volume *v, const struct index_inode *i)
{
    struct scanner *s = v->scanner;
    struct row *w = i->settled ? NULL : find_row(s, i->parent, FILES);

    if (!w)
        return NULL;
    if (w->looked_up && w->looked_up != i->ino)
        w->kept = 0;
    w->looked_up = i->ino;
    return w->kept >= IN_A_ROW && may_take(s, TINY) ? foresee(v, i, TINY) : NULL;
}

static bool opened_as_looked_up(struct scanner *s, uint64_t ino)
{
    struct row *w;

    TAILQ_FOREACH(w, &s->rows, next)
        if (w->looked_up == ino) {
            w->looked_up = 0;
            w->kept++;
            return true;
        }
    return false;
}

/* What is wholly here and was not fetched for this is no sign of waiting. */
void scanner_opened(struct volume *v, uint64_t ino, bool cold)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct scanner *s = v->scanner;
    struct row *w;

    if (!opened_as_looked_up(s, ino) && !cold && !row_of(s, ino))
        return;
    if (index_get(v->index, ino, &i) < 0 || !i.parent || i.name_len >= sizeof(w->last.name))
        return;
    w = row_for(s, i.parent, kind_of(&i));
    if (w->last.ino != ino)
        opened(v, w, &i);
    look_ahead(s, w);
}

/* --- the contract --------------------------------------------------------------------------------- */

void scanner_new(struct volume *v)
{
    struct scanner *s = xcalloc(1, sizeof(*s));

    s->volume = v;
    TAILQ_INIT(&s->rows);
    for (unsigned n = 0; n < ROWS; n++)
        TAILQ_INSERT_TAIL(&s->rows, &s->all[n], next);
    v->scanner = s;
}

void scanner_stop(struct volume *v)
{
    if (v->scanner)
        v->scanner->closing = true;
}

void scanner_free(struct volume *v)
{
    struct scanner *s = take_ptr(v->scanner);

    if (!s)
        return;
    for (unsigned n = 0; n < AT_ONCE; n++)
        if (s->slots[n].file) {
            fetch_forget(s->slots[n].file, &s->slots[n]);
            cache_release(s->slots[n].file);
        }
    free(s);
}
