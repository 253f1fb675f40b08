/* Waiting for the cloud. */
#pragma once

#include <json-c/json.h>

/* Until the path of a drive is in the cloud, however long. The exit status, with a sentence on stderr. */
int wait_for_cloud(struct json_object *instance, const char *path);
