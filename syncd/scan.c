/* Owns reading ahead from name to name, and from a name to its bytes. A program that opens the small files of a
 * directory one after another, or lists directories so, waits for the cloud once each; when the third in a row is
 * opened the next ones are fetched, up to a window that doubles with each that was foreseen, and collapses when the
 * program turns elsewhere. What was fetched is an ordinary file of the cache, what was listed an ordinary listing.
 *
 * Whoever looked up two files and opened each is going to open the third as well. Its metadata would have to be asked
 * for; instead its bytes are, which bring it: one request for the lookup and the open.
 *
 * "In a row" is by inode number, which is the order of readdir(3) and nearly that of the names, or by the number
 * in the name ("scan-9", "scan-10").
 *
 * Must not know who opens, nor how bytes or names come (fetch.c, listing.c). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/fetch.h"
#include "syncd/name.h"

enum {
    ROWS = 4,            /* sequences at the same time */
    IN_A_ROW = 2,        /* steps from file to file before anything is fetched */
    WINDOW_FIRST = 4,
    WINDOW_MAX = 64,
    WINDOW_DIRECTORIES = 16,
    AT_ONCE = 8,         /* requests; the rest of the connections is for those who wait */
    NEAR = 4,            /* entries of its kind that a step may reach over: what is there already */
    PASSED_OVER = 64     /* entries that are looked at in one go for something to fetch */
};

/* Of one that is not larger the bytes cost hardly more than the metadata. */
static const uint64_t TINY = 64 << 10;

/* A larger one is read ahead by itself, and its reader waits long enough not to mind. */
static const uint64_t SMALL = 256 << 10;

enum order { BY_NUMBER, BY_NAME, ORDERS };
enum kind { FILES, DIRECTORIES, KINDS };

struct row {
    TAILQ_ENTRY(row) next;
    uint64_t dir, last;            /* 0: free; what was opened last */
    enum kind kind;
    char name[NAME_SIZE];
    unsigned steps[ORDERS];        /* from file to file, in a row */
    enum order order;
    unsigned window;
    uint64_t at;                   /* as far as was looked ahead */
    char at_name[NAME_SIZE];
    uint64_t ahead[WINDOW_MAX];    /* here, or on their way, and not opened yet; in order */
    unsigned n_ahead;
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

/* --- the order ------------------------------------------------------------------------------------ */

static enum kind kind_of(const struct index_inode *i)
{
    return S_ISDIR(i->mode) ? DIRECTORIES : FILES;
}

struct near {
    unsigned passed, near;     /* entries that may still be looked at, in all and of the kind */
    enum kind kind;
    uint64_t ino;
    bool found;
};

static bool compare_entry(const struct index_inode *i, void *arg)
{
    struct near *n = arg;

    n->found = i->ino == n->ino;
    n->near -= kind_of(i) == n->kind;
    return !n->found && n->near > 0 && --n->passed > 0;
}

static bool is_near(struct volume *v, const struct row *w, const struct index_inode *i)
{
    struct near n = { .passed = PASSED_OVER, .near = NEAR, .kind = w->kind, .ino = i->ino };

    return i->ino > w->last && index_scan(v->index, w->dir, w->last, compare_entry, &n) == 0 && n.found;
}

/* The last number in the name is one more, with as many digits at least. False: there is none, or no room. */
static bool name_after(const char *name, char ret[NAME_SIZE])
{
    size_t end = strlen(name), begin, len;
    unsigned long long number;

    while (end > 0 && !isdigit((unsigned char)name[end - 1]))
        end--;
    for (begin = end; begin > 0 && end - begin < 18 && isdigit((unsigned char)name[begin - 1]);)
        begin--;
    if (begin == end)
        return false;
    number = strtoull(name + begin, NULL, 10) + 1;
    len = (size_t)snprintf(ret, NAME_SIZE, "%.*s%0*llu%s", (int)begin, name, (int)(end - begin), number, name + end);
    return len < NAME_SIZE;
}

static bool is_named_next(struct volume *v, const struct row *w, const struct index_inode *i)
{
    char next[NAME_SIZE];

    (void)v;
    return name_after(w->name, next) && strcmp(i->name, next) == 0;
}

static bool copy_entry(const struct index_inode *i, void *arg)
{
    struct near *n = arg;

    n->ino = i->ino;
    n->found = true;
    return false;
}

static uint64_t next_by_number(struct volume *v, struct row *w)
{
    struct near n = { 0 };

    return index_scan(v->index, w->dir, w->at, copy_entry, &n) == 0 && n.found ? n.ino : 0;
}

static uint64_t next_by_name(struct volume *v, struct row *w)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    char next[NAME_SIZE];

    if (!name_after(w->at_name, next) || index_find(v->index, w->dir, next, strlen(next), &i) < 0)
        return 0;
    memcpy(w->at_name, next, sizeof(next));
    return i.ino;
}

