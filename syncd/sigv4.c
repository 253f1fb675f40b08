/* Canonical request, string to sign, signing key, signature. Must not know S3's operations. */
#include "syncd/sigv4.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "syncd/hash.h"

enum { CANONICAL_MAX = 256 * 1024, SECRET_MAX = 1024, EXPIRY_MAX = 7 * 24 * 3600 };

void sigv4_date(int64_t now, char out[SIGV4_DATE_SIZE])
{
    time_t t = (time_t)now;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, SIGV4_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm) == 0)
        abort();
}

/* The pairs percent-encoded, sorted by the encoded bytes as the specification wants. */
static int encode_pairs(const struct pairs *from, struct pairs *to)
{
    for (size_t i = 0; i < from->n && !to->error; i++) {
        struct text name = TEXT_INIT(CANONICAL_MAX), value = TEXT_INIT(CANONICAL_MAX);

        text_percent_encode(&name, from->v[i].name, strlen(from->v[i].name), false);
        text_percent_encode(&value, from->v[i].value, strlen(from->v[i].value), false);
        if (name.error || value.error)
            to->error = name.error ? name.error : value.error;
        else
            pairs_addn(to, name.data ? name.data : "", name.len, value.data ? value.data : "", value.len);
        text_free(&name);
        text_free(&value);
    }
    pairs_sort(to);
    return to->error;
}

int sigv4_query(const struct pairs *query, struct text *out)
{
    CLEANUP(pairs_free) struct pairs encoded = PAIRS_INIT(CANONICAL_MAX);
    int r = encode_pairs(query, &encoded);

    for (size_t i = 0; i < encoded.n; i++)
        text_printf(out, "%s%s=%s", i ? "&" : "", encoded.v[i].name, encoded.v[i].value);
    return r < 0 ? r : out->error;
}

/* A header's value without white space at its ends, runs of it inside as one space. */
static void add_trimmed(struct text *t, const char *value)
{
    const char *p = value + strspn(value, " \t");

    while (*p) {
        size_t word = strcspn(p, " \t"), gap = strspn(p + word, " \t");

        text_add(t, p, word);
        if (gap && p[word + gap])
            text_add(t, " ", 1);
        p += word + gap;
    }
}

static int canonical_headers(const struct pairs *headers, struct text *lines, struct text *names)
{
    CLEANUP(pairs_free) struct pairs lower = PAIRS_INIT(CANONICAL_MAX);

    for (size_t i = 0; i < headers->n; i++)
        pairs_add(&lower, headers->v[i].name, headers->v[i].value);
    for (size_t i = 0; i < lower.n; i++)
        for (char *p = lower.v[i].name; *p; p++)
            *p = (char)tolower((unsigned char)*p);
    pairs_sort(&lower);
    for (size_t i = 0; i < lower.n; i++) {
        text_printf(lines, "%s:", lower.v[i].name);
        add_trimmed(lines, lower.v[i].value);
        text_puts(lines, "\n");
        text_printf(names, "%s%s", i ? ";" : "", lower.v[i].name);
    }
    return lower.error ? lower.error : lines->error ? lines->error : names->error;
}

static int derive_key(const struct sigv4 *s, const char *day, const char *secret, uint8_t out[HASH_SHA256])
{
    char seed[SECRET_MAX + 4];
    size_t n = strlen(secret);

    if (n > SECRET_MAX)
        return -EINVAL;
    memcpy(seed, "AWS4", 4);
    memcpy(seed + 4, secret, n);
    hash_hmac_sha256(seed, n + 4, day, 8, out);
    hash_hmac_sha256(out, HASH_SHA256, s->region, strlen(s->region), out);
    hash_hmac_sha256(out, HASH_SHA256, s->service, strlen(s->service), out);
    hash_hmac_sha256(out, HASH_SHA256, "aws4_request", 12, out);
    explicit_bzero(seed, sizeof(seed));
    return 0;
}

