/* Owns what is known of a drive's ETags: whether they tell wrong bytes from right ones. Where one was the MD5 of its
 * object, another one that is not says nothing of the rest. */
#include "syncd/fetch_internal.h"

#include "common/log.h"

_Static_assert(CLOUD_CHECKED_MAX == FETCH_SPAN_LEAST, "what is compared comes in one request");

bool fetch_checks(const struct volume *v, uint64_t size)
{
    return !v->etags_unlike && size <= CLOUD_CHECKED_MAX;
}

static void say_damaged(const struct volume *v, const struct cloud_request *r)
{
    LOG(LOG_WARNING, "download_corrupted", "drive=%s", v->drive->id, "key=%s", r->key, "times=%u", r->damaged,
        "then=%s", r->error.code ? error_text(&r->error)
                                 : "It was fetched again, and nobody has seen the wrong bytes.");
}

static void say_unlike(const struct volume *v, const struct cloud_request *r)
{
    LOG(LOG_WARNING, "etag_is_no_md5", "drive=%s", v->drive->id, "key=%s", r->key, "reason=%s",
        v->etags_match ? "The same bytes came twice, and their MD5 is not the ETag. They are taken to be right."
                       : "The same bytes came twice, and their MD5 is not the ETag, so ETags are something else here. "
                         "What is downloaded for this drive is no longer compared with them.");
}

void fetch_checked(struct volume *v, const struct cloud_request *r)
{
    if (r->damaged)
        say_damaged(v, r);
    if (r->match == CLOUD_MATCHED)
        v->etags_match = true;
    if (r->match != CLOUD_UNLIKE || v->etags_unlike)
        return;
    say_unlike(v, r);
    v->etags_unlike = !v->etags_match;
}
