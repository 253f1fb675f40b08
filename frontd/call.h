/* Handlers that serve most rows without code of their own: the row says what to ask and what to send. */
#pragma once

#include "frontd/exchange.h"

/* The request of the row, filled from body, path and query. 0 and *ret (protobuf_c_message_free_unpacked(, NULL));
 * -EBADMSG (no JSON), -EINVAL (a field or parameter is wrong or missing) or -ENOMEM with a sentence. */
int call_message(struct exchange *x, ProtobufCMessage **ret, struct error *e);

/* An envelope around `m` as the body `body`; m stays the caller's. */
Lf__Envelope call_envelope(Lf__Envelope__BodyCase body, ProtobufCMessage *m);

/* The message inside an envelope, whatever it is. Borrowed; NULL if there is none. */
const ProtobufCMessage *call_body(const Lf__Envelope *env);

/* Asks the row's request and sends the row's view of the reply. */
void call_serve(struct exchange *x);

/* The same for a list that comes in pages (request.page, reply.next_page): sends one JSON array, page by page as
 * the client takes it. Where the view is a message, its field `data` is the list; the other fields are
 * those of the last page. */
void list_serve(struct exchange *x);

/* For rows that are not there: 499 with the row's sentence. The router calls it before there is a body. */
void missing_serve(struct exchange *x);