static int canonical_request(const struct sigv4 *s, const struct pairs *query, const struct text *lines,
                             const struct text *names, struct text *out)
{
    text_printf(out, "%s\n%s\n", s->method, s->path);
    if (sigv4_query(query, out) < 0)
        return -EMSGSIZE;
    return text_printf(out, "\n%s\n%s\n%s", lines->data, names->data, s->payload);
}

/* The signature in hex over the given query and the prepared headers. */
static int sign(const struct sigv4 *s, const struct pairs *query, const struct text *lines, const struct text *names,
                const char *secret, char out[HASH_SHA256_HEX])
{
    CLEANUP(text_free) struct text request = TEXT_INIT(CANONICAL_MAX);
    CLEANUP(text_free) struct text to_sign = TEXT_INIT(CANONICAL_MAX);
    char date[SIGV4_DATE_SIZE], digest[HASH_SHA256_HEX];
    uint8_t key[HASH_SHA256], mac[HASH_SHA256];

    if (canonical_request(s, query, lines, names, &request) < 0)
        return -EMSGSIZE;
    hash_sha256_hex(request.data, request.len, digest);
    sigv4_date(s->now, date);
    if (text_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", date, date, s->region, s->service,
                    digest) < 0)
        return to_sign.error;
    if (derive_key(s, date, secret, key) < 0)
        return -EINVAL;
    hash_hmac_sha256(key, sizeof(key), to_sign.data, to_sign.len, mac);
    text_hex(mac, sizeof(mac), out);
    explicit_bzero(key, sizeof(key));
    return 0;
}

int sigv4_authorize(const struct sigv4 *s, const struct sigv4_secret *secret, struct text *out)
{
    CLEANUP(text_free) struct text lines = TEXT_INIT(CANONICAL_MAX);
    CLEANUP(text_free) struct text names = TEXT_INIT(CANONICAL_MAX);
    char signature[HASH_SHA256_HEX], date[SIGV4_DATE_SIZE];
    int r = canonical_headers(s->headers, &lines, &names);

    if (r == 0)
        r = sign(s, s->query, &lines, &names, secret->secret_key, signature);
    if (r < 0)
        return r;
    sigv4_date(s->now, date);
    return text_printf(out, "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
                       secret->access_key, date, s->region, s->service, names.data, signature);
}

static void add_presign_pairs(const struct sigv4 *s, const char *access_key, unsigned seconds, const char *names,
                              struct pairs *query)
{
    char date[SIGV4_DATE_SIZE];

    sigv4_date(s->now, date);
    for (size_t i = 0; i < s->query->n; i++)
        pairs_add(query, s->query->v[i].name, s->query->v[i].value);
    pairs_add(query, "X-Amz-Algorithm", "AWS4-HMAC-SHA256");
    pairs_addf(query, "X-Amz-Credential", "%s/%.8s/%s/%s/aws4_request", access_key, date, s->region, s->service);
    pairs_add(query, "X-Amz-Date", date);
    pairs_addf(query, "X-Amz-Expires", "%u", seconds);
    pairs_add(query, "X-Amz-SignedHeaders", names);
}

int sigv4_presign(const struct sigv4 *s, const struct sigv4_secret *secret, unsigned seconds, struct text *out)
{
    CLEANUP(text_free) struct text lines = TEXT_INIT(CANONICAL_MAX);
    CLEANUP(text_free) struct text names = TEXT_INIT(CANONICAL_MAX);
    CLEANUP(pairs_free) struct pairs query = PAIRS_INIT(CANONICAL_MAX);
    char signature[HASH_SHA256_HEX];
    int r = seconds == 0 || seconds > EXPIRY_MAX ? -EINVAL : canonical_headers(s->headers, &lines, &names);

    if (r < 0)
        return r;
    add_presign_pairs(s, secret->access_key, seconds, names.data, &query);
    r = query.error ? query.error : sign(s, &query, &lines, &names, secret->secret_key, signature);
    if (r < 0 || (r = sigv4_query(&query, out)) < 0)
        return r;
    return text_printf(out, "&X-Amz-Signature=%s", signature);
}
