/* A cryptd that is a process of its own, so that it can be killed and stopped: cryptd_alone, beside the test. */
#pragma once

#include <sys/types.h>

/* Data keys of two key stores. */
#define CRYPTD_OURS "the data key of the key store..."
#define CRYPTD_OTHER "the data key of another one....."

/* Starts one at the socket; it listens some time after. It ends with the test. */
pid_t cryptd_process_start(const char *socket, const char *data_key);
/* Kills it and waits for its end. 0: there is none. */
void cryptd_process_kill(pid_t pid);
