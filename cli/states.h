/* FileState in words; the contract numbers it in two ways. */
#pragma once

#include <stdint.h>

/* As /management has it. "unknown" for a number that is none. */
const char *states_object(int64_t state);
/* As /statechange has it: of several flags the first one. */
const char *states_change(int64_t flags);
