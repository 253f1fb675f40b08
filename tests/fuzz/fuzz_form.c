/* Any bytes as the body of a form, in one piece and byte by byte: the same comes out. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "frontd/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    uint64_t sum;
    size_t bytes, begun, ended;
};

static void add(struct heard *h, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h->sum = (h->sum ^ ((const uint8_t *)bytes)[i]) * UINT64_C(1099511628211);
}

static int on_begin(const struct form_part *part, void *arg)
{
    struct heard *h = arg;

    if (!*part->name || h->begun != h->ended)
        abort();
    h->begun++;
    add(h, part->name, strlen(part->name) + 1);
    add(h, part->filename, strlen(part->filename) + 1);
    return 0;
}

static int on_data(const void *bytes, size_t n, void *arg)
{
    struct heard *h = arg;

    if (n == 0 || h->begun != h->ended + 1)
        abort();
    h->bytes += n;
    add(h, bytes, n);
    return 0;
}

static int on_end(void *arg)
{
    struct heard *h = arg;

    h->ended++;
    add(h, "", 1);
    return 0;
}

static const struct form_ops ops = { on_begin, on_data, on_end };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole = { 0 }, bytes = { 0 };
    struct form *a = form_new("B", &ops, &whole), *b = form_new("B", &ops, &bytes);
    char boundary[FORM_BOUNDARY_MAX + 1], *type = strndup((const char *)data, size);
    int r = form_push(a, data, size), s = 0;

    for (size_t i = 0; i < size && s == 0; i++)
        s = form_push(b, data + i, 1);
    if (!type || r != s || form_complete(a) != form_complete(b) || memcmp(&whole, &bytes, sizeof(whole)) != 0 ||
        whole.bytes > size || whole.begun > FORM_PARTS_MAX)
        abort();
    if (form_boundary(type, boundary) && !*boundary)
        abort();
    free(type);
    form_free(a);
    form_free(b);
    return 0;
}
