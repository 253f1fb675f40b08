/* The desktop session of the served user, as far as this agent asks something of it: over its message bus, so that what
 * happens there is done by programs of the session and not by a process that holds credentials. Blocks. */
#pragma once

#include <stdint.h>

#include "common/error.h"

struct session_folder {
    uint32_t uid;
    const char *path;              /* absolute; borrowed */
    struct error error;            /* out */
};
/* For apart_run(). Has the file manager show the folder (org.freedesktop.FileManager1), which the bus starts if it does
 * not run. -EOPNOTSUPP with a sentence: there is no session of that user, or no file manager in it; -ETIMEDOUT. */
void session_show_folder(void *folder);
