/* The documents of S3 services, error bodies among them: the first byte says which, the rest is the document. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/s3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parts(const char *xml, size_t n, struct cloud_request *r)
{
    bool more;

    return s3_xml_parts(xml, n, r, &more);
}

static int fault(const char *xml, size_t n, struct cloud_request *r)
{
    struct http_reply reply = { .status = 403, .headers = PAIRS_INIT(100),
        .body = { .data = (char *)(uintptr_t)xml, .len = n, .max = n } };
    struct s3_refusal f;

    (void)r;
    s3_refusal_read(&reply, &f);
    return s3_refusal_code(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const parsers[])(const char *, size_t, struct cloud_request *) = {
        s3_xml_list, s3_xml_buckets, s3_xml_begun, parts, s3_xml_stored, s3_xml_deleted, fault, s3_xml_uploads,
    };
    struct cloud_request *r;

    if (size == 0)
        return 0;
    r = cloud_request_new(CLOUD_PART_LIST, NULL, NULL);
    (void)parsers[data[0] % ARRAY_SIZE(parsers)]((const char *)data + 1, size - 1, r);
    cloud_request_free(r);
    return 0;
}
