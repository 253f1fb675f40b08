/* The engine below s3_xml.c: the one user of expat. Must not know any document. */
#include "syncd/s3_xml_walk.h"

#include <errno.h>
#include <expat.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"

enum { PATH_SIZE = 256 };

struct walk {
    XML_Parser parser;
    const struct s3_xml_rule *rules;
    void *arg;
    char path[PATH_SIZE];
    size_t depth;
    bool matched;
    struct text text;
    int error;
};

static void stop(struct walk *w, int error)
{
    if (!w->error)
        w->error = error;
    (void)XML_StopParser(w->parser, XML_FALSE);
}

static const struct s3_xml_rule *find(const struct walk *w)
{
    for (const struct s3_xml_rule *rule = w->rules; rule->path; rule++)
        if (strcmp(rule->path, w->path) == 0)
            return rule;
    return NULL;
}

static void on_begin(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct walk *w = arg;
    const char *colon = strrchr(name, ':'), *local = colon ? colon + 1 : name;
    size_t len = strlen(w->path), n = strlen(local);
    const struct s3_xml_rule *rule;
    int r;

    (void)attributes;
    if (w->error)
        return;
    if (w->depth == S3_XML_DEPTH_MAX || len + n + 2 > sizeof(w->path)) {
        stop(w, -EBADMSG);
        return;
    }
    if (w->depth++)
        w->path[len++] = '/';
    memcpy(w->path + len, local, n + 1);
    text_reset(&w->text);
    rule = find(w);
    w->matched |= rule != NULL;
    r = rule && rule->begin ? rule->begin(w->arg) : 0;
    if (r < 0)
        stop(w, r);
}

static void on_end(void *arg, const XML_Char *name)
{
    struct walk *w = arg;
    const struct s3_xml_rule *rule = find(w);
    char *slash = strrchr(w->path, '/');
    int r = 0;

    (void)name;
    if (w->error)   /* the end of an empty element still comes after stop() in its begin */
        return;
    if (rule && rule->end)
        r = rule->end(w->arg, w->text.data ? w->text.data : "");
    if (r < 0)
        stop(w, r);
    *(slash ? slash : w->path) = '\0';
    w->depth--;
    text_reset(&w->text);
}

static void on_text(void *arg, const XML_Char *s, int n)
{
    struct walk *w = arg;

    if (!w->error && text_add(&w->text, s, (size_t)n) < 0)
        stop(w, -EBADMSG);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    stop(arg, -EBADMSG);
}

/* Complaints about an end where none belongs: the document up to there is in order. */
static bool is_cut(enum XML_Error error)
{
    return error == XML_ERROR_NO_ELEMENTS || error == XML_ERROR_UNCLOSED_TOKEN || error == XML_ERROR_PARTIAL_CHAR
        || error == XML_ERROR_UNCLOSED_CDATA_SECTION;
}

static int judge(const struct walk *w, enum XML_Status status)
{
    if (w->error)
        return w->error;
    if (status != XML_STATUS_OK)
        return is_cut(XML_GetErrorCode(w->parser)) ? -EPIPE : -EBADMSG;
    return w->matched ? 0 : -EBADMSG;
}

int s3_xml_walk(const char *xml, size_t n, const struct s3_xml_rule *rules, void *arg)
{
    struct walk w = { .rules = rules, .arg = arg, .text = TEXT_INIT(S3_XML_TEXT_MAX) };
    int r = -EBADMSG;

    while (n && *xml && strchr(" \t\r\n", *xml))   /* sent to keep the connection busy */
        xml++, n--;
    w.parser = XML_ParserCreate("UTF-8");
    if (!w.parser)
        return -ENOMEM;
    XML_SetUserData(w.parser, &w);
    XML_SetElementHandler(w.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(w.parser, on_text);
    XML_SetStartDoctypeDeclHandler(w.parser, on_doctype);
    if (n <= INT32_MAX)
        r = judge(&w, XML_Parse(w.parser, xml, (int)n, XML_TRUE));
    XML_ParserFree(w.parser);
    text_free(&w.text);
    return r;
}

/* --- without keys --------------------------------------------------------------------------------- */

static bool is_unneeded(const char *name, size_t n)
{
    static const char *const unneeded[] = { "Key", "Location" };
    const char *colon = memchr(name, ':', n);
    size_t before = colon ? (size_t)(colon - name) + 1 : 0;

    for (size_t i = 0; i < ARRAY_SIZE(unneeded); i++)
        if (n - before == strlen(unneeded[i]) && memcmp(name + before, unneeded[i], n - before) == 0)
            return true;
    return false;
}

/* In an element's text there is no '<', nor a '>' in a tag without attributes, which is what services send. */
static void blank_keys(char *xml, size_t n)
{
    char *end = xml + n;

    for (char *tag = xml; (tag = memchr(tag, '<', (size_t)(end - tag)));) {
        char *close = memchr(tag, '>', (size_t)(end - tag)), *next;

        if (!close)
            return;
        tag++;
        if (!is_unneeded(tag, (size_t)(close - tag)))
            continue;
        next = memchr(close, '<', (size_t)(end - close));
        memset(close + 1, ' ', (size_t)((next ? next : end) - close - 1));
    }
}

int s3_xml_walk_keyless(const char *xml, size_t n, const struct s3_xml_rule *rules, void *arg)
{
    CLEANUP_FREE char *copy = malloc(n + 1);

    if (!copy)
        return -ENOMEM;
    memcpy(copy, xml, n);
    copy[n] = '\0';
    blank_keys(copy, n);
    return s3_xml_walk(copy, n, rules, arg);
}
