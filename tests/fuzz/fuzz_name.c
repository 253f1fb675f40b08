/* Any bytes as a component of a key and as a name: what is shown can be shown, comes back, and stays where it is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "syncd/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_thing)
{
    if (!true_thing)
        abort();
}

static void as_component(const char *component, bool beside)
{
    char name[NAME_SIZE], *back = NULL;
    bool was;

    name_of_key(component, beside, name);
    must(*name && strlen(name) <= NAME_BYTES_MAX && utf8_valid(name, strlen(name)));
    must(!strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    must(name_to_key(name, strlen(name), component, &back, &was) == 0 && was == beside && strcmp(back, component) == 0);
    free(back);
}

static void as_name(const char *bytes, size_t size)
{
    char name[NAME_SIZE], *component = NULL;
    bool beside;

    if (name_to_key(bytes, size, NULL, &component, &beside) < 0)
        return;
    name_of_key(component, beside, name);
    must(strlen(name) == size && memcmp(name, bytes, size) == 0);
    free(component);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *component = calloc(1, size + 1);

    must(component);
    if (size)
        memcpy(component, data, size);
    if (!memchr(component, '/', size)) {
        as_component(component, false);
        if (*component)
            as_component(component, true);
        as_name(component, size);
    }
    free(component);
    return 0;
}
