/* A recovery kit as text. It is an identity file of age's as well: comments, and each identity on a line of its own. */
#pragma once

#include <json-c/json.h>

#include "common/error.h"

enum { KEY_KIT_MAX = 16, KEY_KIT_LINE = 1024 };

struct key_kit {
    char identities[KEY_KIT_MAX][KEY_KIT_LINE];
    size_t n;
};

/* Prints what the API exported. 0, or -EPROTO with a sentence. */
int key_kit_print(struct json_object *kit, struct error *e);

/* Reads one from stdin, or identities alone, or one line on a terminal. 0, or -EBADMSG with a sentence. */
int key_kit_read(struct key_kit *kit, struct error *e);
