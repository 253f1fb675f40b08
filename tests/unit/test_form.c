/* frontd/form: bodies cut into parts, whatever pieces they come in; and bodies that are none. */
#include "frontd/form.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"

/* What was heard: "[name|filename]bytes;" for each part. */
struct heard {
    struct text text;
    size_t ended;
};

static int on_begin(const struct form_part *part, void *arg)
{
    struct heard *h = arg;

    return text_printf(&h->text, part->has_filename ? "[%s|%s]" : "[%s]", part->name, part->filename);
}

static int on_data(const void *bytes, size_t n, void *arg)
{
    struct heard *h = arg;

    return text_add(&h->text, bytes, n);
}

static int on_end(void *arg)
{
    struct heard *h = arg;

    h->ended++;
    return text_puts(&h->text, ";");
}

static const struct form_ops ops = { on_begin, on_data, on_end };

/* Pushes the body in pieces of `step` bytes. */
static int push(const char *boundary, const char *body, size_t n, size_t step, struct heard *h, bool *ret_complete)
{
    struct form *f = form_new(boundary, &ops, h);
    int r = 0;

    for (size_t at = 0; at < n && r == 0; at += step)
        r = form_push(f, body + at, n - at < step ? n - at : step);
    *ret_complete = form_complete(f);
    form_free(f);
    return r;
}

#define PART(head) "Content-Disposition: form-data; " head "\r\n\r\n"

