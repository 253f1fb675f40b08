/* What syncd may still do once it runs. */
#pragma once

#include "common/error.h"

/* Loads the system call filter; the last step before the loop. 0 or a negative errno with a sentence. */
int filter_load(struct error *e);
