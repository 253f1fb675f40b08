/* Bounds on time: what an idle machine does in that time takes longer where several programs wait for each processor. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

static inline double patience(double time)
{
    double load = 0, each = 1;

    if (getloadavg(&load, 1) == 1)
        each = load / (double)sysconf(_SC_NPROCESSORS_ONLN);
    return each > 1 ? time * each : time;
}
