/* The keys of a drive for a person: seen, exported, imported, changed, destroyed. */
#pragma once

#include "common/ipc.h"

ipc_handler_fn keys_api_get, keys_api_export, keys_api_import, keys_api_rotate, keys_api_escrow, keys_api_destroy;
