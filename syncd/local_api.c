/* Answers about this machine's own file systems. What blocks runs apart, and its answer is waited for only so long.
 *
 * A folder is read in parts, of which a few are kept between the pages of a list: so one of a million entries is not
 * read a thousand times, nor held as a whole by anybody. */
#include "syncd/local_api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/apart.h"
#include "syncd/drive.h"
#include "syncd/local_dir.h"
#include "syncd/page.h"
#include "syncd/path.h"
#include "syncd/syncd.h"

enum { PATIENCE_MS = 20000, KEPT_MOST = 4, KEPT_MS = 60000, TOKEN_MAX = 3 * 4096 };
/* OBJECT: of the contract. */
enum { OBJECT_FILE = 1, OBJECT_FOLDER = 2 };

/* What was read of a folder, and how far it was told. */
struct part {
    TAILQ_ENTRY(part) next;
    struct local *local;
    struct local_listing listing;
    size_t at;
    struct loop_timer *timer;
};

struct job {
    LIST_ENTRY(job) next;
    struct local *local;
    struct ipc_request *req;       /* NULL: answered */
    struct loop_timer *deadline;
    void (*answer)(struct job *j);
    char *subject;                 /* what does not answer, when it does not; owned */
    struct part *part;             /* which of these depends on the answer */
    struct local_making making;
    struct local_points points;
    char *after;
};

struct local {
    struct syncd *d;
    LIST_HEAD(, job) jobs;
    TAILQ_HEAD(parts, part) kept;       /* the one used last first */
    size_t n_kept;
};

/* --- jobs --------------------------------------------------------------------------------------- */

static void part_free(struct part *p)
{
    if (!p)
        return;
    loop_timer_free(p->timer);
    local_listing_done(&p->listing);
    free(p);
}

static void job_free(struct job *j)
{
    LIST_REMOVE(j, next);
    loop_timer_free(j->deadline);
    part_free(j->part);
    local_making_done(&j->making);
    local_points_done(&j->points);
    free(j->subject);
    free(j->after);
    free(j);
}

static void on_deadline(void *arg)
{
    struct job *j = arg;

    ipc_fail(take_ptr(j->req), -ETIMEDOUT, "The file system of %.300s does not answer.", j->subject);
}

static void job_done(void *arg)
{
    struct job *j = arg;

    if (j->req)
        j->answer(j);
    job_free(j);
}

static struct job *job_new(struct syncd *d, struct ipc_request *req, const char *subject, void (*answer)(struct job *j))
{
    struct job *j = xcalloc(1, sizeof(*j));

    *j = (struct job){ .local = d->local, .req = req, .answer = answer, .subject = xstrdup(subject) };
    LIST_INSERT_HEAD(&d->local->jobs, j, next);
    return j;
}

static void job_run(struct job *j, void (*work)(void *job))
{
    j->deadline = loop_timer(j->local->d->loop, PATIENCE_MS, on_deadline, j);
    if (apart_run(j->local->d->apart, work, job_done, j) == 0)
        return;
    ipc_fail(j->req, -EAGAIN, "Too many questions about this machine's folders wait for file systems that do not "
             "answer; try again.");
    job_free(j);
}

/* --- tokens and paths ----------------------------------------------------------------------------- */

/* The name that a page ended with, which may be of any bytes, as text; owned by the caller. */
static char *token(const char *name)
{
    CLEANUP(text_free) struct text t = TEXT_INIT(TOKEN_MAX);

    text_percent_encode(&t, name, strlen(name), false);
    return text_take(&t);
}

static char *untoken(const char *page)
{
    char *name = xstrdup(page ? page : "");

    if (text_percent_decode(name) < 0)
        *name = '\0';
    return name;
}

/* Nothing and "/" are the user's home, as the contract has it. Owned by the caller; NULL with a sentence. */
static char *folder_of(const struct syncd *d, const char *path, struct error *e)
{
    CLEANUP_FREE char *clean = NULL;
    char *whole = NULL;

    if (path && *path && *path != '/') {
        error_set(e, -EINVAL, "The path %.300s is not absolute.", path);
        return NULL;
    }
    if (path_clean(path ? path : "", "/", &clean, e) < 0)
        return NULL;
    if (*clean && asprintf(&whole, "/%s", clean) < 0)
        abort();
    if (!whole && !d->home)
        error_set(e, -ENOENT, "The user that this agent serves has no home.");
    return whole ? whole : xstrdup(d->home);
}

/* --- parts ---------------------------------------------------------------------------------------- */

