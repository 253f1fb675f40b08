/* Shows drives: one of them, and the list. Owns the list as it was last shown, so that who has it can be told that it
 * has not changed. */
#include "syncd/drive.h"

#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/random.h"
#include "syncd/page.h"
#include "syncd/path.h"
#include "syncd/syncd.h"

struct drive_list {
    uint64_t state;      /* a number of its own for these bytes */
    uint8_t *bytes;      /* what was last listed, packed */
    size_t n;
};

/* --- one drive -------------------------------------------------------------------------------- */

static char *sentence(const struct error *e)
{
    return (char *)(uintptr_t)error_text(e);
}

void drive_shown(const struct drive *drive, struct drive_shown *ret)
{
    struct error e = { 0 };
    const struct error *why = drive->fault.code ? &drive->fault : &drive->mount_error;

    *ret = (struct drive_shown){ .model = *drive->model };
    ret->model.mount_error = why->code ? sentence(why) : NULL;
    ret->model.trouble = NULL;
    if (!drive->fault.code && drive_keys_state(drive, &e) < 0)
        ret->model.mount_error = ret->keys = xstrdup(sentence(&e));
    if (drive->volume && volume_trouble(drive->volume, &e))
        ret->model.trouble = ret->trouble = xstrdup(sentence(&e));
    ret->model.has_pending_changes = drive->volume != NULL;
    ret->model.pending_changes = drive->volume ? (int64_t)volume_pending(drive->volume) : 0;
}

void drive_shown_end(struct drive_shown *shown)
{
    free(shown->keys);
    free(shown->trouble);
    *shown = (struct drive_shown){ 0 };
}

/* --- the list --------------------------------------------------------------------------------- */

struct drive_list *drive_list_new(void)
{
    return xcalloc(1, sizeof(struct drive_list));
}

void drive_list_free(struct drive_list *list)
{
    if (list)
        free(list->bytes);
    free(list);
}

/* The number for what is listed, which is `most` bytes at most: the one it had the last time, or a new one. */
static uint64_t state_of(struct drive_list *list, const Lf__DriveListed *listed, size_t most)
{
    CLEANUP_FREE uint8_t *bytes = malloc(most + 1);
    size_t n;

    if (!bytes)
        abort();
    n = lf__drive_listed__pack(listed, bytes);
    if (list->bytes && list->n == n && memcmp(list->bytes, bytes, n) == 0)
        return list->state;
    free(list->bytes);
    list->bytes = take_ptr(bytes);
    list->n = n;
    return list->state = random_id();
}

static bool is_listed(const struct drive *drive, const char *after, const struct drive *only)
{
    return drive->phase != DRIVE_HIDDEN && strcmp(drive->model->id, after) > 0 && (!only || drive == only);
}

/* As for mounts: the id to go on behind, NULL at the end. `all` has room for all. */
static const char *fill(struct syncd *d, const char *after, const struct drive *only, struct drive_shown *all,
                        struct page *page)
{
    const char *last = NULL;

    for (struct drive *drive = d->drives; drive; drive = drive->next) {
        struct drive_shown *shown = &all[page->n];

        if (!is_listed(drive, after, only))
            continue;
        drive_shown(drive, shown);
        if (!page_add(page, &shown->model.base)) {
            drive_shown_end(shown);
            return last;
        }
        last = drive->model->id;
    }
    return NULL;
}

static size_t count(const struct syncd *d)
{
    size_t n = 0;

    for (const struct drive *drive = d->drives; drive; drive = drive->next)
        n++;
    return n;
}

/* A whole list has a state, and who has that of the same state needs no other. */
static void answer(struct syncd *d, struct ipc_request *req, const Lf__DriveList *ask, Lf__DriveListed *listed,
                   const struct page *page)
{
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_LISTED, drive_listed, listed);
    bool part = (ask->path && *ask->path) || (ask->page && *ask->page) || listed->next_page;

    if (!part) {
        listed->state = state_of(d->drive_list, listed, page->bytes);
        listed->has_state = true;
    }
    if (listed->has_state && ask->has_known && ask->known == listed->state)
        listed->n_drives = 0;
    ipc_reply(req, &reply, NULL, 0);
}

void drive_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct syncd *d = daemon;
    const Lf__DriveList *ask = env->drive_list;
    CLEANUP_FREE struct drive_shown *all = xcalloc(count(d) + 1, sizeof(*all));
    struct page page = { 0 };
    struct drive *only = NULL;
    Lf__DriveListed listed = LF__DRIVE_LISTED__INIT;

    (void)fds;
    if (!ask->path || !*ask->path || path_owner(d, ask->path, &only) == 0)
        listed.next_page = (char *)(uintptr_t)fill(d, ask->page ? ask->page : "", only, all, &page);
    listed.drives = (Lf__CloudDrive **)page.items;
    listed.n_drives = page.n;
    answer(d, req, ask, &listed, &page);
    for (size_t i = 0; i < page.n; i++)
        drive_shown_end(&all[i]);
    page_free(&page, false);
}

void drive_exists(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const char *path = env->drive_exists->path;
    struct drive *owner;
    Lf__DriveExistence existence = LF__DRIVE_EXISTENCE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_EXISTENCE, drive_existence, &existence);

    (void)fds;
    existence.exists = (char *)(path_owner(daemon, path, &owner) == 0 ? "1" : "0");
    ipc_reply(req, &reply, NULL, 0);
}
