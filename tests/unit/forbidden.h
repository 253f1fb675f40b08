/* What no filter of a daemon without files and children lets pass, done in a child that must die of it. */
#pragma once

#include <stddef.h>

struct forbidden {
    const char *name;
    void (*act)(void);
};

/* Enters the filter in a child, acts there, and returns the child's wait status. */
typedef int forbidden_try(void (*act)(void));

/* Fails the test unless each of the rows, and of those that are forbidden to every such daemon, ends in SIGSYS. */
void forbidden_kill(forbidden_try *try, const struct forbidden *rows, size_t n);
