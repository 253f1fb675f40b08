/* Listings in the order of S3: by the bytes of the keys. Within a folder that is the order of its names when those
 * of sub-folders have a '/' at their end, so a walk in that order needs no sorting of the whole.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/cloud_local.h"

enum { PAGE = 1000, NAMES_MAX = 5000000, DEPTH_MAX = 512, KEY_MAX = 8192 };

/* The page being made, and where the walk is. */
struct walk {
    struct local_job *j;
    struct cloud_request *r;
    const char *prefix, *after;   /* entries up to `after` were on earlier pages */
    size_t limit;
    char *last;                   /* name of the last entry, owned */
    struct text key;              /* of the folder the walk is in: "" or ending in '/' */
    unsigned depth;
};

struct names {
    char **v;                     /* sub-folders with a '/' at their end */
    size_t n;
};

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->v[i]);
    free(names->v);
}

/* --- entries ----------------------------------------------------------------------------------------- */

static bool starts_with(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

/* Makes room for one more; 1: the page is full, and the next begins behind its last entry. */
static int take_place(struct walk *w, const char *name)
{
    if (w->r->n_objects + w->r->n_prefixes == w->limit) {
        cloud_request_set(&w->r->next_token, w->last);
        return 1;
    }
    xstrset(&w->last, name);
    return 0;
}

static int add_prefix(struct walk *w, const char *key, size_t n)
{
    CLEANUP_FREE char *prefix = strndup(key, n);
    int r;

    if (!prefix)
        abort();
    if ((w->last && strcmp(w->last, prefix) == 0) || strcmp(w->after, prefix) == 0)
        return 0;
    r = take_place(w, prefix);
    if (r == 0)
        w->r->prefixes[w->r->n_prefixes++] = take_ptr(prefix);
    return r;
}

static int add_object(struct walk *w, const char *key, int fd, const struct stat *st)
{
    const char *end = w->r->delimiter ? strchr(key + strlen(w->prefix), w->r->delimiter) : NULL;
    int r;

    if (end)
        return add_prefix(w, key, (size_t)(end + 1 - key));
    r = take_place(w, key);
    if (r == 0)
        local_describe(fd, st, key, &w->r->objects[w->r->n_objects++]);
    return r;
}

/* --- the walk ----------------------------------------------------------------------------------------- */

static int add_name(struct names *names, const char *name, bool folder)
{
    size_t len = strlen(name);
    char *copy = xcalloc(1, len + 2);

    memcpy(copy, name, len);
    if (folder)
        copy[len] = '/';
    *xadd(names->v, names->n) = copy;
    return names->n < NAMES_MAX ? 0 : -EMSGSIZE;
}

/* A folder that is there, and nothing mounted over it. */
static bool is_reached(int dir, const char *name)
{
    CLEANUP_CLOSE int fd = folder_at(dir, name, O_PATH | O_DIRECTORY, 0);

    return fd >= 0;
}

static bool is_folder(int dir, const struct dirent *entry)
{
    return entry->d_type == DT_UNKNOWN ? is_reached(dir, entry->d_name) : entry->d_type == DT_DIR;
}

static bool is_wanted(const struct walk *w, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    return w->depth > 1 || !local_is_reserved(name);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(const struct walk *w, int fd, struct names *ret)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;

    if (!d) {
        r = -errno;
        cleanup_close(&copy);
        return r;
    }
    while (r == 0 && (entry = readdir(d)))
        if (is_wanted(w, entry->d_name))
            r = add_name(ret, entry->d_name, is_folder(fd, entry));
    (void)closedir(d);
    if (ret->n > 1)
        qsort(ret->v, ret->n, sizeof(*ret->v), by_bytes);
    return r;
}

static int walk_folder(struct walk *w, int fd);

/* Below a folder: nothing when prefix or page exclude all of it, one prefix when the delimiter is '/'. */
static int visit_folder(struct walk *w, int dir, const char *name, const char *key)
{
    CLEANUP_CLOSE int fd = -1;
    char leaf[NAME_MAX + 1];
    bool inside = starts_with(key, w->prefix);
    struct stat st;
    int r;

    if ((!inside && !starts_with(w->prefix, key)) || (strcmp(key, w->after) < 0 && !starts_with(w->after, key)))
        return 0;
    memcpy(leaf, name, strlen(name) - 1);
    leaf[strlen(name) - 1] = '\0';
    if (inside && w->r->delimiter == '/' && strcmp(key, w->prefix) != 0)
        return is_reached(dir, leaf) ? add_prefix(w, key, strlen(key)) : 0;
    r = local_open_entry(dir, leaf, &fd, &st);
    if (r < 0 || !S_ISDIR(st.st_mode) || (fcntl(fd, F_GETFL) & O_PATH))   /* gone, or not ours to read */
        return 0;
    if (inside && strcmp(key, w->after) > 0 && local_is_marked(fd))
        r = add_object(w, key, fd, &st);
    return r ? r : walk_folder(w, fd);
}

static int visit_file(struct walk *w, int dir, const char *name, const char *key)
{
    CLEANUP_CLOSE int fd = -1;
    struct stat st;

    if (!starts_with(key, w->prefix) || strcmp(key, w->after) <= 0)
        return 0;
    if (local_open_entry(dir, name, &fd, &st) < 0 || S_ISDIR(st.st_mode))   /* gone, or no object */
        return 0;
    return add_object(w, key, fd, &st);
}

static int visit(struct walk *w, int dir, const char *name)
{
    size_t len = w->key.len, n = strlen(name);
    int r = text_puts(&w->key, name);

    if (r == 0)
        r = name[n - 1] == '/' ? visit_folder(w, dir, name, w->key.data) : visit_file(w, dir, name, w->key.data);
    if (w->key.error == 0) {
        w->key.len = len;
        w->key.data[len] = '\0';
    }
    return r;
}

/* 0, 1 when the page is full, or a negative errno. w->key is the folder's. */
static int walk_folder(struct walk *w, int fd)
{
    CLEANUP(free_names) struct names names = { 0 };
    int r;

    if (atomic_load(&w->j->stop))
        return -ECANCELED;
    if (w->depth == DEPTH_MAX)
        return -ENAMETOOLONG;
    w->depth++;
    r = read_names(w, fd, &names);
    for (size_t i = 0; i < names.n && r == 0; i++)
        r = visit(w, fd, names.v[i]);
    w->depth--;
    return r;
}

int local_list(struct local_job *j)
{
    struct cloud_request *r = j->r;
    struct walk w = { .j = j, .r = r, .prefix = r->prefix ? r->prefix : "", .key = TEXT_INIT(KEY_MAX),
        .after = r->token ? r->token : r->start_after ? r->start_after : "",
        .limit = r->limit && r->limit < PAGE ? r->limit : PAGE };
    int error = local_open_bucket(j);

    if (error < 0)
        return error;
    if (local_is_reserved(w.prefix) && strchr(w.prefix, '/'))
        return local_fail(j, -ENOTUNIQ, w.prefix);
    r->objects = xcalloc(w.limit, sizeof(*r->objects));
    r->prefixes = xcalloc(w.limit, sizeof(*r->prefixes));
    error = walk_folder(&w, j->bucket);
    text_free(&w.key);
    free(w.last);
    return error < 0 ? local_fail(j, error, w.prefix) : 0;
}