static void forget(struct part *p)
{
    TAILQ_REMOVE(&p->local->kept, p, next);
    p->local->n_kept--;
    loop_timer_free(take_ptr(p->timer));
}

static void on_old(void *arg)
{
    struct part *p = arg;

    forget(p);
    part_free(p);
}

static void keep(struct part *p)
{
    struct local *l = p->local;

    if (l->n_kept == KEPT_MOST)
        on_old(TAILQ_LAST(&l->kept, parts));
    TAILQ_INSERT_HEAD(&l->kept, p, next);
    l->n_kept++;
    p->timer = loop_timer(l->d->loop, KEPT_MS, on_old, p);
}

/* The part that goes on behind that name, the caller's from now on, or NULL. */
static struct part *find_kept(struct local *l, const char *path, const char *after, bool directories_only)
{
    struct part *p;

    TAILQ_FOREACH(p, &l->kept, next)
        if (p->listing.directories_only == directories_only && strcmp(p->listing.path, path) == 0 &&
            strcmp(p->listing.entries[p->at - 1].name, after) == 0) {
            forget(p);
            return p;
        }
    return NULL;
}

/* --- what is in a folder ---------------------------------------------------------------------------- */

static Lf__LocalObject *new_object(const struct local_listing *l, const struct local_entry *entry)
{
    Lf__LocalObject *o = xcalloc(1, sizeof(*o));

    lf__local_object__init(o);
    o->file_name = xstrdup(entry->name);
    if (asprintf(&o->full_path, "%s/%s", strcmp(l->path, "/") == 0 ? "" : l->path, entry->name) < 0)
        abort();
    o->has_object_type = true;
    o->object_type = entry->is_directory ? OBJECT_FOLDER : OBJECT_FILE;
    return o;
}

static void fill(struct part *p, struct page *page)
{
    const struct local_listing *l = &p->listing;

    for (bool fits = true; fits && p->at < l->n;) {
        Lf__LocalObject *o = new_object(l, &l->entries[p->at]);

        fits = page_add(page, &o->base);
        p->at += fits;
        if (!fits)
            lf__local_object__free_unpacked(o, NULL);
    }
}

static void reply_objects(struct ipc_request *req, const struct page *page, char *next)
{
    Lf__LocalListed listed = LF__LOCAL_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(LOCAL_LISTED, local_listed, &listed);

    listed.objects = (Lf__LocalObject **)page->items;
    listed.n_objects = page->n;
    listed.next_page = next;
    ipc_reply(req, &reply, NULL, 0);
}

static void reply_directories(struct ipc_request *req, const struct page *page, char *next)
{
    Lf__DirectoryListed listed = LF__DIRECTORY_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DIRECTORY_LISTED, directory_listed, &listed);
    CLEANUP_FREE char **paths = xcalloc(page->n + 1, sizeof(*paths));

    for (size_t i = 0; i < page->n; i++)
        paths[i] = ((Lf__LocalObject *)page->items[i])->full_path;
    listed.directories = paths;
    listed.n_directories = page->n;
    listed.next_page = next;
    ipc_reply(req, &reply, NULL, 0);
}

/* Answers with the next page and keeps the rest. Takes the part over. */
static void tell(struct ipc_request *req, struct part *p)
{
    const struct local_listing *l = &p->listing;
    struct page page = { 0 };
    CLEANUP_FREE char *next = NULL;
    bool is_end;

    fill(p, &page);
    is_end = p->at == l->n && !l->more;
    if (!is_end)
        next = token(l->entries[p->at - 1].name);
    (l->directories_only ? reply_directories : reply_objects)(req, &page, next);
    page_free(&page, true);
    if (p->at < l->n)
        keep(p);
    else
        part_free(p);
}

static void list_work(void *arg)
{
    local_dir_list(&((struct job *)arg)->part->listing);
}

static void list_answer(struct job *j)
{
    const struct error *e = &j->part->listing.error;

    if (e->code)
        ipc_fail_error(j->req, e);
    else
        tell(j->req, take_ptr(j->part));
}

static void list(struct syncd *d, struct ipc_request *req, const char *path, const char *page, bool directories_only)
{
    struct error e = { 0 };
    CLEANUP_FREE char *folder = folder_of(d, path, &e), *after = untoken(page);
    struct part *p = folder && *after ? find_kept(d->local, folder, after, directories_only) : NULL;
    struct job *j;

    if (!folder) {
        ipc_fail_error(req, &e);
        return;
    }
    if (p) {
        tell(req, p);
        return;
    }
    j = job_new(d, req, folder, list_answer);
    j->part = xcalloc(1, sizeof(*j->part));
    j->part->local = d->local;
    j->part->listing = (struct local_listing){
        .path = take_ptr(folder), .after = take_ptr(after), .directories_only = directories_only,
    };
    job_run(j, list_work);
}

