/* Owns what an earlier try has left of an upload in parts: a part that is there counts when its length and MD5 are
 * those of what would be sent. Where ETags of parts are something else than MD5 they are all sent again. What is copied
 * is copied again, unless all of it is: of that no byte is here to compare.
 *
 * Must not know how parts are sent. */
#include "syncd/upload_parts.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/hash.h"

static void compare_next(struct upload *u);

static void hashed(struct upload *u, const char *md5)
{
    struct cloud_part *part = &u->parts->parts[u->parts->next++];

    if (!md5 || strcmp(md5, part->etag) != 0)
        free(take_ptr(part->etag));
    compare_next(u);
}

static bool has_digest(const struct cloud_part *part)
{
    return part->etag && strlen(part->etag) == HASH_MD5_HEX - 1;
}

static void compare_next(struct upload *u)
{
    struct upload_parts *p = u->parts;

    for (; u->seal && p->next < p->n; p->next++)   /* it is compared when it has been made */
        if (!has_digest(&p->parts[p->next]))
            free(take_ptr(p->parts[p->next].etag));
    for (; p->next < p->n && !p->copy; p->next++) {
        if (has_digest(&p->parts[p->next]) && !p->copied[p->next] && !u->volume->paused) {
            upload_hash_file(u, p->next * p->part_size, upload_part_length(u, p->next), hashed);
            return;
        }
        free(take_ptr(p->parts[p->next].etag));
    }
    p->next = 0;
    upload_parts_go_on(u);
}

static void take_part(struct upload *u, const struct cloud_part *part)
{
    struct upload_parts *p = u->parts;
    uint32_t n = part->number - 1;

    if (part->number < 1 || part->number > p->n || part->size != upload_part_length(u, n) || !part->etag ||
        p->parts[n].etag)
        return;
    p->parts[n] = (struct cloud_part){ part->number, part->size, xstrdup(part->etag) };
}

static void listed(struct upload *u, struct cloud_request *r)
{
    if (r->error.code == -ENOENT) {
        upload_parts_unknown(u);
        return;
    }
    if (r->error.code) {
        upload_fail(u, &r->error);
        return;
    }
    for (size_t n = 0; n < r->n_parts; n++)
        take_part(u, &r->parts[n]);
    compare_next(u);
}

void upload_parts_compare(struct upload *u)
{
    struct upload_parts *p = u->parts;
    struct cloud_request *r = upload_request(u, CLOUD_PART_LIST, u->key, listed);

    p->compared = true;
    p->next = 0;
    for (uint32_t n = 0; n < p->n; n++)
        free(take_ptr(p->parts[n].etag));
    cloud_request_set(&r->upload_id, p->upload_id);
    upload_submit(u, r);
}
