/* common/messages and common/error: the tables are complete and consistent with the schema. */
#include "common/messages.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/ipc.h"

/* Whether the body is a request, an event, or the answer to a request. */
static bool known(Lf__Envelope__BodyCase body)
{
    size_t n;
    const struct message_row *rows = message_rows(&n);

    for (size_t i = 0; i < n; i++)
        if (rows[i].body == body || rows[i].reply == body)
            return true;
    return false;
}

static void every_body_has_a_row(void **state)
{
    const ProtobufCMessageDescriptor *d = &lf__envelope__descriptor;
    unsigned bodies = 0;

    (void)state;
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (!(d->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        bodies++;
        if (!known((Lf__Envelope__BodyCase)d->fields[i].id))
            fail_msg("%s is in ipc.proto and in no row of messages.c", d->fields[i].name);
    }
    assert_true(bodies > 50);
}

static void rows_are_consistent(void **state)
{
    size_t n;
    const struct message_row *rows = message_rows(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(message_row(rows[i].body), &rows[i]);
        assert_string_not_equal(message_name(rows[i].body), "unknown");
        assert_true(rows[i].senders && rows[i].receivers);
        assert_true(rows[i].fds <= IPC_FDS_MAX && rows[i].reply_fds <= IPC_FDS_MAX);
        if (rows[i].reply == LF__ENVELOPE__BODY__NOT_SET)
            assert_false(rows[i].repeat || rows[i].reply_fds);
        else
            assert_false(rows[i].senders & rows[i].receivers);
    }
}

/* Nobody asks upwards: a request's receiver has a strictly lower place than its sender. */
static void edges_run_downhill(void **state)
{
    static const int height[ROLE_COUNT] = {
        [ROLE_FRONTD] = 5, [ROLE_WORKER] = 4, [ROLE_MOUNTD] = 3, [ROLE_SYNCD] = 2, [ROLE_CRYPTD] = 1,
    };
    size_t n;
    const struct message_row *rows = message_rows(&n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        for (int from = ROLE_FRONTD; from < ROLE_COUNT; from++)
            for (int to = ROLE_FRONTD; to < ROLE_COUNT; to++)
                if (rows[i].reply && rows[i].senders & ROLE_BIT(from) && rows[i].receivers & ROLE_BIT(to) &&
                    height[from] <= height[to])
                    fail_msg("%s asks uphill", message_name(rows[i].body));
}

static void failures_are_a_closed_set(void **state)
{
    size_t n;
    const struct error_meaning *table = error_table(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(error_meaning(-table[i].code), &table[i]);
        assert_true(table[i].http_status >= 400 && table[i].http_status <= 500);
        assert_true(table[i].fuse_errno > 0 && table[i].fuse_errno < 4096);
        assert_int_equal(table[i].text[strlen(table[i].text) - 1], '.');
    }
    assert_int_equal(error_meaning(-99999)->code, EIO);
    assert_int_equal(error_meaning(EEXIST)->http_status, 499);
}

static void sentences_hold_no_control_characters(void **state)
{
    struct error e = { 0 };

    (void)state;
    assert_int_equal(error_set(&e, -ENOENT, "no \"%s\"", "a\nb\x1b[2J"), -ENOENT);
    assert_string_equal(e.text, "no \"a?b?[2J\"");
    assert_int_equal(error_set(NULL, -EIO, "x"), -EIO);
    e.text[0] = '\0';
    assert_string_equal(error_text(&e), error_meaning(ENOENT)->text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_has_a_row),      cmocka_unit_test(rows_are_consistent),
        cmocka_unit_test(edges_run_downhill),        cmocka_unit_test(failures_are_a_closed_set),
        cmocka_unit_test(sentences_hold_no_control_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
