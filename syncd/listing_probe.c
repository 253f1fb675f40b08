/* Where the cloud is out of reach, one small question stands for all the listings that are due. Its answer, as that to
 * any other request, tells the drive's reach, and with it the lister, that they can be had again. */
#include "syncd/listing.h"

enum { PROBE_MS = 8000 };
static const int64_t PROBE_REST_NS = 1000000000;

static void probed(struct cloud_request *r, void *owner, size_t n)
{
    struct lister *l = owner;

    (void)n;
    l->probe = NULL;
    l->probed_ns = loop_now_ns();
    cloud_request_free(r);
}

void lister_probe(struct lister *l)
{
    struct cloud_request *r;

    if (l->probe || l->closing || loop_now_ns() - l->probed_ns < PROBE_REST_NS)
        return;
    r = cloud_request_new(CLOUD_LIST, NULL, NULL);
    cloud_request_set(&r->bucket, l->v->bucket);
    cloud_request_set(&r->prefix, l->v->prefix);
    r->delimiter = '/';
    r->limit = 1;
    r->deadline_ms = PROBE_MS;
    l->probe = errand_submit(l->v, r, probed, l, 0);
}
