/* One line on a terminal that says how far something is; nothing where stderr is none. */
#pragma once

#include <stdint.h>

/* `total` 0: it is not known. It is drawn at most five times a second. */
void progress_show(int64_t done, int64_t total);
void progress_clear(void);
