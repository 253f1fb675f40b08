/* The calls that change something on a disk, counted. What stands in this program stands before libc's, for sqlite too;
 * so a process can be killed right before any of them, in whatever thread (of writes to one file in a row, before the
 * first; and before each transaction of sqlite's). Of stores to mapped memory, those
 * before the call are made then and those after it are not; it does not die between them.
 *
 * A power cut is another matter: tests/integration/test_power_cut.py. */
#pragma once

#include <stdbool.h>

/* In memory that a parent shares with its child. */
struct crash_steps {
    _Atomic bool armed;            /* else nothing is counted */
    _Atomic long left;             /* the process dies before the call that finds none left */
    _Atomic unsigned acknowledged; /* the story's: what its programs have heard the end of */
};

/* Before anything is called; NULL: as if there were no such thing. */
void crash_steps_set(struct crash_steps *s);
