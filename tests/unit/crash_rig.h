/* Stories of a volume that is killed: told once for each step, in a process of its own that dies right before it,
 * and looked at by another run on what is left (crash_steps.h says what a step is). The cloud is a LocalFolder and
 * outlives both. */
#pragma once

#include "tests/unit/volume_rig.h"

/* The first three run in the process that dies; after() in the next one, once what was pending is in the cloud and
 * nothing is swept any more. */
struct crash_story {
    void (*prepare)(struct rig *rig);    /* of both, before the drive is opened; NULL: nothing */
    void (*before)(struct rig *rig);     /* whole, and in the cloud as far as it may go there; NULL: nothing */
    void (*act)(struct rig *rig);        /* what is killed */
    void (*reopened)(struct rig *rig, unsigned acknowledged);  /* at once after that; NULL: nothing */
    void (*after)(struct rig *rig, unsigned acknowledged);     /* NULL: nothing beyond what holds for all */
};

/* Tells it for every fifth step, or as CRASH_STRIDE in the environment says, until it ends before its step. Whatever
 * the step: what is here is what the cloud has, and nothing is left over, neither here nor there. */
void crash_everywhere(const struct crash_story *s);

/* In act(): one more change has been acknowledged. */
void crash_acknowledge(void);
