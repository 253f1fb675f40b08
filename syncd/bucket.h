/* Looking into a cloud account: its buckets, and what lies in one; and what can be done with a single object there. */
#pragma once

#include "common/ipc.h"

ipc_handler_fn bucket_list, bucket_list_objects;
/* --- bucket_object.c -------------------------------------------------------------------------- */

ipc_handler_fn bucket_download_url, bucket_upload_url, bucket_delete_object, bucket_create_folder;

/* --- bucket_transfer.c ------------------------------------------------------------------------ */

ipc_handler_fn bucket_upload_object, bucket_download_object;
