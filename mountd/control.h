/* What mountd and the workers it starts agree on, beside the messages of proto/ipc.proto. */
#pragma once

/* The worker is born with its end of the control channel here. */
enum { CONTROL_FD = 3 };

/* How a worker ended, as its exit status; anything else counts as a crash. */
enum control_exit {
    CONTROL_EXIT_DONE = 0,        /* mountd closed the channel */
    CONTROL_EXIT_UNMOUNTED = 10,  /* the kernel ended the FUSE connection: the drive is not mounted any more */
};
