/* The bytes of an upload beside the drives: read in a thread into memory, a chunk at a time, and sent from there. So a
 * slow disk holds nobody up, and what was digested is what is sent. */
#include "syncd/bucket_upload_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

static void give_back(struct lane *l)
{
    l->taken = false;
    l->request = NULL;
    chunk_close(&l->chunk);
}

void bucket_upload_changed(struct bucket_upload *u)
{
    bucket_upload_fail(u, -ESTALE, "The file changed while it was read; nothing of it was put into the cloud.");
}

static void sent(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);
    struct lane *l = item;

    if (r->error.code == 0) {
        u->sent += l->chunk.length;
        u->parts[l->part].etag = xstrdup(r->object.etag ? r->object.etag : "");
    } else {
        u->parts[l->part].again = true;
    }
    give_back(l);
    if (!u->upload_id && r->error.code == 0)
        haul_end(e, NULL);
    else if (r->error.code == 0 || halted)
        bucket_upload_go_on(u);
    else if (!u->upload_id && r->error.code == -ESTALE)
        bucket_upload_look_after(u, false);
    else
        haul_end(e, &r->error);
}

static bool is_same(const char *etag, const struct lane *l)
{
    char hex[HASH_MD5_HEX];

    text_hex(l->chunk.md5, HASH_MD5, hex);
    return etag && strcmp(etag, hex) == 0;
}

static void send_chunk(struct bucket_upload *u, struct lane *l)
{
    struct cloud_request *r = bucket_upload_request(u, u->upload_id ? CLOUD_PART_PUT : CLOUD_PUT);
    struct error e = { 0 };

    if (u->upload_id) {
        cloud_request_set(&r->upload_id, u->upload_id);
        r->part_number = l->part + 1;
    } else {
        bucket_upload_condition(u, r);
        bucket_upload_describe(u, r);
    }
    r->body = (struct cloud_extent){ .fd = l->chunk.memory, .length = l->chunk.length };
    l->request = r;
    if (haul_submit(&u->haul, r, sent, l, &e) < 0) {
        l->request = NULL;   /* it is gone, and the end asks how far it was */
        haul_end(&u->haul, &e);
    }
}

/* An earlier process has sent it. */
static void count(struct bucket_upload *u, struct lane *l)
{
    struct part *p = &u->parts[l->part];

    u->sent += l->chunk.length;
    p->etag = take_ptr(p->earlier);
    give_back(l);
    bucket_upload_go_on(u);
}

static void part_read(struct haul *e, void *arg)
{
    struct bucket_upload *u = upload_of(e);
    struct lane *l = arg;

    if (l->chunk.error == -ESTALE) {
        bucket_upload_changed(u);
    } else if (l->chunk.error) {
        bucket_upload_fail(u, l->chunk.error, "The file could not be read.");
    } else if (u->there && is_same(u->there, l)) {
        haul_end(e, NULL);
    } else if (u->there) {
        bucket_upload_refuse(u);
    } else if (is_same(u->parts[l->part].earlier, l)) {
        count(u, l);
    } else if (!haul_runs(e)) {
        u->parts[l->part].again = true;
        give_back(l);
    } else {
        send_chunk(u, l);
    }
}

/* The next part that nobody has. False: there is none. */
static bool take_part(struct bucket_upload *u, uint32_t *ret)
{
    for (uint32_t n = 0; n < u->next; n++)
        if (u->parts[n].again) {
            u->parts[n].again = false;
            *ret = n;
            return true;
        }
    *ret = u->next;
    return u->next < u->n_parts && u->next++ < u->n_parts;
}

static void read_part(struct bucket_upload *u, struct lane *l)
{
    uint64_t offset = l->part * u->part_size;
    int r;

    l->chunk = (struct chunk){ .file = u->fd, .memory = -1, .offset = offset, .as_opened = &u->st,
                               .length = least(u->spec.size - offset, u->part_size) };
    l->taken = true;
    r = chunk_open(&l->chunk);
    if (r < 0)
        bucket_upload_fail(u, r, "There is no memory for the bytes of the file.");
    else
        haul_work(&u->haul, chunk_read, part_read, &l->chunk);
}

void bucket_upload_send(struct bucket_upload *u)
{
    for (size_t i = 0; i < ARRAY_SIZE(u->lanes) && haul_runs(&u->haul); i++)
        if (!u->lanes[i].taken && take_part(u, &u->lanes[i].part))
            read_part(u, &u->lanes[i]);
}

bool bucket_upload_all_sent(const struct bucket_upload *u)
{
    for (uint32_t n = 0; n < u->n_parts; n++)
        if (!u->parts[n].etag)
            return false;
    return true;
}

uint64_t bucket_upload_sent(const struct bucket_upload *u)
{
    uint64_t bytes = u->sent;

    for (size_t i = 0; i < ARRAY_SIZE(u->lanes); i++)
        bytes += u->lanes[i].request ? least(u->lanes[i].request->sent, u->lanes[i].chunk.length) : 0;
    return bytes;
}
