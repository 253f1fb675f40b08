/* The worker of one drive: it answers the kernel's FUSE requests, by itself where the cache file has
 * what is asked for, by asking syncd otherwise. It opens nothing: all it has came as descriptors.
 *
 *   worker.c             the control channel: start, channels to syncd, the end
 *   worker_session.c     the FUSE session: who is let in, replaying FUSE_INIT
 *   worker_owed.c        requests not answered yet, where the next worker finds them
 *   worker_notify.c      telling the kernel what it must forget
 *   worker_notifier.c    the process that does that
 *   worker_op.c          one kernel request while syncd is asked about it: deadline, interrupt, answer
 *   worker_names.c       names and attributes
 *   worker_dir.c         directories
 *   worker_xattr.c       extended attributes
 *   worker_open.c        opening, creating, closing
 *   worker_data.c        reading, writing, holes
 *   worker_sealed.c      reading an encrypted cache file
 *   worker_reseal.c      writing one
 *   worker_turn.c        changes of the same chunks, one after the other
 *   worker_need.c        what syncd is asked for meanwhile
 *   worker_file.c        the table of open files: cache files and their maps
 *   worker_attr.c        attributes as the kernel wants them
 *   worker_meter.c       what is counted
 *   worker_filter.c      what the process may still do
 *
 * A worker holds nothing that its successor would lack: node ids are syncd's inode numbers, and a
 * file that is not in the table is opened again when a request comes for it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/loop.h"

struct worker;

/* A worker on `control`, its channel to mountd (owned from here on), with its notifier, a process: before the sandbox.
 * NULL when there is no room for that. It ends the loop with an enum control_exit, or EXIT_FAILURE. */
struct worker *worker_new(struct loop *l, int control);
/* Closes everything; requests under way stay unanswered. NULL is fine. */
void worker_free(struct worker *w);

/* --- worker_filter.c ------------------------------------------------------------------------------- */

/* Enters the sandbox for good: no capabilities, no core, nothing by path (Landlock), no thread, process, socket or
 * program any more (seccomp). 0, or a negative errno with a sentence. */
int worker_sandbox(struct error *e);