void local_api_directories(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    list(daemon, req, env->directory_list->path, env->directory_list->page, true);
}

void local_api_objects(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    list(daemon, req, env->local_list->path, env->local_list->page, false);
}

/* --- a new folder ------------------------------------------------------------------------------------- */

static void make_work(void *arg)
{
    local_dir_make(&((struct job *)arg)->making);
}

static void make_answer(struct job *j)
{
    if (j->making.error.code)
        ipc_fail_error(j->req, &j->making.error);
    else
        ipc_done(j->req);
}

void local_api_make(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__DirectoryMake *given = env->directory_make;
    struct error e = { 0 };
    CLEANUP_FREE char *base = given->path && *given->path ? folder_of(daemon, given->path, &e) : NULL;
    const char *name = given->directory_name ? given->directory_name : "";
    struct job *j;

    (void)fds;
    if (!base && !e.code)
        error_set(&e, -EINVAL, "The member path is missing: the folder in which one is to be made.");
    if (!base || local_name_check(name, &e) < 0) {
        ipc_fail_error(req, &e);
        return;
    }
    j = job_new(daemon, req, base, make_answer);
    j->making.base = take_ptr(base);
    j->making.name = xstrdup(name);
    job_run(j, make_work);
}

/* --- file systems --------------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void points_work(void *arg)
{
    local_points_find(&((struct job *)arg)->points);
}

static void add_drives(const struct syncd *d, struct local_points *p)
{
    for (const struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->phase != DRIVE_HIDDEN && drive->mount == DRIVE_MOUNT_MOUNTED)
            *xadd(p->points, p->n) = xstrdup(drive->model->local_path);
    if (p->n)
        qsort(p->points, p->n, sizeof(*p->points), by_bytes);
}

static void points_answer(struct job *j)
{
    Lf__MountPointListed listed = LF__MOUNT_POINT_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(MOUNT_POINT_LISTED, mount_point_listed, &listed);
    CLEANUP_FREE char *next = NULL;
    struct local_points *p = &j->points;
    size_t bytes = 0, from = 0;

    add_drives(j->local->d, p);
    while (from < p->n && strcmp(p->points[from], j->after) <= 0)
        from++;
    listed.drives = p->points + from;
    while (from < p->n && bytes + strlen(p->points[from]) + 8 <= IPC_PAGE_BYTES) {
        bytes += strlen(p->points[from++]) + 8;
        listed.n_drives++;
    }
    if (from < p->n)
        listed.next_page = next = token(p->points[from - 1]);
    ipc_reply(j->req, &reply, NULL, 0);
}

void local_api_points(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct job *j = job_new(daemon, req, "one of the disks", points_answer);

    (void)fds;
    j->after = untoken(env->mount_point_list->page);
    job_run(j, points_work);
}

static bool is_taken(const struct syncd *d, char letter)
{
    for (const struct drive *drive = d->drives; drive; drive = drive->next)
        if (*drive->model->drive_name == letter || *drive->model->drive_name == letter + 'a' - 'A')
            return true;
    return false;
}

void local_api_letters(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    char letters['Z' - 'C' + 1][2];
    char *free_ones[ARRAY_SIZE(letters)];
    Lf__LetterListed listed = LF__LETTER_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(LETTER_LISTED, letter_listed, &listed);

    (void)env;
    (void)fds;
    listed.letters = free_ones;
    for (char c = 'C'; c <= 'Z'; c++) {
        char *text = letters[c - 'C'];

        text[0] = c;
        text[1] = '\0';
        if (!is_taken(daemon, c))
            free_ones[listed.n_letters++] = text;
    }
    ipc_reply(req, &reply, NULL, 0);
}

/* --- life --------------------------------------------------------------------------------------------- */

struct local *local_new(struct syncd *d)
{
    struct local *l = xcalloc(1, sizeof(*l));

    l->d = d;
    TAILQ_INIT(&l->kept);
    LIST_INIT(&l->jobs);
    return l;
}

/* A job under way is its thread's. */
void local_free(struct local *l)
{
    struct job *j;

    if (!l)
        return;
    LIST_FOREACH(j, &l->jobs, next) {
        loop_timer_free(take_ptr(j->deadline));
        if (j->req)
            ipc_fail(take_ptr(j->req), -ECANCELED, "The agent ends.");
    }
    while (!TAILQ_EMPTY(&l->kept))
        on_old(TAILQ_FIRST(&l->kept));
    free(l);
}
