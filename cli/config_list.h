/* The settings of an instance that runs. */
#pragma once

#include <json-c/json.h>

#include "common/config.h"

/* What it told its daemons, to be freed. 0 or negative errno with a sentence. */
int config_of_instance(struct json_object *instance, struct config **ret, struct error *e);
