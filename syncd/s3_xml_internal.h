/* What the documents of S3 have in common: s3_xml.c's, for s3_xml_parts.c. */
#pragma once

#include "syncd/cloud.h"
#include "syncd/s3_xml.h"
#include "syncd/s3_xml_walk.h"

/* The walk's argument. */
struct doc {
    struct cloud_request *r;
    struct s3_xml_error *fault;
    bool truncated, url_coded;
};

/* Values. 0 or negative errno. A date that cannot be read is left out: nothing hangs on it. */
int s3_xml_number(const char *text, uint64_t *ret);
int s3_xml_date(const char *text, int64_t *ret_ns);
int s3_xml_set_etag(char **field, const char *text);
/* One more zeroed element; the array grows at powers of two up to S3_LIST_MAX. */
int s3_xml_extend(void **array, size_t *n, size_t size);
/* Decodes a key in place: %XX, and '+' for a space, which every service writes as %2B when it is meant. */
int s3_xml_decode(char *key);

/* Rules for elements of several documents. */
struct cloud_object *s3_xml_last_object(struct doc *d);
int s3_xml_object_begin(void *arg);
int s3_xml_object_key(void *arg, const char *text);
int s3_xml_object_mtime(void *arg, const char *text);
int s3_xml_truncated(void *arg, const char *text);
int s3_xml_encoding(void *arg, const char *text);
