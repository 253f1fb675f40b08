/* The two numberings of FileState. */
#include "cli/states.h"

#include <stddef.h>

#include "common/cleanup.h"

const char *states_object(int64_t state)
{
    static const char *const names[] = {
        "normal", "uploading", "downloading", "reading", "deleting", "deleted", "ignored", "encrypting", "decrypting",
        "renaming", "error",
    };

    return state >= 0 && state < (int64_t)ARRAY_SIZE(names) ? names[state] : "unknown";
}

const char *states_change(int64_t flags)
{
    static const struct { int64_t flag; const char *name; } names[] = {
        { 256, "error" },      { 4, "uploading" }, { 2, "downloading" }, { 128, "reading" }, { 8, "deleting" },
        { 32, "renaming" },    { 64, "deleted" },  { 1, "temporary" },   { 16, "ignored" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (flags & names[i].flag)
            return names[i].name;
    return flags ? "unknown" : "normal";
}
