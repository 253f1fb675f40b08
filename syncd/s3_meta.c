/* POSIX metadata as user metadata of objects (docs/FORMATS.md lists the headers). We write what rclone
 * (mtime) and s3fs (mode, uid, gid) write, and read what these, s3cmd and mc have written. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/base64.h"
#include "common/cleanup.h"
#include "common/timespec.h"
#include "syncd/base32.h"
#include "syncd/s3.h"

#define PREFIX "x-amz-meta-"
#define XATTR PREFIX "landfall-xattr-"

enum { NAME_MAX_BYTES = 255 };

/* --- writing ------------------------------------------------------------------------------------ */

static void put_mtime(struct pairs *headers, int64_t ns)
{
    uint64_t size = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

    pairs_addf(headers, PREFIX "mtime", "%s%" PRIu64 ".%09" PRIu64, ns < 0 ? "-" : "", size / SECOND_NS,
               size % SECOND_NS);
}

static void put_symlink(struct pairs *headers, const char *target)
{
    CLEANUP(text_free) struct text t = TEXT_INIT(S3_META_MAX);

    if (text_percent_encode(&t, target, strlen(target), true) < 0)
        headers->error = t.error;
    else
        pairs_add(headers, PREFIX "landfall-symlink", t.data ? t.data : "");
}

/* An empty value is written "=": some services drop headers without a value. */
static void put_xattr(struct pairs *headers, const struct cloud_xattr *x)
{
    CLEANUP(text_free) struct text name = TEXT_INIT(S3_META_MAX);
    CLEANUP_FREE char *value = NULL;

    text_puts(&name, XATTR);
    if (x->size > S3_META_MAX || base32hex_encode(&name, x->name, strlen(x->name)) < 0) {
        headers->error = -EMSGSIZE;
        return;
    }
    value = xcalloc(1, BASE64_LENGTH(x->size) + 1);
    base64_encode(x->value, x->size, value);
    pairs_add(headers, name.data, x->size ? value : "=");
}

static void put_binding(struct pairs *headers, const uint8_t binding[CLOUD_BINDING])
{
    char hex[2 * CLOUD_BINDING + 1];

    text_hex(binding, CLOUD_BINDING, hex);
    pairs_add(headers, PREFIX "landfall-binding", hex);
}

/* Bytes that count: names without the prefix, and values. */
static size_t weigh(const struct pairs *headers)
{
    size_t n = 0;

    for (size_t i = 0; i < headers->n; i++)
        n += strlen(headers->v[i].name) - strlen(PREFIX) + strlen(headers->v[i].value);
    return n;
}

int s3_meta_put(const struct cloud_meta *m, struct pairs *headers, struct error *e)
{
    CLEANUP(pairs_free) struct pairs mine = PAIRS_INIT(4 * S3_META_MAX);

    if (m->has_mtime)
        put_mtime(&mine, m->mtime_ns);
    if (m->has_mode)
        pairs_addf(&mine, PREFIX "mode", "%" PRIu32, m->mode);
    if (m->has_owner) {
        pairs_addf(&mine, PREFIX "uid", "%" PRIu32, m->uid);
        pairs_addf(&mine, PREFIX "gid", "%" PRIu32, m->gid);
    }
    if (m->symlink)
        put_symlink(&mine, m->symlink);
    if (m->stamp)
        pairs_add(&mine, PREFIX "landfall-stamp", m->stamp);
    if (m->has_size)
        pairs_addf(&mine, PREFIX "landfall-size", "%" PRIu64, m->size);
    if (m->has_binding)
        put_binding(&mine, m->binding);
    for (size_t i = 0; i < m->n_xattrs; i++)
        put_xattr(&mine, &m->xattrs[i]);
    if (mine.error || weigh(&mine) > S3_META_MAX)
        return error_set(e, -E2BIG, "Its link target and extended attributes take more than the %d bytes of metadata "
                                    "that an object may have.", S3_META_MAX);
    for (size_t i = 0; i < mine.n; i++)
        pairs_add(headers, mine.v[i].name, mine.v[i].value);
    return headers->error;
}

/* --- reading ------------------------------------------------------------------------------------- */

/* Decimal seconds with any fraction, and what may follow them is ignored ("1700000000.5", "1700000000"). */
static int read_seconds(const char *s, int64_t *ret_ns)
{
    bool negative = *s == '-';
    const char *p = s + negative;
    size_t digits = strspn(p, "0123456789");
    int64_t ns, unit = SECOND_NS / 10;
    struct timespec t;

    if (digits == 0)
        return -EINVAL;
    t = (struct timespec){ .tv_sec = strtoll(p, NULL, 10) };   /* at most the largest number there is */
    if (p[digits] == '.')
        for (p += digits + 1; *p >= '0' && *p <= '9'; p++, unit /= 10)
            t.tv_nsec += (*p - '0') * unit;
    ns = timespec_ns(t);
    *ret_ns = negative ? -ns : ns;
    return 0;
}

static void read_mtime(struct cloud_meta *m, const char *value)
{
    m->has_mtime = date_parse(value, &m->mtime_ns) == 0 || read_seconds(value, &m->mtime_ns) == 0;
}

static int read_u32(const char *s, int base, uint32_t *ret)
{
    unsigned long long n;
    char *end;

    if (!isdigit((unsigned char)*s) || strlen(s) > 11)
        return -EINVAL;
    n = strtoull(s, &end, base);
    if (*end || n > UINT32_MAX)
        return -EINVAL;
    *ret = (uint32_t)n;
    return 0;
}

