/* Asks one process after the other, page by page, and writes what they say as one text: a metric's samples must stand
 * together, whoever they are from. A process that does not run or fails to answer is said to be down; the
 * others are shown. */
#include "frontd/metrics.h"

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/process.h"
#include "frontd/call.h"
#include "frontd/feeds.h"

enum { METRICS_BYTES_MAX = 64 << 20 };

static const enum role order[] = { ROLE_SYNCD, ROLE_MOUNTD, ROLE_CRYPTD };

struct scrape {
    struct samples samples;
    size_t next;                /* in order */
};

static void ask(struct exchange *x, char *page);

static void release(struct exchange *x)
{
    struct scrape *s = x->state;

    samples_free(&s->samples);
    free(s);
}

static void finish(struct exchange *x)
{
    CLEANUP(text_free) struct text out = TEXT_INIT(METRICS_BYTES_MAX);
    struct scrape *s = x->state;
    struct error e;

    SAMPLE(&s->samples, METRIC_BUILD_INFO, 1, PACKAGE_VERSION);
    SAMPLE(&s->samples, METRIC_UP, 1, role_name(ROLE_FRONTD));
    process_samples(&s->samples);
    feeds_samples(x->frontd->feeds, &s->samples);
    metrics_write(&out, s->samples.list, s->samples.n);
    if (out.error) {
        (void)error_set(&e, out.error, "The metrics are too many to be shown.");
        exchange_fail(x, &e);
    } else {
        exchange_text(x, "text/plain; version=0.0.4; charset=utf-8", &out);
    }
}

static void answered(struct exchange *x, bool up)
{
    struct scrape *s = x->state;

    SAMPLE(&s->samples, METRIC_UP, up, role_name(order[s->next]));
    s->next++;
    ask(x, NULL);
}

/* The list is lent for the call; what is kept of it is a copy. */
static void keep(struct samples *s, const Lf__Metrics *m)
{
    for (size_t i = 0; i < m->n_samples; i++) {
        size_t size = lf__sample__get_packed_size(m->samples[i]);
        CLEANUP_FREE uint8_t *packed = xcalloc(1, size + 1);
        Lf__Sample *copy;

        lf__sample__pack(m->samples[i], packed);
        copy = lf__sample__unpack(NULL, size, packed);
        if (!copy)
            abort();
        *xadd(s->list, s->n) = copy;
    }
}

static void ask_done(struct exchange *x, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    struct scrape *s = x->state;

    (void)e;
    (void)fds;
    if (reply)
        keep(&s->samples, reply->metrics);
    if (reply && reply->metrics->next_page && *reply->metrics->next_page)
        ask(x, reply->metrics->next_page);
    else
        answered(x, reply != NULL);
}

/* A process that is not connected is not waited for: the scraper does not wait long either. */
static void ask(struct exchange *x, char *page)
{
    struct scrape *s = x->state;
    Lf__MetricsGet get = LF__METRICS_GET__INIT;
    Lf__Envelope env = call_envelope(LF__ENVELOPE__BODY_METRICS_GET, &get.base);

    if (s->next == ARRAY_SIZE(order)) {
        finish(x);
        return;
    }
    get.page = page;
    if (ipc_client_connected(x->frontd->peers[order[s->next]]))
        exchange_ask(x, order[s->next], &env, ask_done);
    else
        answered(x, false);
}

void metrics_serve(struct exchange *x)
{
    x->state = xcalloc(1, sizeof(struct scrape));
    x->release = release;
    ask(x, NULL);
}
