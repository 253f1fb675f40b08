/* The table of syncd: no message for it without a handler, no handler without a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/messages.h"
#include "syncd/serve.h"

static size_t handlers_of(Lf__Envelope__BodyCase body)
{
    size_t n, found = 0;
    const struct ipc_handler *handlers = serve_handlers(&n);

    for (size_t i = 0; i < n; i++)
        found += handlers[i].body == body && handlers[i].handle;
    return found;
}

static void every_message_has_one_handler(void **state)
{
    size_t n;
    const struct message_row *rows = message_rows(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        /* Hello is the server's own affair. */
        bool ours = rows[i].receivers & ROLE_BIT(ROLE_SYNCD) && rows[i].body != LF__ENVELOPE__BODY_HELLO;

        if (handlers_of(rows[i].body) != (ours ? 1 : 0))
            fail_msg("%s has %zu handlers", message_name(rows[i].body), handlers_of(rows[i].body));
    }
}

static void every_handler_has_a_message(void **state)
{
    size_t n;
    const struct ipc_handler *handlers = serve_handlers(&n);

    (void)state;
    assert_true(n > 30);
    for (size_t i = 0; i < n; i++)
        if (!message_row(handlers[i].body))
            fail_msg("%s is no request", message_name(handlers[i].body));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_has_one_handler),
        cmocka_unit_test(every_handler_has_a_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