static void forms_are_cut_wherever_their_pieces_end(void **state)
{
    static const struct { const char *body, *heard; } rows[] = {
        { "--B\r\n" PART("name=\"a\"") "1\r\n--B--\r\n", "[a]1;" },
        { "\r\n--B\r\n" PART("name=a") "1\r\n--B--", "[a]1;" },
        { "preamble --B\r\n--B \t\r\n" PART("name=\"a\"") "\r\n--B--epilogue\r\n--B\r\n", "[a];" },
        { "--B\r\n" PART("name=\"a\"; filename=\"x y;z.txt\"") "--B\r\n-\r\n--\r\r\n--C\r\n--B\r\n"
          "content-type: text/plain\r\nCONTENT-DISPOSITION:form-data ;NAME=\"b\"\r\n\r\n\r\n\r\n--B--",
          "[a|x y;z.txt]--B\r\n-\r\n--\r\r\n--C;[b]\r\n;" },
        { "--B\r\n" PART("filename=\"C:\\dir\\a\\\"b.txt\"; name=\"file\"") "\r\n--B--", "[file|C:\\dir\\a\"b.txt];" },
        { "--B\r\n" PART("name=\"a\"; filename=\"\"") "\r\n--B--", "[a|];" },
        { "--B--", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (size_t step = 1; step <= strlen(rows[i].body); step++) {
            struct heard h = { .text = TEXT_INIT(4096) };
            bool complete;

            if (push("B", rows[i].body, strlen(rows[i].body), step, &h, &complete) != 0 || !complete ||
                strcmp(h.text.data ? h.text.data : "", rows[i].heard) != 0)
                fail_msg("%zu in steps of %zu: %s", i, step, h.text.data);
            text_free(&h.text);
        }
}

static void what_is_no_form_is_refused(void **state)
{
    static const struct { const char *body; int r; } rows[] = {
        { "", 0 }, { "no boundary", 0 }, { "--B", 0 }, { "--B\r\n", 0 }, { "--B\r\n" PART("name=a") "1", 0 },
        { "--B\r\n" PART("name=a") "1\r\n--", 0 }, { "--B\r\n" PART("name=a") "1\r\n--B", 0 },
        { "--B\n" PART("name=a") "1\r\n--B--", -EBADMSG }, { "--BB\r\n" PART("name=a") "1\r\n--B--", -EBADMSG },
        { "--B\r\n\r\n1\r\n--B--", -EBADMSG }, { "--B\r\nX: y\r\n\r\n1\r\n--B--", -EBADMSG },
        { "--B\r\n" PART("filename=\"a\"") "1\r\n--B--", -EBADMSG }, { "--B\r\n" PART("name=\"\"") "1\r\n--B--", -EBADMSG },
        { "--B\r\n" PART("name=\"a") "1\r\n--B--", -EBADMSG }, { "--B\r\n" PART("name=\"a\tb\"") "1\r\n--B--", -EBADMSG },
        { "--B\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--B--", -EBADMSG },
        { "--B\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--B--",
          -EBADMSG },
        { "--B\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--B--", -EBADMSG },
        { "--B\r\nno colon\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--B--", -EBADMSG },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct heard h = { .text = TEXT_INIT(4096) };
        bool complete;
        int r = push("B", rows[i].body, strlen(rows[i].body), 7, &h, &complete);

        if (r != rows[i].r || complete)
            fail_msg("%s: %d", rows[i].body, r);
        text_free(&h.text);
    }
}

static void sizes_are_bounded(void **state)
{
    static char long_name[FORM_NAME_SIZE * 2], long_header[FORM_HEADER_MAX * 2], many[1 << 20];
    struct heard h = { .text = TEXT_INIT(1 << 20) };
    bool complete;
    size_t n = 0;

    (void)state;
    snprintf(long_name, sizeof(long_name), "--B\r\n" PART("name=\"%0300d\""), 1);
    assert_int_equal(push("B", long_name, strlen(long_name), 100, &h, &complete), -E2BIG);
    snprintf(long_header, sizeof(long_header), "--B\r\nX: %09000d\r\n", 1);
    assert_int_equal(push("B", long_header, strlen(long_header), 100, &h, &complete), -E2BIG);
    memset(long_header, ' ', sizeof(long_header));
    memcpy(long_header, "--B", 3);
    assert_int_equal(push("B", long_header, sizeof(long_header), 100, &h, &complete), -E2BIG);
    text_reset(&h.text);
    h.ended = 0;
    while (n + 100 < sizeof(many))
        n += (size_t)snprintf(many + n, 100, "--B\r\n" PART("name=a") "\r\n");
    assert_int_equal(push("B", many, n, 1000, &h, &complete), -E2BIG);
    assert_int_equal(h.ended, FORM_PARTS_MAX);
    text_free(&h.text);
}

/* A file of CRs and half delimiters costs no more than another one, and nothing of it is lost. */
static void data_that_looks_like_delimiters(void **state)
{
    static const char head[] = "--B\r\n" PART("name=a"), tail[] = "\r\n--B--";
    static const char piece[] = "\r\n--\r\n--A\r\r\n-";
    struct heard h = { .text = TEXT_INIT(2 << 20) };
    CLEANUP_FREE char *body = xcalloc(1, 1 << 20);
    size_t n = sizeof(head) - 1;
    bool complete;

    (void)state;
    memcpy(body, head, n);
    while (n + 100 < 1 << 20) {
        memcpy(body + n, piece, sizeof(piece) - 1);
        n += sizeof(piece) - 1;
    }
    memcpy(body + n, tail, sizeof(tail) - 1);
    assert_int_equal(push("B", body, n + sizeof(tail) - 1, 4093, &h, &complete), 0);
    assert_true(complete);
    assert_int_equal(h.text.len, n - (sizeof(head) - 1) + 4);
    assert_memory_equal(h.text.data + 3, body + sizeof(head) - 1, h.text.len - 4);
    text_free(&h.text);
}

static void boundaries(void **state)
{
    static const struct { const char *type, *boundary; } rows[] = {
        { "multipart/form-data; boundary=abc", "abc" }, { "Multipart/Form-Data;BOUNDARY=\"a b\"; x=y", "a b" },
        { "multipart/form-data; charset=utf-8; boundary=----x", "----x" },
        { "multipart/form-data; x=\"; boundary=no\"; boundary=yes", "yes" },
        { "multipart/form-data", NULL }, { "multipart/form-data; boundary=", NULL },
        { "multipart/form-data; boundary=\"", NULL }, { "multipart/form-data; boundary=\"a", NULL },
        { "multipart/form-data; boundary=a\"b", NULL }, { "multipart/form-data; boundary=\"a \"", NULL },
        { "multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567890123456789x", NULL },
        { "multipart/form-datax; boundary=a", NULL }, { "multipart/mixed; boundary=a", NULL },
        { "application/json; boundary=a", NULL }, { "", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char boundary[FORM_BOUNDARY_MAX + 1] = "";

        if (form_boundary(rows[i].type, boundary) != (rows[i].boundary != NULL) ||
            (rows[i].boundary && strcmp(boundary, rows[i].boundary) != 0))
            fail_msg("%s: %s", rows[i].type, boundary);
    }
}

static int on_data_fails(const void *bytes, size_t n, void *arg)
{
    (void)bytes, (void)n, (void)arg;
    return -ENOMEM;
}

static void a_failure_stays(void **state)
{
    static const struct form_ops failing = { on_begin, on_data_fails, on_end };
    static const char body[] = "--B\r\n" PART("name=a") "1";
    struct heard h = { .text = TEXT_INIT(4096) };
    struct form *f = form_new("B", &failing, &h);

    (void)state;
    assert_int_equal(form_push(f, body, sizeof(body) - 1), -ENOMEM);
    assert_int_equal(form_push(f, "\r\n--B--", 7), -ENOMEM);
    assert_false(form_complete(f));
    form_free(f);
    text_free(&h.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_cut_wherever_their_pieces_end),
        cmocka_unit_test(what_is_no_form_is_refused),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(data_that_looks_like_delimiters),
        cmocka_unit_test(boundaries),
        cmocka_unit_test(a_failure_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
