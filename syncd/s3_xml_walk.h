/* Walks a small XML document by a table of paths. Everything in a document comes from outside:
 * depth and text are bounded, a DOCTYPE ends the walk, so there are no entities. */
#pragma once

#include <stddef.h>

enum { S3_XML_DEPTH_MAX = 12, S3_XML_TEXT_MAX = 16 * 1024 };

struct s3_xml_rule {
    const char *path;                             /* of elements from the root on, joined by '/'; NULL ends a table */
    int (*begin)(void *arg);                      /* may be NULL */
    int (*end)(void *arg, const char *text);      /* with the element's text; may be NULL */
};

/* Calls the rules that match, in document order; namespace prefixes are cut off, white space before
 * the document is skipped. 0; -EPIPE when it ends before its end and is in order so far; -EBADMSG when it is not
 * well-formed, beyond bounds or matches no rule at all; or what a rule returned. */
int s3_xml_walk(const char *xml, size_t n, const struct s3_xml_rule *rules, void *arg);
/* The same, for documents that repeat the key that they were asked about: what is in Key and in Location is passed
 * over. It may have characters that XML cannot carry, which radosgw sends all the same. -ENOMEM, too. */
int s3_xml_walk_keyless(const char *xml, size_t n, const struct s3_xml_rule *rules, void *arg);
