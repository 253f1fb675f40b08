/* The audit log: each call over the API that can change something, who made it, and what came of it.
 *
 * A folder of files, the newest of which is appended to. A line is a JSON object; its last member is a hash over the
 * hash of the line before and the rest of the line, so a line that is changed, taken out or put in is found by
 * whoever reads all of them (docs/FORMATS.md). Lines cut off at the end are found by whoever kept a later head,
 * which the log of syncd has from time to time. A call's first line is written before its result is known; it has no
 * second one when the agent was ended meanwhile. What the guard refuses (other users, other web pages) is not in it:
 * strangers could fill it; frontd's log has that. */
#pragma once

#include <stdint.h>

#include "common/error.h"
#include "common/ipc.h"

struct audit;
struct config;
struct loop;

enum { AUDIT_HASH_HEX = 65, AUDIT_LINE_MAX = 16384 };

/* Opens or makes `dir` (its parent is there) and goes on behind what is there. A file that does not verify is left as
 * it is, with a line in the log, and another one is begun. 0 and *ret, or a negative errno with a sentence. */
int audit_open(struct loop *l, const struct config *config, const char *dir, struct audit **ret, struct error *e);
/* NULL is fine. Writes what waits. */
void audit_close(struct audit *a);

ipc_handler_fn audit_call, audit_result, audit_list, audit_verify;