static const struct {
    bool (*follows)(struct volume *v, const struct row *w, const struct index_inode *i);
    uint64_t (*next)(struct volume *v, struct row *w);   /* of the entry after w->at; 0: there is none */
} orders[ORDERS] = {
    [BY_NUMBER] = { is_near, next_by_number },
    [BY_NAME] = { is_named_next, next_by_name },
};

/* --- fetching ------------------------------------------------------------------------------------- */

/* Its place in `ahead` counted from 1, or 0. */
static unsigned place_ahead(const struct row *w, uint64_t ino)
{
    for (unsigned n = 0; n < w->n_ahead; n++)
        if (w->ahead[n] == ino)
            return n + 1;
    return 0;
}

static struct row *row_of(struct scanner *s, uint64_t ino)
{
    struct row *w;

    TAILQ_FOREACH(w, &s->rows, next)
        if (place_ahead(w, ino))
            return w;
    return NULL;
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
    if (w && e->code)
        w->window = 0;
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

static bool fetch_file(struct scanner *s, const struct index_inode *i)
{
    struct volume *v = s->volume;
    struct cache_file *f = foresee(v, i, SMALL);

    if (!f)
        return false;
    fetch_range(f, FETCH_SCAN, 0, SMALL, (uint64_t)v->config->read_deadline_seconds * 1000, fetched,
                begin(s, i->ino, f));
    return true;
}

static bool list_directory(struct scanner *s, const struct index_inode *i)
{
    if (!S_ISDIR(i->mode) || i->listed_ns)
        return false;
    lister_ensure(s->volume->lister, i->ino, fetched, begin(s, i->ino, NULL));
    return true;
}

static const struct {
    unsigned window;
    bool (*fetch)(struct scanner *s, const struct index_inode *i);   /* false: there is nothing to fetch */
} kinds[KINDS] = {
    [FILES] = { WINDOW_MAX, fetch_file },
    [DIRECTORIES] = { WINDOW_DIRECTORIES, list_directory },
};

/* Space that is scarce is not for what may never be read. */
static bool may_take(const struct scanner *s, uint64_t space)
{
    struct volume *v = s->volume;

    return !s->closing && !v->paused && !lister_failing(v->lister) && space_ahead(v->cache) >= space;
}

static bool may_fetch(const struct scanner *s, const struct row *w)
{
    return w->n_ahead < w->window && s->n_fetching < AT_ONCE &&
           may_take(s, w->kind == DIRECTORIES ? 0 : (w->n_ahead + 1) * SMALL);
}

static void look_ahead(struct scanner *s, struct row *w)
{
    unsigned passed = 0;

    while (passed++ < PASSED_OVER && may_fetch(s, w)) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };
        uint64_t ino = orders[w->order].next(s->volume, w);

        if (!ino || index_get(s->volume->index, ino, &i) < 0)
            return;
        w->at = ino;
        w->ahead[w->n_ahead++] = ino;   /* first: its answer may come at once */
        if (!kinds[w->kind].fetch(s, &i))
            w->n_ahead--;
    }
}

/* --- who opens what --------------------------------------------------------------------------------- */

/* With it goes what was passed over. */
static void step_ahead(struct row *w, unsigned place)
{
    w->n_ahead -= place;
    memmove(w->ahead, w->ahead + place, w->n_ahead * sizeof(*w->ahead));
    w->window = least(w->window * 2, kinds[w->kind].window);
}

/* What was not foreseen: the order that it goes on in, if any, begins here. */
static void turn(struct row *w, const struct index_inode *i)
{
    w->n_ahead = 0;
    w->order = w->steps[BY_NAME] > w->steps[BY_NUMBER] ? BY_NAME : BY_NUMBER;
    w->window = w->steps[w->order] >= IN_A_ROW ? WINDOW_FIRST : 0;
    w->at = i->ino;
    memcpy(w->at_name, i->name, i->name_len + 1);
}

static void step(struct volume *v, struct row *w, const struct index_inode *i)
{
    unsigned place = place_ahead(w, i->ino);

    for (int o = 0; o < ORDERS; o++)
        w->steps[o] = w->last && orders[o].follows(v, w, i) ? w->steps[o] + 1 : 0;
    if (place)
        step_ahead(w, place);
    else
        turn(w, i);
    w->last = i->ino;
    memcpy(w->name, i->name, i->name_len + 1);
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
        w->dir = dir;
        w->kind = kind;
        w->last = w->looked_up = 0;
        w->n_ahead = w->window = w->kept = 0;
    }
    TAILQ_REMOVE(&s->rows, w, next);
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
    if (index_get(v->index, ino, &i) < 0 || !i.parent || i.name_len >= sizeof(w->name))
        return;
    w = row_for(s, i.parent, kind_of(&i));
    if (w->last != ino)
        step(v, w, &i);
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
