/* Objects inside drives, as the HTTP API asks for them: state, metadata, directories, contents, what one waits for;
 * what is to be here always; what is to be encrypted; what is fetched, given up and deleted. */
#pragma once

#include "common/ipc.h"

/* How long one request waits for the cloud, and at most; what a caller gave, within that. */
enum { OBJECT_API_SECONDS = 30, OBJECT_API_SECONDS_MAX = 60 };
unsigned object_api_seconds(int32_t given);

ipc_handler_fn object_api_status, object_api_info, object_api_list, object_api_stream, object_api_rename_status,
    object_api_explain, object_api_await, object_api_encryption;
/* object_change.c */
ipc_handler_fn object_api_make_offline, object_api_remove_offline, object_api_accept, object_api_encrypt,
    object_api_encrypt_stop, object_api_download, object_api_read, object_api_evict, object_api_delete;
