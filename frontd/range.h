/* Byte ranges of an object (RFC 9110, 14). Pure text. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct range {
    enum {
        RANGE_ALL,    /* nothing asked for */
        RANGE_FROM,   /* first and what follows */
        RANGE_SPAN,   /* first to last, inclusive */
        RANGE_SUFFIX, /* the last `first` bytes */
    } kind;
    int64_t first, last;
};

/* Reads a Range field. What is no single well-formed range of bytes (several ranges, another unit) counts as
 * not sent, as the RFC has it: RANGE_ALL. Numbers too large for an int64_t become the largest. */
struct range range_parse(const char *field);

/* "bytes 0-99/1000"; with first > last the form that goes with 416 and tells the size only. */
enum { CONTENT_RANGE_SIZE = 80 };
void range_content(int64_t first, int64_t last, int64_t size, char out[CONTENT_RANGE_SIZE]);
