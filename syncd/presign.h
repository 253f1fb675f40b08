/* URLs that let anyone who has them fetch or store one object of a drive, for 24 hours. */
#pragma once

#include "common/ipc.h"

ipc_handler_fn presign_urls;
