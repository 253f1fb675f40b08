/* One event a line on stderr: "<6>syncd upload_done drive=... key=... trace=1f". The number is
 * the syslog priority, which journald strips and reads; on a terminal it is left out.
 *
 * Values are quoted and control characters escaped, so that a file name can forge no line.
 * Never pass a secret, a token or a presigned query. */
#pragma once

#include <stdint.h>
#include <syslog.h>

/* Sets the name at the head of every line and the least important priority that is printed. */
void log_init(const char *daemon, int max_priority);

/* Logs `event` with pairs of key and printf-formatted value:
 *   LOG(LOG_INFO, "mounted", "drive=%s", id, "path=%s", path);
 * Each pair is a format that starts with "key=", followed by exactly the one argument it takes;
 * end of list is added by the macro. At most 16 pairs; a line is cut at 4 KiB. */
#define LOG(priority, event, ...) log_event(priority, event, 0, ##__VA_ARGS__, (const char *)NULL)

/* The same with the id of the outside request, which crosses all processes. 0 prints none. */
#define LOG_TRACE(priority, trace, event, ...) \
    log_event(priority, event, trace, ##__VA_ARGS__, (const char *)NULL)

void log_event(int priority, const char *event, uint64_t trace, ...);
