/* Absent chunks of a cache file, brought from the cloud: asked for by many, downloaded once.
 *
 * Each transfer is one ranged GET of a run of absent chunks, its bytes go straight into the data
 * file, and a chunk's bit is set when the whole chunk is there; whoever waits for it hears at once.
 * A run never touches a present chunk, because that may hold newer bytes. */
#pragma once

#include "syncd/cache_use.h"
#include "syncd/tally.h"

typedef void fetch_done_fn(const struct error *e, void *arg);

/* For cache.c: the empty state of a new file. */
void fetch_init(struct cache_file *f);
/* Nobody uses it any more. */
void fetch_discard(struct cache_file *f);

/* Calls done(e) once [offset, offset + length), as far as the file reaches, is present (code 0) or cannot be
 * had; at once when there is nothing to fetch. The caller holds the file until then. `deadline_ms` 0: none.
 * `why` is for those who ask what the content is here for.
 * Errors: -ETIMEDOUT past the deadline; -ENOSPC when the cache has no room for it and gets none; -EIO while paused, or
 * when the cloud's version is gone; the provider's. */
void fetch_range(struct cache_file *f, enum fetch_why why, uint64_t offset, uint64_t length, uint64_t deadline_ms,
                 fetch_done_fn *done, void *arg);
/* The same for all of the file, to be kept: in space for what stays, behind those who read. */
void fetch_whole(struct cache_file *f, fetch_done_fn *done, void *arg);
/* The same of what is fetched once, and may go again. */
void fetch_once(struct cache_file *f, fetch_done_fn *done, void *arg);
/* What can be asked of the transfer of a download, whose argument is the cache file: fetch_hold.c. What is fetched for
 * later, by the two above and by scan.c, waits while it is paused, and -ECANCELED ends it. */
struct transfer_control;
extern const struct transfer_control fetch_control;
/* A program asks for the range: if something of it is not here, that counts, with the reason. fetch_miss.c */
void fetch_count_miss(const struct cache_file *f, uint64_t offset, uint64_t length);
/* Whether an object of that many bytes is compared with its ETag before any of it is shown. fetch_check.c */
bool fetch_checks(const struct volume *v, uint64_t size);
/* A request that was to be compared has ended: what this tells of the drive's ETags, and what the log says of it. */
void fetch_checked(struct volume *v, const struct cloud_request *r);
/* Drops the waiters with this arg; their done will not run. */
void fetch_forget(struct cache_file *f, const void *arg);

/* A sentence or two about which bytes a program waits for, or else an upload or a pin, and why they are not here; "" if
 * nobody does. fetch_say.c. `size` is 256 at least. */
void fetch_say(const struct cache_file *f, char *out, size_t size);

/* Whether bytes of [from, to) are on their way. */
bool fetch_concerns(const struct cache_file *f, uint64_t from, uint64_t to);

/* Stops the transfers: nothing is written to the data file any more. Who waits goes on waiting, until
 * fetch_go_on() starts anew what is still wanted. The caller holds the file. Neither calls anybody back, so both may
 * stand in a transaction. */
void fetch_stop(struct cache_file *f);
/* The same for transfers that reach beyond `size`. */
void fetch_stop_beyond(struct cache_file *f, uint64_t size);
void fetch_go_on(struct cache_file *f);
/* The version that bytes come from may be replaced by an upload of the file: what finds it gone waits for the end of
 * that (false). */
void fetch_superseded(struct cache_file *f, bool yes);
/* Stops for good: who waits gets `e`, at once. */
void fetch_end(struct cache_file *f, const struct error *e);
