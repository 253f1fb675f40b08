/* Owns what becomes of a file that two sides changed: the name of our version, and the one transaction that leaves
 * both. Before it the file is as it was and the next try finds the conflict again; after it there are two files
 * like any others, so that a crash makes neither none nor two copies.
 *
 * Must not know how the conflict was found (upload_look.c). */
#include "syncd/conflict.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/listing.h"
#include "syncd/name.h"
#include "syncd/tally.h"

enum { NAMES_TRIED = 1000 };

/* --- the name ------------------------------------------------------------------------------------- */

static void clean_host(const char *host, char out[HOST_NAME_MAX + 1])
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n;

    for (n = 0; n < HOST_NAME_MAX && host[n]; n++)
        out[n] = strchr(fine, host[n]) ? host[n] : '-';
    out[n] = '\0';
}

static const char *extension(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && dot != name ? dot : name + strlen(name);
}

/* The name's first bytes up to `end`, as many as there is room for, the mark and the end. 0 or -ENAMETOOLONG. */
static int put_together(const char *name, const char *end, const char *mark, size_t max, char *out)
{
    size_t rest = strlen(mark) + strlen(end), stem = 0;

    if (rest < max)
        stem = utf8_cut(name, (size_t)(end - name), max - rest);
    if (stem == 0)
        return -ENAMETOOLONG;
    (void)snprintf(out, CONFLICT_NAME_MAX + 1, "%.*s%s%s", (int)stem, name, mark, end);
    return 0;
}

int conflict_name(const char *name, const char *host, const struct tm *when, unsigned n, size_t max,
                  char out[CONFLICT_NAME_MAX + 1])
{
    char where[HOST_NAME_MAX + 1], date[32], again[16] = "", mark[HOST_NAME_MAX + 64];
    int r;

    clean_host(host, where);
    (void)strftime(date, sizeof(date), "%Y-%m-%d %H-%M-%S", when);
    if (n > 1)
        (void)snprintf(again, sizeof(again), " %u", n);
    (void)snprintf(mark, sizeof(mark), " (conflict %s %s%s)", where, date, again);
    r = put_together(name, extension(name), mark, max, out);
    return r < 0 ? put_together(name, name + strlen(name), mark, max, out) : r;
}

/* Digits stand for digits. */
static bool is_date(const char *s)
{
    static const char like[] = "0000-00-00 00-00-00";

    for (size_t n = 0; n < sizeof(like) - 1; n++)
        if (like[n] == '0' ? s[n] < '0' || s[n] > '9' : s[n] != like[n])
            return false;
    return true;
}

bool conflict_read_name(const char *name, struct conflict_copy *ret)
{
    static const char mark[] = " (conflict ";
    const char *at = strstr(name, mark), *host = at ? at + strlen(mark) : NULL, *date = host ? strchr(host, ' ') : NULL,
               *end = date ? strchr(date, ')') : NULL;

    if (!end || strlen(name) > CONFLICT_NAME_MAX || date == host || !is_date(date + 1))
        return false;
    (void)snprintf(ret->name, sizeof(ret->name), "%.*s%s", (int)(at - name), name, end + 1);
    (void)snprintf(ret->host, sizeof(ret->host), "%.*s", (int)(date - host), host);
    (void)snprintf(ret->when, sizeof(ret->when), "%.19s", date + 1);
    return true;
}

/* --- both ----------------------------------------------------------------------------------------- */

static size_t room_for_name(struct volume *v, const char *key, size_t name_len)
{
    size_t parent = strlen(v->prefix) + strlen(key) - name_len;

    return parent + FS_NAME_MAX_BYTES > FS_KEY_MAX_BYTES ? FS_KEY_MAX_BYTES - parent : FS_NAME_MAX_BYTES;
}

static bool is_taken(struct volume *v, uint64_t parent, const char *name)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_find(v->index, parent, name, strlen(name), &i) != -ENOENT;
}

