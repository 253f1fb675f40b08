/* Reads the configuration. The keys are rows generated from CONFIG_KEYS; nothing here names one
 * but the checks that span keys. */
#include "common/config.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/text.h"

enum { FILE_BYTES_MAX = 1 << 20, LIST_MAX = 256 };

enum type { TEXT, NUMBER, FLAG, LIST, TYPE_COUNT };

struct row {
    const char *key;
    enum type type;
    size_t offset;
    int64_t least, most;
};

static const struct row rows[] = {
#define X(field, key, type, def, least, most, doc) { key, type, offsetof(struct config, field), least, most },
    CONFIG_KEYS(X)
#undef X
};

static const char *const type_names[TYPE_COUNT] = { "text", "a whole number", "true or false", "a list of texts" };

/* `where` names the source in messages: a path, or "--set". */
struct source {
    const char *where;
    struct error *e;
};

static int bad_value(const struct source *s, const struct row *row)
{
    if (row->type == NUMBER)
        return error_set(s->e, -EINVAL, "%s: %s must be a whole number from %lld to %lld.", s->where, row->key,
                         (long long)row->least, (long long)row->most);
    return error_set(s->e, -EINVAL, "%s: %s must be %s.", s->where, row->key, type_names[row->type]);
}

static void list_free(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

/* --- setting a field, one function per type, from JSON ----------------------------------------- */

static int put_text(char **field, const char *value)
{
    char *copy = strdup(value);

    if (!copy)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

static int set_text(void *field, struct json_object *v, const struct row *row)
{
    (void)row;
    return json_object_is_type(v, json_type_string) ? put_text(field, json_object_get_string(v)) : -EINVAL;
}

static int set_number(void *field, struct json_object *v, const struct row *row)
{
    int64_t n = json_object_get_int64(v);

    if (!json_object_is_type(v, json_type_int) || n < row->least || n > row->most)
        return -EINVAL;
    *(int64_t *)field = n;
    return 0;
}

static int set_flag(void *field, struct json_object *v, const struct row *row)
{
    (void)row;
    if (!json_object_is_type(v, json_type_boolean))
        return -EINVAL;
    *(bool *)field = json_object_get_boolean(v);
    return 0;
}

static int set_list(void *field, struct json_object *v, const struct row *row)
{
    char **list;
    size_t n;

    (void)row;
    if (!json_object_is_type(v, json_type_array) || (n = json_object_array_length(v)) > LIST_MAX)
        return -EINVAL;
    list = calloc(n + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct json_object *item = json_object_array_get_idx(v, i);

        if (!json_object_is_type(item, json_type_string) || !(list[i] = strdup(json_object_get_string(item)))) {
            list_free(list);
            return -EINVAL;
        }
    }
    list_free(*(char ***)field);
    *(char ***)field = list;
    return 0;
}

static int (*const setters[TYPE_COUNT])(void *field, struct json_object *v, const struct row *row) = {
    [TEXT] = set_text,
    [NUMBER] = set_number,
    [FLAG] = set_flag,
    [LIST] = set_list,
};

/* --- text from --set and from defaults, turned into JSON first so that one path checks both ---- */

static struct json_object *list_from_text(const char *text)
{
    struct json_object *list = json_object_new_array();

    while (list && *text) {
        size_t n = strcspn(text, ",");

        if (n)
            json_object_array_add(list, json_object_new_string_len(text, (int)n));
        text += n + (text[n] == ',');
    }
    return list;
}

static struct json_object *number_from_text(const char *text)
{
    uint64_t n;

    return text_number(text, INT64_MAX, &n) ? json_object_new_int64((int64_t)n) : NULL;
}

static struct json_object *flag_from_text(const char *text)
{
    bool yes = strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0;
    bool no = strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0;

    return yes || no ? json_object_new_boolean(yes) : NULL;
}

static struct json_object *(*const from_text[TYPE_COUNT])(const char *text) = {
    [TEXT] = json_object_new_string,
    [NUMBER] = number_from_text,
    [FLAG] = flag_from_text,
    [LIST] = list_from_text,
};

static const struct row *find_row(const char *key, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strlen(rows[i].key) == len && strncasecmp(rows[i].key, key, len) == 0)
            return &rows[i];
    return NULL;
}

static int assign(struct config *c, const struct row *row, struct json_object *v, const struct source *s)
{
    int r = v ? setters[row->type]((char *)c + row->offset, v, row) : -EINVAL;

    return r == -EINVAL ? bad_value(s, row) : r;
}

static int assign_text(struct config *c, const struct row *row, const char *text, const struct source *s)
{
    struct json_object *v = from_text[row->type](text);
    int r = assign(c, row, v, s);

    json_object_put(v);
    return r;
}

static int apply_set(struct config *c, const char *set, const struct source *s)
{
    size_t n = strcspn(set, "=");
    const struct row *row = find_row(set, n);

    if (!set[n])
        return error_set(s->e, -EINVAL, "--set %s: write it as Key=value.", set);
    if (!row)
        return error_set(s->e, -EINVAL, "--set %.*s: there is no such key; `landfall config` lists them.", (int)n, set);
    return assign_text(c, row, set + n + 1, s);
}

static int apply_object(struct config *c, struct json_object *o, const struct source *s)
{
    if (!json_object_is_type(o, json_type_object))
        return error_set(s->e, -EUCLEAN, "%s: the configuration must be one JSON object.", s->where);
    json_object_object_foreach(o, key, value) {
        const struct row *row = find_row(key, strlen(key));
        int r;

        if (!row)
            return error_set(s->e, -EINVAL, "%s: there is no key %s; `landfall config` lists them.", s->where, key);
        r = assign(c, row, value, s);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse_text(const char *text, size_t len, struct json_object **ret, const struct source *s)
{
    struct json_tokener *t = json_tokener_new_ex(8);
    int r = 0;

    if (!t)
        return -ENOMEM;
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    *ret = json_tokener_parse_ex(t, text, (int)len + 1);
    if (json_tokener_get_error(t) != json_tokener_success) {
        json_object_put(*ret);
        *ret = NULL;
        r = error_set(s->e, -EUCLEAN, "%s is not valid JSON: %s at byte %zu.", s->where,
                      json_tokener_error_desc(json_tokener_get_error(t)), json_tokener_get_parse_end(t));
    }
    json_tokener_free(t);
    return r;
}

static int apply_file(struct config *c, const char *path, struct error *e)
{
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    CLEANUP_FREE char *text = malloc(FILE_BYTES_MAX + 1);
    struct source s = { path, e };
    struct json_object *o = NULL;
    size_t n;
    int r;

    if (!f)
        return error_set(e, -errno, "The configuration %s cannot be read: %m.", path);
    if (!text)
        return -ENOMEM;
    n = fread(text, 1, FILE_BYTES_MAX, f);
    if (ferror(f) || !feof(f))
        return error_set(e, -EINVAL, "The configuration %s cannot be read whole; it may have at most %d bytes.", path,
                         FILE_BYTES_MAX - 1);
    text[n] = '\0';
    r = parse_text(text, n, &o, &s);
    if (r == 0)
        r = apply_object(c, o, &s);
    json_object_put(o);
    return r;
}

#define DEFAULT_TEXT(def) def
#define DEFAULT_LIST(def) def
#define DEFAULT_NUMBER(def) #def
#define DEFAULT_FLAG(def) #def

static const struct config_key keys[] = {
#define X(field, key, type, def, least, most, doc) { key, #type, DEFAULT_##type(def), doc },
    CONFIG_KEYS(X)
#undef X
};

const struct config_key *config_keys(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(keys);
    return keys;
}

/* --- a field as text ---------------------------------------------------------------------------- */

static char *text_value(const void *field)
{
    return strdup(*(char *const *)field);
}

static char *number_value(const void *field)
{
    char *text = NULL;

    return asprintf(&text, "%lld", (long long)*(const int64_t *)field) < 0 ? NULL : text;
}

static char *flag_value(const void *field)
{
    return strdup(*(const bool *)field ? "true" : "false");
}

static char *list_value(const void *field)
{
    char **list = *(char **const *)field, *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    for (size_t i = 0; f && list && list[i]; i++)
        (void)fprintf(f, "%s%s", i ? "," : "", list[i]);
    return f && fclose(f) == 0 ? text : NULL;
}

static char *(*const values[TYPE_COUNT])(const void *field) = {
    [TEXT] = text_value,
    [NUMBER] = number_value,
    [FLAG] = flag_value,
    [LIST] = list_value,
};

char *config_value(const struct config *c, size_t i)
{
    return values[rows[i].type]((const char *)c + rows[i].offset);
}

/* --- the whole ---------------------------------------------------------------------------------- */

int config_load(const char *path, const char *const *sets, size_t n, struct config **ret, struct error *e)
{
    CLEANUP(config_freep) struct config *c = calloc(1, sizeof(*c));
    struct source defaults = { "built-in", e }, arguments = { "--set", e };
    int r = c ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rows); i++)
        r = assign_text(c, &rows[i], keys[i].default_text, &defaults);
    if (r == 0 && path)
        r = apply_file(c, path, e);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = apply_set(c, sets[i], &arguments);
    if (r == 0)
        *ret = take_ptr(c);
    return r == -ENOMEM ? error_set(e, r, "There is no memory for the configuration.") : r;
}

void config_free(struct config *c)
{
    for (size_t i = 0; c && i < ARRAY_SIZE(rows); i++) {
        void *field = (char *)c + rows[i].offset;

        if (rows[i].type == TEXT)
            free(*(char **)field);
        else if (rows[i].type == LIST)
            list_free(*(char ***)field);
    }
    free(c);
}

void config_freep(struct config **c)
{
    config_free(*c);
}

int config_host_port(const struct config *c, uint16_t *ret_port, struct error *e)
{
    static const char *const hosts[] = { "http://localhost", "http://127.0.0.1", "http://[::1]" };
    const char *url = c->host_url;

    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        size_t n = strlen(hosts[i]);
        const char *end = url + n + strcspn(url + n, "/");
        char digits[8];
        uint64_t port;

        if (strncasecmp(url, hosts[i], n) != 0 || url[n] != ':')
            continue;
        (void)snprintf(digits, sizeof(digits), "%.*s", (int)(end - (url + n + 1)), url + n + 1);
        if (!text_number(digits, UINT16_MAX, &port) || port == 0 || strcmp(end + (*end == '/'), "") != 0)
            break;
        *ret_port = (uint16_t)port;
        return 0;
    }
    return error_set(e, -EINVAL, "HostUrl %s: write it as http://localhost:PORT; only loopback is served.", url);
}
