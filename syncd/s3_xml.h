/* The XML that S3 services answer with. Every parser takes the whole document; counts are bounded
 * here, depth and text by s3_xml_walk.h. 0, -EBADMSG, or -EPIPE when the document is cut off. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/cloud.h"

enum { S3_LIST_MAX = 10000, S3_ETAG_MAX = 256 };

struct s3_xml_error {
    char code[64], message[320], region[64];
};
/* -EBADMSG also when it is some other document: <Error> is the root, or inside <ErrorResponse>. */
int s3_xml_error(const char *xml, size_t n, struct s3_xml_error *ret);

/* ListObjectsV2: fills objects, prefixes and next_token of the request; keys are decoded when the
 * answer says encoding-type url. */
int s3_xml_list(const char *xml, size_t n, struct cloud_request *r);
int s3_xml_buckets(const char *xml, size_t n, struct cloud_request *r);
/* InitiateMultipartUpload: upload_id. */
int s3_xml_begun(const char *xml, size_t n, struct cloud_request *r);
/* ListParts: appends to parts; *ret_more when others follow. */
int s3_xml_parts(const char *xml, size_t n, struct cloud_request *r, bool *ret_more);
/* ListMultipartUploads: objects; their version is the upload id, mtime_ns when it was begun. Keys are decoded. */
int s3_xml_uploads(const char *xml, size_t n, struct cloud_request *r);
/* CompleteMultipartUpload, CopyObject, UploadPartCopy: object.etag and its mtime if there is one. -EREMOTEIO when
 * the document is an <Error>, which these operations may send with status 200. */
int s3_xml_stored(const char *xml, size_t n, struct cloud_request *r);
/* DeleteObjects: failed_keys. */
int s3_xml_deleted(const char *xml, size_t n, struct cloud_request *r);

/* One more failed key. 0 or negative errno. */
int s3_xml_add_failed(struct cloud_request *r, const char *key);

/* An ETag without quotes and "W/", as it may stand in a header again: printable ASCII without quotes, at most
 * S3_ETAG_MAX bytes; "" otherwise. `out` has S3_ETAG_MAX + 1 bytes. */
void s3_etag_clean(const char *text, char *out);