static int find_name(struct volume *v, const struct index_inode *i, const char *key, char out[CONFLICT_NAME_MAX + 1])
{
    CLEANUP_FREE char *plain = name_plain(i->name), *component = NULL;
    char host[HOST_NAME_MAX + 1] = "";
    time_t now = (time_t)(loop_wall_ns() / 1000000000);
    size_t room = room_for_name(v, key, strlen(index_component(i)));
    struct tm when;
    int r = localtime_r(&now, &when) ? 0 : -EOVERFLOW;

    (void)gethostname(host, sizeof(host) - 1);
    for (unsigned n = 1; r == 0 && n <= NAMES_TRIED; n++) {
        r = conflict_name(plain, host, &when, n, room, out);
        if (r == 0 && !is_taken(v, i->parent, out))
            return fs_check_name(v, i->parent, &(ProtobufCBinaryData){ strlen(out), (uint8_t *)out }, false,
                                 NULL, &component);
    }
    return r < 0 ? r : -EEXIST;
}

/* A row of an upload in parts stays: the next upload ends it in the cloud. */
static int forget_sent(struct index *x, uint64_t ino)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    int r = index_upload_get(x, ino, &row);

    if (r < 0 || row.part_size)
        return r == -ENOENT ? 0 : r;
    return index_upload_remove(x, ino);
}

static int rename_ours(struct volume *v, const struct index_inode *i, const char *name)
{
    struct index *x = v->index;
    int r = index_move(x, i->ino, i->parent, name, strlen(name));

    if (r == 0)
        r = index_mark_moved(x, i->ino);
    if (r == 0)
        r = index_retry(x, i->ino, 0, NULL);
    return r == 0 ? index_touch(x, i->parent, loop_wall_ns()) : r;
}

int conflict_step_aside(struct volume *v, const struct index_inode *i, char out[CONFLICT_NAME_MAX + 1])
{
    CLEANUP_FREE char *key = index_key(v->index, i->ino);
    int r = key ? find_name(v, i, key, out) : -ENOENT;

    return r == 0 ? rename_ours(v, i, out) : r;
}

void conflict_announce(struct volume *v, uint64_t parent, const char *name, const char *copy)
{
    CLEANUP_FREE char *dir = index_key(v->index, parent), *key = NULL;

    if (asprintf(&key, "%s%s", dir ? dir : "", name) < 0)
        abort();
    LOG(LOG_WARNING, "conflict_copy", "drive=%s", v->drive->id, "key=%s", key, "copy=%s", copy);
    v->tally->conflicts++;
    volume_invalidate(v, parent, name, strlen(name), CHANGED_ATTRIBUTES);
    volume_invalidate(v, parent, copy, strlen(copy), CHANGED_ATTRIBUTES);
    volume_invalidate(v, parent, NULL, 0, CHANGED_DATA);
    uploader_kick(v->uploader);
}

/* --- their version of a file ------------------------------------------------------------------------ */

/* Its version, if it has one elsewhere, stays its own. */
static int lose_version(struct index *x, struct index_inode *i, const char *key)
{
    if (!i->cloud_key || strcmp(i->cloud_key, key) != 0)
        return 0;
    xstrset(&i->cloud_key, NULL);
    xstrset(&i->etag, NULL);
    i->cloud_size = 0;
    i->pending |= INDEX_CONTENT;
    return index_update(x, i);
}

static int keep_both(struct volume *v, struct index_inode *i, const char *key, const struct cloud_object *theirs,
                     char copy[CONFLICT_NAME_MAX + 1])
{
    uint64_t ino;
    int r = lose_version(v->index, i, key);

    if (r == 0)
        r = conflict_step_aside(v, i, copy);
    if (r == 0)
        r = forget_sent(v->index, i->ino);
    if (r == 0)
        r = index_exhume(v->index, key);
    return r == 0 ? entry_add(v, i->parent, key, theirs, &ino) : r;
}

static int load(struct volume *v, uint64_t ino, const char *key, struct index_inode *ret)
{
    CLEANUP_FREE char *key_now = index_key(v->index, ino);

    return key_now && strcmp(key_now, key) == 0 ? index_get(v->index, ino, ret) : -EAGAIN;
}

int conflict_keep_both(struct volume *v, uint64_t ino, const char *key, const struct cloud_object *theirs)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    char name[CONFLICT_NAME_MAX + 1];
    int r = load(v, ino, key, &i);

    if (r == 0)
        r = index_begin(v->index);
    if (r == 0)
        r = index_end(v->index, keep_both(v, &i, key, theirs, name));
    if (r == 0)
        conflict_announce(v, i.parent, i.name, name);
    return r;
}
