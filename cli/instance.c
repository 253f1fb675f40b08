/* Finds and reads DIR/instance.json, for every command that talks to an instance. */
#include "cli/instance.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

enum { INSTANCE_BYTES_MAX = 1 << 20 };

static int parse(const char *path, const char *text, struct json_object **ret, struct error *e)
{
    *ret = json_tokener_parse(text);
    if (json_object_is_type(*ret, json_type_object))
        return 0;
    json_object_put(*ret);
    *ret = NULL;
    return error_set(e, -EUCLEAN, "%s is damaged; stop the instance by its process and start it again.", path);
}

int instance_read(const char *dir, struct json_object **ret, struct error *e)
{
    CLEANUP_FREE char *path = NULL, *text = calloc(1, INSTANCE_BYTES_MAX + 1);
    CLEANUP_FCLOSE FILE *f = NULL;

    if (!text || asprintf(&path, "%s/instance.json", dir) < 0)
        return -ENOMEM;
    f = fopen(path, "re");
    if (!f && errno == ENOENT)
        return error_set(e, -ENOENT, "No instance runs in %s: %s is not there.", dir, path);
    if (!f)
        return error_set(e, -errno, "%s cannot be read: %m.", path);
    text[fread(text, 1, INSTANCE_BYTES_MAX, f)] = '\0';
    return parse(path, text, ret, e);
}

const char *instance_text(struct json_object *instance, const char *key)
{
    struct json_object *v = json_object_object_get(instance, key);

    return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

/* The comm field may hold spaces and parentheses: fields are counted from its last ')'. */
uint64_t instance_started(pid_t pid)
{
    enum { FIELDS_FROM_STATE_TO_START = 19 };
    char path[64], line[1024], *p;
    CLEANUP_FCLOSE FILE *f = NULL;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (!f || !fgets(line, sizeof(line), f) || !(p = strrchr(line, ')')))
        return 0;
    p += 2;
    for (int i = 0; p && i < FIELDS_FROM_STATE_TO_START; i++)
        p = (p = strchr(p, ' ')) ? p + 1 : NULL;
    return p ? strtoull(p, NULL, 10) : 0;
}

pid_t instance_pid(struct json_object *instance, const char *name)
{
    struct json_object *pids = json_object_object_get(instance, "pids");
    struct json_object *started = json_object_object_get(instance, "started");
    pid_t pid = (pid_t)json_object_get_int64(json_object_object_get(pids, name));
    uint64_t at = (uint64_t)json_object_get_int64(json_object_object_get(started, name));

    return pid > 1 && at && instance_started(pid) == at ? pid : 0;
}
