/* The documents of uploads in parts: begun, their parts, those under way. Must not know HTTP. */
#include "syncd/s3_xml.h"

#include <errno.h>
#include <string.h>

#include "syncd/s3_xml_internal.h"

static int upload_id(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&d->r->upload_id, text);
    return *text ? 0 : -EBADMSG;
}

static const struct s3_xml_rule begun_rules[] = {
    { "InitiateMultipartUploadResult/UploadId", NULL, upload_id },
    { NULL, NULL, NULL },
};

int s3_xml_begun(const char *xml, size_t n, struct cloud_request *r)
{
    struct doc d = { .r = r };

    return s3_xml_walk_keyless(xml, n, begun_rules, &d);
}

static struct cloud_part *last_part(struct doc *d)
{
    return &d->r->parts[d->r->n_parts - 1];
}

static int part_begin(void *arg)
{
    struct doc *d = arg;

    return s3_xml_extend((void **)&d->r->parts, &d->r->n_parts, sizeof(*d->r->parts));
}

static int part_number(void *arg, const char *text)
{
    struct doc *d = arg;
    uint64_t n;

    if (s3_xml_number(text, &n) < 0 || n == 0 || n > S3_LIST_MAX)
        return -EBADMSG;
    last_part(d)->number = (uint32_t)n;
    return 0;
}

static int part_size(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_number(text, &last_part(d)->size);
}

static int part_etag(void *arg, const char *text)
{
    struct doc *d = arg;

    return s3_xml_set_etag(&last_part(d)->etag, text);
}

/* Numbers must rise, or asking for the parts after the last one would never end. */
static int part_end(void *arg, const char *text)
{
    struct doc *d = arg;
    const struct cloud_part *p = last_part(d);

    (void)text;
    return p->number == 0 || (d->r->n_parts > 1 && p[-1].number >= p->number) ? -EBADMSG : 0;
}

static const struct s3_xml_rule part_rules[] = {
    { "ListPartsResult", NULL, NULL },
    { "ListPartsResult/IsTruncated", NULL, s3_xml_truncated },
    { "ListPartsResult/Part", part_begin, part_end },
    { "ListPartsResult/Part/PartNumber", NULL, part_number },
    { "ListPartsResult/Part/Size", NULL, part_size },
    { "ListPartsResult/Part/ETag", NULL, part_etag },
    { NULL, NULL, NULL },
};

int s3_xml_parts(const char *xml, size_t n, struct cloud_request *r, bool *ret_more)
{
    struct doc d = { .r = r };
    size_t before = r->n_parts;
    int error = s3_xml_walk_keyless(xml, n, part_rules, &d);

    *ret_more = error == 0 && d.truncated && r->n_parts > before;
    return error;
}

static int begun_id(void *arg, const char *text)
{
    struct doc *d = arg;

    cloud_request_set(&s3_xml_last_object(d)->version, text);
    return *text ? 0 : -EBADMSG;
}

static int begun_end(void *arg, const char *text)
{
    struct doc *d = arg;

    (void)text;
    return s3_xml_last_object(d)->key && s3_xml_last_object(d)->version ? 0 : -EBADMSG;
}

static const struct s3_xml_rule upload_rules[] = {
    { "ListMultipartUploadsResult", NULL, NULL },
    { "ListMultipartUploadsResult/EncodingType", NULL, s3_xml_encoding },
    { "ListMultipartUploadsResult/Upload", s3_xml_object_begin, begun_end },
    { "ListMultipartUploadsResult/Upload/Key", NULL, s3_xml_object_key },
    { "ListMultipartUploadsResult/Upload/UploadId", NULL, begun_id },
    { "ListMultipartUploadsResult/Upload/Initiated", NULL, s3_xml_object_mtime },
    { NULL, NULL, NULL },
};

int s3_xml_uploads(const char *xml, size_t n, struct cloud_request *r)
{
    struct doc d = { .r = r };
    int error = s3_xml_walk(xml, n, upload_rules, &d);

    for (size_t i = 0; i < r->n_objects && error == 0 && d.url_coded; i++)
        error = s3_xml_decode(r->objects[i].key);
    return error;
}
