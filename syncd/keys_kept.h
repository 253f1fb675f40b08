/* Keys of drives that are gone. They open what is in the cloud still, so they are kept, sealed, for two things: a
 * person can have them shown, exported and destroyed, and a new drive at the same place inherits their identities. */
#pragma once

#include <stdbool.h>

#include "common/ipc.h"
#include "syncd/store.h"

struct drive;
struct syncd;

/* The drive is about to be removed: marked as leaving in the store, its keys kept if objects were encrypted with them,
 * which the log says. 0 or a negative errno; then nothing was changed. */
int keys_kept_leave(struct syncd *d, const struct drive *drive, uint64_t trace);

/* --- a new drive's keys -------------------------------------------------------------------------------------- */

struct keys_heritage;

/* Keys for a drive that is being made and encrypts: with the identities of all that are kept for its place, if it
 * encrypts objects, else new ones. done(e, keys, h, arg) once, from the loop or at once; keys and h are borrowed. */
typedef void keys_kept_made_fn(const struct error *e, const struct store_keys *keys, const struct keys_heritage *h,
                               void *arg);
void keys_kept_make(struct syncd *d, const Lf__CloudDrive *model, keys_kept_made_fn *done, void *arg);
/* The drive and its keys are stored: the log says what it inherited, and what not. 0 or a negative errno. */
int keys_kept_claim(struct syncd *d, const struct keys_heritage *h, const Lf__CloudDrive *model, uint64_t trace);

/* The drive encrypts objects from now on, with keys that it had already: the log says which of its place it lacks. */
void keys_kept_say(struct syncd *d, const Lf__CloudDrive *model, uint64_t trace);

/* --- for a person (keys_kept_api.c) --------------------------------------------------------------------------- */

/* Whether there is no such drive any more, and its keys are kept. */
bool keys_kept_has(struct syncd *d, const char *id);
/* What keys_api.c answers about a drive, about one whose keys are kept. */
void keys_kept_get(struct syncd *d, struct ipc_request *req, const char *id);
void keys_kept_export(struct syncd *d, struct ipc_request *req, const char *id);
void keys_kept_destroy(struct syncd *d, struct ipc_request *req, const char *id, bool confirmed);
/* All drives with keys, and then all whose keys are kept. */
ipc_handler_fn keys_kept_list;
