/* The keys of a drive for a person: seen, exported, imported, changed, destroyed. */
#pragma once

#include "common/ipc.h"
#include "syncd/keys.h"

struct drive;

ipc_handler_fn keys_api_get, keys_api_export, keys_api_import, keys_api_rotate, keys_api_escrow, keys_api_destroy;
/* What is public of a drive's keys; all of it borrowed. */
void keys_api_info(const struct drive *drive, int64_t epochs[KEYS_EPOCHS_MAX], Lf__DriveKeyInfo *ret);
