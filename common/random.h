/* Random ids in quantity: numbers that tell things apart, of which nobody relies on not being guessed. What must not be
 * guessed is drawn from the kernel by whoever needs it. */
#pragma once

#include <stdint.h>

/* Never 0. Drawn from the kernel many at a time: most calls cost no system call. Each thread has its own, and so has
 * the child of a fork(2). */
uint64_t random_id(void);
