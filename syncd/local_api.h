/* The file systems and folders of this machine, as the HTTP API asks for them. */
#pragma once

#include "common/ipc.h"

struct local;
struct syncd;

struct local *local_new(struct syncd *d);
/* Who waits is answered; what hangs stays where it hangs. NULL is fine. */
void local_free(struct local *l);

ipc_handler_fn local_api_points, local_api_letters, local_api_directories, local_api_objects, local_api_make;
