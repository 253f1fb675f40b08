/* Tells syncd's audit log of each call that can change something: who makes it before it is carried out, what came
 * of it after. A token is never among what is told. */
#pragma once

struct exchange;

/* The call is about to be served. Nothing for a row that only reads. */
void audit_begin(struct exchange *x);
/* Its reply has begun, with x->status; or its client has gone (status 0). Once, and only after audit_begin(). */
void audit_end(struct exchange *x, const char *error);
