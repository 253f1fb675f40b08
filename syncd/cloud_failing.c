/* A cloud around another that loses requests or answers when told to; for tests. Everything that is not
 * made to fail passes unchanged. */
#include <stdlib.h>

#include "syncd/cloud.h"

struct failing {
    struct cloud *inner;   /* owned */
    int (*fault)(const struct cloud_request *r, bool after, void *arg);
    void *arg;
};

/* What a request that passed through must be given back. */
struct passage {
    struct failing *f;
    cloud_done_fn *done;
    void (*progress)(struct cloud_request *r, uint64_t bytes, void *arg);
    bool (*data)(struct cloud_request *r, const void *bytes, size_t n, void *arg);
    void *arg;
};

static void fail(struct cloud_request *r, int code, const char *when)
{
    (void)error_set(&r->error, code, "The test made this fail %s.", when);
}

static void on_passed(struct cloud_request *r, void *arg)
{
    struct passage *p = arg;
    int code = p->f->fault(r, true, p->f->arg);

    r->done = p->done;
    r->progress = p->progress;
    r->data = p->data;
    r->arg = p->arg;
    free(p);
    if (code)
        fail(r, code, "after it was carried out");
    r->done(r, r->arg);
}

static void on_progress(struct cloud_request *r, uint64_t bytes, void *arg)
{
    struct passage *p = arg;

    p->progress(r, bytes, p->arg);
}

static bool on_data(struct cloud_request *r, const void *bytes, size_t n, void *arg)
{
    struct passage *p = arg;

    return p->data(r, bytes, n, p->arg);
}

static void failing_submit(struct cloud *c, struct cloud_request *r)
{
    struct failing *f = c->state;
    int code = f->fault(r, false, f->arg);
    struct passage *p;

    if (code) {
        fail(r, code, "before it was sent");
        cloud_finish(r, &r->error);
        return;
    }
    p = malloc(sizeof(*p));
    if (!p)
        abort();
    *p = (struct passage){ .f = f, .done = r->done, .progress = r->progress, .data = r->data, .arg = r->arg };
    r->done = on_passed;
    r->progress = r->progress ? on_progress : NULL;
    r->data = r->data ? on_data : NULL;
    r->arg = p;
    f->inner->ops->submit(f->inner, r);
}

static void failing_cancel(struct cloud *c, struct cloud_request *r)
{
    struct failing *f = c->state;

    f->inner->ops->cancel(f->inner, r);
}

static void failing_resume(struct cloud *c, struct cloud_request *r)
{
    struct failing *f = c->state;

    f->inner->ops->resume(f->inner, r);
}

static void failing_presign(struct cloud *c, const struct cloud_url *url, cloud_presigned_fn *done, void *arg)
{
    struct failing *f = c->state;

    cloud_presign(f->inner, url, done, arg);
}

static void failing_close(struct cloud *c)
{
    struct failing *f = c->state;

    cloud_free(f->inner);
    free(f);
    free((struct cloud_ops *)c->ops);
}

struct cloud *cloud_failing_new(struct cloud *inner, int (*fault)(const struct cloud_request *r, bool after, void *arg),
                                void *arg)
{
    struct cloud *c = calloc(1, sizeof(*c));
    struct failing *f = malloc(sizeof(*f));
    struct cloud_ops *ops = malloc(sizeof(*ops));

    if (!c || !f || !ops)
        abort();
    *f = (struct failing){ .inner = inner, .fault = fault, .arg = arg };
    *ops = (struct cloud_ops){ .name = inner->ops->name, .capabilities = inner->ops->capabilities,
        .limits = inner->ops->limits, .close = failing_close, .submit = failing_submit, .cancel = failing_cancel,
        .resume = failing_resume, .presign = failing_presign };
    *c = (struct cloud){ .ops = ops, .loop = inner->loop, .config = inner->config, .type = inner->type, .state = f,
        .capabilities = inner->capabilities };
    return c;
}
