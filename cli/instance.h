/* DIR/instance.json: what a running instance says about itself. The supervisor writes it (each
 * time whole, by rename, so that a reader never sees half of it) and removes it when it ends.
 *
 *   api           "http://localhost:29123"
 *   api_socket    the same API on a Unix socket
 *   port          of the API
 *   dir           DIR
 *   ready         all daemons have reported readiness
 *   user          the desktop user served
 *   pids          {"landfall": the supervisor, "frontd": ..., ...}; 0 while a daemon is restarted
 *   started       the same names: start time of the process in clock ticks (field 22 of proc(5) stat),
 *                 which makes a pid unmistakable
 *   users         the account of each daemon and of the drive workers
 *   dirs          {"state", "keys", "runtime", "mount_root", "log"}
 *   config        the configuration file, "" without one
 *   settings      what every daemon is told beside it: ["Key=value", ...]
 *   mounts        [{"drive": name, "mount_point": path}]
 */
#pragma once

#include <json-c/json.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/* DIR/instance.json, to be freed with json_object_put(). 0, -ENOENT (nothing runs there), -EUCLEAN,
 * or another negative errno with a sentence. */
int instance_read(const char *dir, struct json_object **ret, struct error *e);

/* Text at `key`, "" when absent; borrowed. */
const char *instance_text(struct json_object *instance, const char *key);

/* The pid under `name` if that very process still lives, else 0. */
pid_t instance_pid(struct json_object *instance, const char *name);

/* Start time of a process in clock ticks since boot, 0 when there is none. */
uint64_t instance_started(pid_t pid);
