/* Objects inside drives, as the HTTP API asks for them: state, metadata, directories, contents, what one waits for;
 * what is to be here always; what is to be encrypted. */
#pragma once

#include "common/ipc.h"

ipc_handler_fn object_api_status, object_api_info, object_api_list, object_api_stream, object_api_rename_status,
    object_api_explain, object_api_await, object_api_make_offline, object_api_remove_offline, object_api_accept,
    object_api_encrypt, object_api_encrypt_stop, object_api_encryption;
