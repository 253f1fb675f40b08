/* Which entry of a directory comes after another one: for scan.c. */
#pragma once

#include "syncd/name.h"
#include "syncd/volume_internal.h"

enum scan_order { SCAN_BY_NUMBER, SCAN_BY_NAME, SCAN_ORDERS };

enum { SCAN_PASSED = 64 };         /* entries that are looked at in one go */

struct scan_place {
    uint64_t ino;                  /* 0: before the first */
    char name[NAME_SIZE];          /* "": has none that another one could be next to */
};

/* The inode's, whose name has room there. */
void scan_place_set(struct scan_place *p, const struct index_inode *i);

/* Both are about entries of one directory. */
extern const struct scan_next {
    /* Whether somebody who goes on in this order from `last` may open `i`. */
    bool (*follows)(struct volume *v, const struct scan_place *last, const struct index_inode *i);
    /* Takes `at` to the next entry of the directory. False: there is none, and `at` stays. */
    bool (*step)(struct volume *v, uint64_t dir, struct scan_place *at);
} scan_orders[SCAN_ORDERS];
