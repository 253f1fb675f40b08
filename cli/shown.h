/* Text of others on a terminal: nothing of it steers that, and it takes the columns it is given. */
#pragma once

#include <stddef.h>

#include "common/text.h"

enum { SHOWN_MAX = 5 };

/* The next character of *s, which is not at its end, as it may be shown, as a string in `out`; *s goes behind it. The
 * columns it takes: 0 to 2. */
unsigned shown_next(const char **s, char out[SHOWN_MAX]);
size_t shown_columns(const char *s);
/* Appends as many of the last characters as fit, behind a mark where some are missing, and spaces up to `columns`. */
void shown_fit(struct text *out, const char *s, size_t columns);
