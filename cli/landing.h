/* A file that appears under its name once it is whole, and takes the place of another only when it may. Until then it
 * is a hidden file beside that; an end by a signal removes it. One at a time. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "common/error.h"

struct landing {
    int fd;                      /* to be written to */
    const char *target;          /* borrowed */
    bool replace;
    char temporary[PATH_MAX];
};

/* 0 or negative errno with a sentence: -EEXIST when something is there that may not be replaced. */
int landing_open(struct landing *l, const char *target, bool replace, struct error *e);
/* Gives it its name, or removes it when `r`, which it returns then, is negative. */
int landing_end(struct landing *l, int r, struct error *e);
