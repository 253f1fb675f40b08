/* The agent's states by name. */
#pragma once

/* "started" for 1; "unknown" for a number that is none. */
const char *status_name(int number);
