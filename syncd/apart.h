/* Work on paths that anybody may name, so perhaps on a file system that never answers: a dead NFS server holds
 * whoever asks it in the kernel. It must neither hold up the loop nor take a thread of the pool, which syncs what is
 * written. So each piece has a thread of its own, and there are few of them at once. */
#pragma once

#include "common/loop.h"

struct apart;

/* At most `most` pieces at once. NULL when there are no descriptors left. */
struct apart *apart_new(struct loop *l, unsigned most);
/* NULL is fine. What is under way ends unheard, if ever, and keeps what its `arg` owns. */
void apart_free(struct apart *a);

/* Runs work(arg) in a thread and then done(arg) in the loop. `arg` belongs to the work until done is called; work
 * touches nothing else. 0, or -EAGAIN: too many are under way, or there is no thread to be had, and nothing will be
 * called. */
int apart_run(struct apart *a, void (*work)(void *arg), void (*done)(void *arg), void *arg);
