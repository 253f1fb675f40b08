/* The supervisor's notification socket (sd_notify(3), "Standalone Implementations"), connected once
 * and kept: a process whose sandbox forbids socket(2) can still say READY=1 and ping the watchdog. */
#pragma once

/* Connects to NOTIFY_SOCKET, a path or "@" and an abstract name, and takes it out of the environment.
 * 0 also when there is none, or a negative errno. */
int notify_open(void);

/* Sends "KEY=value" lines, with `fd` riding along unless it is -1. Waits some seconds for a supervisor
 * that does not read. 0, -ENOTCONN without a supervisor, -EAGAIN, or another negative errno. */
int notify_send(const char *lines, int fd);

/* WATCHDOG=1, now or not at all: a supervisor that does not read must not hold up the process. */
void notify_ping(void);

void notify_close(void);
