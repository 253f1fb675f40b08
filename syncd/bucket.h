/* Looking into a cloud account: its buckets, and what lies in one. */
#pragma once

#include "common/ipc.h"

ipc_handler_fn bucket_list, bucket_list_objects;
