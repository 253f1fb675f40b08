/* A line that nobody shall see: from the terminal, which shows nothing of it, or from whatever else stdin is. */
#pragma once

#include <stddef.h>

#include "common/error.h"

/* Asks with `prompt`, on a terminal, and reads a line into out, without its newline. Its length; -ENODATA at the end of
 * stdin, -EINVAL with a sentence for a line that does not fit or has a NUL byte, or what read(2) says. Reads no byte
 * more than the line. */
int secret_line(const char *prompt, char *out, size_t size, struct error *e);
