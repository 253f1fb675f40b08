/* Owns the change of an object that is to be encrypted while its file stays what it is. The content is sent as if it
 * had changed, in the place of the version that it is of. What comes in between is no conflict, since nothing here
 * differs from the cloud: another version there is taken over and encrypted next, and what a program writes is sent as
 * ever.
 *
 * Must not know what else is to be encrypted (encrypt.c). */
#include "syncd/upload.h"

#include <errno.h>

#include "common/cleanup.h"
#include "syncd/encrypt.h"
#include "syncd/object.h"
#include "syncd/store_encrypt.h"

enum { OPEN_PAUSE_S = 5 };

bool upload_reseals(const struct upload *u)
{
    return u->kind == UPLOAD_CONTENT && (u->inode.pending & (INDEX_CONTENT | INDEX_SEAL)) == INDEX_SEAL;
}

static void end(struct upload *u, int r)
{
    struct volume *v = u->volume;

    r = index_end(v->index, r);
    if (r < 0)
        uploader_rest(u->uploader, r);
    upload_end(u);
    encrypter_kick(v);
}

/* There is nothing to be done. */
static void forget(struct upload *u)
{
    int r = index_begin(u->volume->index);

    end(u, r == 0 ? index_encrypt_forget(u->volume->index, u->inode.ino) : r);
}

static void put_back(struct upload *u, int64_t seconds)
{
    int64_t then = loop_wall_ns() + seconds * INT64_C(1000000000);
    int r = index_begin(u->volume->index);

    end(u, r == 0 ? index_encrypt_later(u->volume->index, u->inode.ino, then, false) : r);
}

/* What a program that has it open to write writes is sent, which encrypts it too. */
bool upload_reseal_may(struct upload *u)
{
    CLEANUP(index_object_done) struct index_object o = { 0 };
    struct volume *v = u->volume;
    bool known = object_get(v, &u->inode, &o) == 0;

    if (!object_seals(v) || (known && o.kind == INDEX_OBJECT_SEALED)) {
        forget(u);
        return false;
    }
    if (!known || o.fault)
        put_back(u, 0);   /* it is found out there what to do */
    else if (cache_busy(v->cache, &u->inode))
        put_back(u, OPEN_PAUSE_S);
    else
        return true;
    return false;
}

void upload_reseal_theirs(struct upload *u)
{
    int r = upload_reload(u);

    if (r < 0)
        upload_end(u);
    else if (cache_busy(u->volume->cache, &u->inode))
        put_back(u, OPEN_PAUSE_S);
    else
        upload_take_over(u, upload_looked(u));
}

void upload_reseal_gone(struct upload *u)
{
    lister_recheck(u->volume->lister, u->inode.ino);
    forget(u);
}
