/* What every provider must do, as tests that any cloud can be put through: the memory provider and the local folder
 * in test_cloud_ops.c, real servers in tests/integration/cloud_conformance.c. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "syncd/cloud.h"

struct suite {
    struct loop *loop;
    struct cloud *cloud;
    const char *bucket;    /* there, and empty */
    size_t part;           /* bytes of a part that is not the last */
};

/* The tests; their initial state (of the group) is a struct suite *. */
extern const struct CMUnitTest suite_tests[];
extern const size_t suite_tests_n;

/* --- for further tests ------------------------------------------------------------------------ */

/* A request about the suite's bucket and `key` (may be NULL), freed at the end of the caller's scope. */
struct cloud_request *suite_ask(struct suite *s, enum cloud_op op, const char *key);
void suite_free(struct cloud_request **r);
#define SUITE_REQUEST __attribute__((cleanup(suite_free))) struct cloud_request

/* Submits and waits; fails the test after two minutes. Returns the error's code. */
int suite_run(struct suite *s, struct cloud_request *r);
/* The same, and fails the test, with the sentence, unless the code is `code`. */
void suite_expect(struct suite *s, struct cloud_request *r, int code);

/* A file with these bytes. */
int suite_file(const void *bytes, size_t n);
/* n bytes that repeat late. Owned by the caller. */
char *suite_noise(size_t n, uint32_t seed);
void suite_put(struct suite *s, const char *key, const void *bytes, size_t n);
/* Fails the test unless the object is these bytes. */
void suite_expect_bytes(struct suite *s, const char *key, const void *bytes, size_t n);
/* Deletes everything below the prefix. */
void suite_clean(struct suite *s, const char *prefix);
