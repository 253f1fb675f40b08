/* What happens, for those who listen at frontd's WebSockets: states of objects, transfers, what a person should know.
 *
 * A connection that has sent EventsWatch hears of it from then on, in the order in which it happened. A listing or a
 * rename may bring very many at once and who lags too far behind would lose his connection, so they go out in small
 * bunches; of what waits longer than that the oldest are dropped, and EventsMissed says how many stood there. */
#pragma once

#include <stdbool.h>

#include "common/ipc.h"
#include "common/loop.h"

struct events;

struct events *events_new(struct loop *l);
/* NULL is fine. What waits is dropped. */
void events_free(struct events *e);

/* A connection ended; fine for one that never asked. */
void events_lost(struct events *e, const struct ipc_peer *p);

/* Whether anybody listens; what is said to nobody costs nothing and is not kept. */
bool events_wanted(const struct events *e);

/* The object at `path`, absolute, is in that state (FileState, numbering B). All is copied. */
void events_state(struct events *e, const char *path, const char *storage_name, int state);
void events_progress(struct events *e, const Lf__Progress *p);
/* A sentence for a person; kind as the log names it; drive (its name) and path may be NULL. */
void events_notice(struct events *e, const char *kind, const char *drive, const char *path, const char *text);

ipc_handler_fn events_watch;
