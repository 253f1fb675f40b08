/* Hashing, and reading back. */
#include "syncd/audit_chain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/hash.h"

static const char NONE[] = "0000000000000000000000000000000000000000000000000000000000000000";
static const char TAIL[] = ",\"hash\":\"";   /* what stands before the hash; "\"}" behind it */
enum { TAIL_LENGTH = sizeof(TAIL) - 1 + AUDIT_HASH_HEX - 1 + 2 };

/* --- names ------------------------------------------------------------------------------------------------ */

void audit_name(uint64_t first, char out[AUDIT_NAME_SIZE])
{
    (void)snprintf(out, AUDIT_NAME_SIZE, "audit-%020" PRIu64 ".log", first);
}

uint64_t audit_name_first(const char *name)
{
    char digits[21], again[AUDIT_NAME_SIZE];
    uint64_t first;

    if (sscanf(name, "audit-%20[0-9].log", digits) != 1 || !text_number(digits, UINT64_MAX, &first))
        return 0;
    audit_name(first, again);
    return strcmp(again, name) == 0 ? first : 0;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

int audit_files(int dir, uint64_t **ret, size_t *ret_n)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    *ret = NULL;
    *ret_n = 0;
    if (!d) {
        int r = -errno;

        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    for (struct dirent *entry = readdir(d); entry; entry = readdir(d))
        if (audit_name_first(entry->d_name))
            *xadd(*ret, *ret_n) = audit_name_first(entry->d_name);
    (void)closedir(d);
    if (*ret_n)
        qsort(*ret, *ret_n, sizeof(**ret), compare);
    return 0;
}

/* --- the chain -------------------------------------------------------------------------------------------- */

void audit_head_none(struct audit_head *h)
{
    h->seq = 0;
    memcpy(h->hash, NONE, sizeof(NONE));
}

static void hash(const char *before, const char *body, size_t n, char out[AUDIT_HASH_HEX])
{
    CLEANUP_FREE char *all = xcalloc(1, AUDIT_HASH_HEX + n);

    memcpy(all, before, AUDIT_HASH_HEX - 1);
    memcpy(all + AUDIT_HASH_HEX - 1, body, n);
    hash_sha256_hex(all, AUDIT_HASH_HEX - 1 + n, out);
}

char *audit_line(struct audit_head *h, struct json_object *record)
{
    char next[AUDIT_HASH_HEX], *line = NULL;
    const char *body;
    size_t n;

    (void)json_object_object_add(record, "seq", json_object_new_int64((int64_t)h->seq + 1));
    body = json_object_to_json_string_length(record, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
    if (!body || n + TAIL_LENGTH > AUDIT_LINE_MAX)
        return NULL;
    hash(h->hash, body, n, next);
    if (asprintf(&line, "%.*s%s%s\"}\n", (int)n - 1, body, TAIL, next) < 0)
        abort();
    h->seq++;
    memcpy(h->hash, next, sizeof(next));
    return line;
}

/* --- reading ---------------------------------------------------------------------------------------------- */

static const char *text_of(struct json_object *line, const char *name)
{
    struct json_object *o;

    return json_object_object_get_ex(line, name, &o) ? json_object_get_string(o) : NULL;
}

/* The line without its hash, as it was hashed; NULL: it has none. */
static char *body_of(const char *line, size_t n, char found[AUDIT_HASH_HEX])
{
    const char *tail = line + n - TAIL_LENGTH;
    char *body;

    if (n <= TAIL_LENGTH || strncmp(tail, TAIL, strlen(TAIL)) != 0 || strncmp(line + n - 2, "\"}", 2) != 0)
        return NULL;
    memcpy(found, tail + strlen(TAIL), AUDIT_HASH_HEX - 1);
    found[AUDIT_HASH_HEX - 1] = '\0';
    body = strndup(line, n - TAIL_LENGTH + 1);
    if (!body)
        abort();
    body[n - TAIL_LENGTH] = '}';
    return body;
}

/* The first line of a file says what the file before ended with. */
static bool begin(struct audit_found *f, struct json_object *line, uint64_t seq)
{
    const char *before = text_of(line, "chain");

    if (!before || strlen(before) != AUDIT_HASH_HEX - 1)
        return false;
    f->begun = true;
    f->first = seq;
    f->head.seq = seq - 1;
    memcpy(f->before, before, AUDIT_HASH_HEX);
    memcpy(f->head.hash, before, AUDIT_HASH_HEX);
    return true;
}

static bool hangs_together(struct audit_found *f, const char *text, size_t n, struct json_object *line)
{
    char found[AUDIT_HASH_HEX], wanted[AUDIT_HASH_HEX];
    CLEANUP_FREE char *body = body_of(text, n, found);
    struct json_object *o;
    uint64_t seq = line && json_object_object_get_ex(line, "seq", &o) ? (uint64_t)json_object_get_int64(o) : 0;

    if (!body || !seq || (!f->begun && !begin(f, line, seq)) || seq != f->head.seq + 1)
        return false;
    hash(f->head.hash, body, strlen(body), wanted);
    if (strcmp(found, wanted) != 0)
        return false;
    f->head.seq = seq;
    memcpy(f->head.hash, wanted, sizeof(wanted));
    return true;
}

static struct json_object *parse(const char *text, size_t n)
{
    struct json_tokener *t = json_tokener_new();
    struct json_object *line;

    if (!t)
        abort();
    line = json_tokener_parse_ex(t, text, (int)n);
    json_tokener_free(t);
    return line;
}

/* One line with its newline. False: reading ends. */
static bool take(struct audit_found *f, const char *name, const char *text, size_t n,
                 bool (*each)(struct json_object *line, void *arg), void *arg)
{
    struct json_object *line;
    bool more;

    if (text[n - 1] != '\n') {
        f->torn = true;
        return false;
    }
    line = parse(text, n - 1);
    if (!hangs_together(f, text, n - 1, line)) {
        error_set(&f->problem, -EUCLEAN, "Line %" PRIu64 " of %s is not the one that was written there, or lines "
                  "before it are missing.", f->lines + 1, name);
        json_object_put(line);
        return false;
    }
    f->lines++;
    f->bytes += n;
    more = !each || each(line, arg);
    json_object_put(line);
    return more;
}

void audit_read(int dir, const char *name, bool (*each)(struct json_object *line, void *arg), void *arg,
                struct audit_found *ret)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    CLEANUP_FREE char *text = NULL;
    size_t room = 0;
    ssize_t n;

    *ret = (struct audit_found){ .first = 0 };
    audit_head_none(&ret->head);
    if (!file) {
        error_set(&ret->problem, -errno, "%s cannot be read: %m.", name);
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    while ((n = getline(&text, &room, file)) > 0)
        if (!take(ret, name, text, (size_t)n, each, arg))
            break;
    if (ferror(file))
        error_set(&ret->problem, -EIO, "%s cannot be read to its end.", name);
    (void)fclose(file);
}
