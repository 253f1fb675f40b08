/* Holes in files. */
#pragma once

#include <stdint.h>

/* Makes [at, at + n) of the file a hole, as far as the file reaches, and gives the blocks back. Far behind its end is
 * nothing, and may be more than its file system has offsets for (ext4 with blocks of 1 KiB: 4 TiB), which fallocate(2)
 * refuses with EFBIG. 0 or negative errno. */
int punch_hole(int fd, uint64_t at, uint64_t n);
