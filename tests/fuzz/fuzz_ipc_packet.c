/* Whatever bytes arrive, in whatever role and with however many descriptors: what passes the checks
 * has a row, the row's direction and the row's descriptors, and packs again. */
#include <stdlib.h>

#include "common/ipc_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_as_call(const Lf__Envelope *env, enum role sender, enum role receiver, size_t n)
{
    const struct message_row *row = NULL;

    if (ipc_packet_check_call(env, sender, receiver, n, &row))
        return;
    if (!row || row->body != env->body_case || row->fds != n || env->failure)
        abort();
    if (!(row->senders & ROLE_BIT(sender)) || !(row->receivers & ROLE_BIT(receiver)))
        abort();
    if ((env->id == 0) != (row->reply == LF__ENVELOPE__BODY__NOT_SET))
        abort();
}

static void check_as_reply(const Lf__Envelope *env, size_t n)
{
    size_t n_rows;
    const struct message_row *rows = message_rows(&n_rows);

    for (size_t i = 0; i < n_rows; i++)
        if (!ipc_packet_check_reply(env, &rows[i], n) && !env->failure && env->body_case != rows[i].reply)
            abort();
}

/* One byte chooses roles and descriptors, the rest is the packet. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Lf__Envelope *env = NULL;
    struct ipc_packet *packet = NULL;

    if (size < 1 || ipc_packet_unpack(data + 1, size - 1, &env))
        return 0;
    check_as_call(env, data[0] % ROLE_COUNT, data[0] / ROLE_COUNT % ROLE_COUNT, data[0] / ROLE_COUNT / ROLE_COUNT % 3);
    check_as_reply(env, data[0] % 3);
    if (ipc_packet_new(env, NULL, 0, &packet) == 0)
        ipc_packet_unref(packet);
    lf__envelope__free_unpacked(env, NULL);
    return 0;
}
