/* Owns parts that are not sent as they lie in the cache: made one after the other, since a chunk may lie in two of
 * them, and sent several at once, as far as their memory is not too much. Of an encrypted object what is there of an
 * earlier try is made as well, to see that it is what would be sent.
 *
 * Must not know what they are made of (upload_seal.c, upload_unseal.c). */
#include "syncd/upload_parts.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/number.h"

static const uint64_t BODIES_MOST = 256 << 20;  /* bytes of one drive's objects on their way, but for a part of each */

static void next_body(struct upload *u, int body)
{
    struct upload_parts *p = u->parts;
    int code = 0;

    p->making = false;
    if (p->parts[p->next].etag || p->error.code)
        (void)close(body);
    else
        code = upload_part_send(u, p->next, body);
    p->next++;
    if (code < 0)
        error_set(&p->error, code, "%s", error_meaning(code)->text);
    upload_parts_go_on(u);
}

/* A part that is there already. */
static void compared(struct upload *u, const char *md5)
{
    struct upload_parts *p = u->parts;
    struct cloud_part *part = &p->parts[p->next];

    if (!md5 || !part->etag || strcmp(md5, part->etag) != 0)
        free(take_ptr(part->etag));
    next_body(u, take_fd(&p->body));
}

/* What was sent of it before was of other bytes: what is there now gets another key. */
static void not_made(struct upload *u, int code)
{
    struct upload_parts *p = u->parts;

    p->making = false;
    if (p->error.code == 0) {
        error_set(&p->error, code, "%s", error_meaning(code)->text);
        /* -ENOKEY: an epoch was given up, with which the earlier head's key is wrapped */
        p->changed = u->seal && (code == -EBADE || code == -ENOKEY || !upload_unchanged(u));
    }
    upload_cancel_asks(u);
    upload_parts_go_on(u);
}

static void body_made(struct upload *u, int fd, int code)
{
    struct upload_parts *p = u->parts;

    if (code < 0) {
        not_made(u, code);
    } else if (p->parts[p->next].etag) {
        p->body = fd;
        upload_seal_hash(u, fd, upload_part_length(u, p->next), compared);
    } else {
        next_body(u, fd);
    }
}

bool upload_parts_are_made(const struct upload *u)
{
    return u->seal || upload_unseals(u);
}

/* What need not be made. */
static void pass_over(struct upload *u, uint64_t at_once)
{
    struct upload_parts *p = u->parts;

    for (; !u->seal && p->next < p->n && p->error.code == 0 && (p->copied[p->next] || p->parts[p->next].etag);
         p->next++) {
        int code = 0;

        if (!p->parts[p->next].etag && u->n_asks >= at_once)
            return;
        if (!p->parts[p->next].etag)
            code = upload_part_send(u, p->next, -1);
        if (code < 0)
            error_set(&p->error, code, "%s", error_meaning(code)->text);
    }
}

static void make(struct upload *u)
{
    struct upload_parts *p = u->parts;

    p->making = true;
    if (u->seal)
        upload_seal_body(u, p->next, upload_part_length(u, p->next), body_made);
    else
        upload_unseal_body(u, p->next * p->part_size, upload_part_length(u, p->next), body_made);
}

bool upload_parts_make(struct upload *u)
{
    struct upload_parts *p = u->parts;
    uint64_t share = BODIES_MOST / most(u->uploader->n_running, 1);
    uint64_t at_once = most(least(UPLOAD_PARALLEL, share / p->part_size), 1);

    if (p->making)
        return true;
    pass_over(u, at_once);
    if (p->error.code || p->next == p->n || u->n_asks >= at_once)
        return false;
    if (p->next == 0 && u->seal)
        upload_seal_rewind(u);
    make(u);
    return true;
}
