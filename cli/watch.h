/* What the agent tells, in lines. */
#pragma once

#include <json-c/json.h>

/* One frame of /notification or /statechange for a person, as a line on stdout. */
void watch_print(struct json_object *frame);