/* Decimal with type bits as s3fs has it, or octal as rclone has it ("100644", "0644", "644"). The two never
 * collide: six octal digits read as decimal lie beyond any mode, three lack type bits. */
static void read_mode(struct cloud_meta *m, const char *value)
{
    uint32_t mode = 0;
    int r = read_u32(value, 10, &mode);

    if (r == 0 && (*value == '0' || mode > 0177777 || (mode & S_IFMT) == 0))
        r = read_u32(value, 8, &mode);
    m->has_mode = r == 0 && mode <= 0177777;
    m->mode = m->has_mode ? mode : 0;
}

static void read_symlink(struct cloud_meta *m, const char *value)
{
    char *target = xstrdup(value);

    if (!*target || text_percent_decode(target) < 0) {
        free(target);
        return;
    }
    free(m->symlink);
    m->symlink = target;
}

static void read_stamp(struct cloud_meta *m, const char *value)
{
    if (*value)
        xstrset(&m->stamp, value);
}

static void read_size(struct cloud_meta *m, const char *value)
{
    char *end;

    errno = 0;
    m->size = isdigit((unsigned char)*value) ? strtoull(value, &end, 10) : 0;
    m->has_size = isdigit((unsigned char)*value) && !*end && errno == 0;
}

static void read_binding(struct cloud_meta *m, const char *value)
{
    m->has_binding = strlen(value) == (size_t)2 * CLOUD_BINDING && text_unhex(value, m->binding, CLOUD_BINDING) == 0;
}

static void add_xattr(struct cloud_meta *m, const char *name, size_t n, void *value, size_t size)
{
    struct cloud_xattr *x = xadd(m->xattrs, m->n_xattrs);

    *x = (struct cloud_xattr){ strndup(name, n), value, size };
    if (!x->name)
        abort();
}

static void read_xattr(struct cloud_meta *m, const char *digits, const char *text)
{
    char name[NAME_MAX_BYTES];
    size_t size = 0;
    uint8_t *value = NULL;
    long n = strlen(digits) <= NAME_MAX_BYTES * 8 / 5 ? base32hex_decode(digits, strlen(digits), name) : -EINVAL;

    if (n <= 0 || memchr(name, '\0', (size_t)n))
        return;
    if (strcmp(text, "=") == 0 || base64_decode(text, strlen(text), &value, &size) == 0)
        add_xattr(m, name, (size_t)n, value, size);
}

/* "uid:0/gname:root/mode:33188/mtime:1700000000/...": s3cmd's and mc's way. Headers of their own win. */
static void read_attributes(struct cloud_meta *m, const char *value)
{
    struct cloud_meta found = { 0 };
    char field[64];
    bool uid = false, gid = false;

    for (const char *p = value; *p; p += strcspn(p, "/"), p += *p == '/') {
        (void)snprintf(field, sizeof(field), "%.*s", (int)strcspn(p, "/"), p);
        if (strncmp(field, "mtime:", 6) == 0)
            read_mtime(&found, field + 6);
        else if (strncmp(field, "mode:", 5) == 0)
            read_mode(&found, field + 5);
        else if (strncmp(field, "uid:", 4) == 0)
            uid = read_u32(field + 4, 10, &found.uid) == 0;
        else if (strncmp(field, "gid:", 4) == 0)
            gid = read_u32(field + 4, 10, &found.gid) == 0;
    }
    if (found.has_mtime && !m->has_mtime)
        m->has_mtime = true, m->mtime_ns = found.mtime_ns;
    if (found.has_mode && !m->has_mode)
        m->has_mode = true, m->mode = found.mode;
    if (uid && gid && !m->has_owner)
        m->has_owner = true, m->uid = found.uid, m->gid = found.gid;
}

void s3_meta_get(const struct pairs *headers, struct cloud_meta *m)
{
    const char *mtime = pairs_get(headers, PREFIX "mtime"), *mode = pairs_get(headers, PREFIX "mode");
    const char *uid = pairs_get(headers, PREFIX "uid"), *gid = pairs_get(headers, PREFIX "gid");
    const char *symlink = pairs_get(headers, PREFIX "landfall-symlink");
    const char *stamp = pairs_get(headers, PREFIX "landfall-stamp");
    const char *size = pairs_get(headers, PREFIX "landfall-size");
    const char *binding = pairs_get(headers, PREFIX "landfall-binding");
    const char *s3cmd = pairs_get(headers, PREFIX "s3cmd-attrs"), *mc = pairs_get(headers, PREFIX "mc-attrs");

    if (mtime)
        read_mtime(m, mtime);
    if (mode)
        read_mode(m, mode);
    if (uid && gid)
        m->has_owner = read_u32(uid, 10, &m->uid) == 0 && read_u32(gid, 10, &m->gid) == 0;
    if (symlink)
        read_symlink(m, symlink);
    if (stamp)
        read_stamp(m, stamp);
    if (size)
        read_size(m, size);
    if (binding)
        read_binding(m, binding);
    for (size_t i = 0; i < headers->n; i++)
        if (strncmp(headers->v[i].name, XATTR, strlen(XATTR)) == 0)
            read_xattr(m, headers->v[i].name + strlen(XATTR), headers->v[i].value);
    if (s3cmd || mc)
        read_attributes(m, s3cmd ? s3cmd : mc);
}
