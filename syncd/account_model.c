/* What an account must have, by type of provider, as a table; and how it is shown. Pure: knows
 * neither the store nor the network. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/account.h"

enum { NAME_MAX_CHARACTERS = 50, KEY_MAX = 1024, URL_MAX = 2048, REGION_MAX = 64 };

static const char MASK[] = "****";

enum need { NEED_NOTHING, NEED_MAY, NEED_MUST };

/* Types that are not here have no keys of this kind; cloud_type_check() has refused them before. */
static const struct rule {
    int type;
    enum need keys, service_url;
    const char *url_example;
} RULES[] = {
    { CLOUD_AWS, NEED_MUST, NEED_MAY, "https://s3.eu-central-1.amazonaws.com" },
    { CLOUD_WASABI, NEED_MUST, NEED_MAY, "https://s3.eu-central-1.wasabisys.com" },
    { CLOUD_S3_GENERIC, NEED_MUST, NEED_MUST, "https://s3.example.com" },
    { CLOUD_GOOGLE, NEED_MUST, NEED_MAY, "https://storage.googleapis.com" },
    { CLOUD_CLOUDFLARE, NEED_MUST, NEED_MUST, "https://ACCOUNT.r2.cloudflarestorage.com" },
    { CLOUD_LOCAL_FOLDER, NEED_NOTHING, NEED_MUST, "file:///srv/cloud" },
};

static const struct rule *find_rule(int type)
{
    for (size_t i = 0; i < ARRAY_SIZE(RULES); i++)
        if (RULES[i].type == type)
            return &RULES[i];
    return NULL;
}

static bool given(const char *s)
{
    return s && *s;
}

static int check_text(const char *member, const char *s, size_t most, struct error *e)
{
    if (!given(s))
        return 0;
    if (strlen(s) > most)
        return error_set(e, -EINVAL, "%s is longer than %zu bytes.", member, most);
    if (!utf8_valid(s, strlen(s)) || text_has_control(s))
        return error_set(e, -EINVAL, "%s has characters that cannot be in it.", member);
    return 0;
}

static int check_key(const char *member, const char *s, struct error *e)
{
    size_t n = s ? strlen(s) : 0;

    if (n == 0)
        return error_set(e, -EINVAL, "%s is missing.", member);
    if (n >= sizeof(MASK) - 1 && strcmp(s + n - (sizeof(MASK) - 1), MASK) == 0)
        return error_set(e, -EINVAL, "%s is masked; send the real one.", member);
    return check_text(member, s, KEY_MAX, e);
}

static int check_keys(const Lf__CloudAccount *in, const struct rule *rule, struct error *e)
{
    int r;

    if (rule->keys == NEED_NOTHING)
        return 0;
    r = check_key("accessKey", in->access_key, e);
    return r < 0 ? r : check_key("secretKey", in->secret_key, e);
}

/* The endpoint stands in for an absent serviceUrl: the pages of the contract use both names. */
static const char *service_url(const Lf__CloudAccount *in)
{
    return given(in->service_url) ? in->service_url : given(in->endpoint) ? in->endpoint : NULL;
}

static int check_members(const Lf__CloudAccount *in, const struct rule *rule, struct error *e)
{
    int r = check_keys(in, rule, e);

    if (r == 0 && rule->service_url == NEED_MUST && !service_url(in))
        return error_set(e, -EINVAL, "serviceUrl is missing: an account of type %s needs one, such as %s.",
                         cloud_type_name(rule->type), rule->url_example);
    if (r == 0)
        r = check_text("serviceUrl", in->service_url, URL_MAX, e);
    if (r == 0)
        r = check_text("endpoint", in->endpoint, URL_MAX, e);
    if (r == 0)
        r = check_text("region", in->region, REGION_MAX, e);
    return r;
}

static char *mask_access_key(const char *key)
{
    char masked[4 + sizeof(MASK)];

    /* A short key would be shown whole. */
    snprintf(masked, sizeof(masked), "%.*s%s", strlen(key) > 8 ? 4 : 0, key, MASK);
    return xstrdup(masked);
}

static Lf__CloudAccount *new_model(const Lf__CloudAccount *in, const struct rule *rule)
{
    Lf__CloudAccount *m = xcalloc(1, sizeof(*m));

    lf__cloud_account__init(m);
    m->has_cloud_type = m->has_active = m->has_shared = m->has_internal_storage = m->has_deleted = true;
    m->cloud_type = rule->type;
    m->active = true;
    m->shared = in->has_shared && in->shared;
    m->service_url = xstrdup(service_url(in));
    m->region = given(in->region) ? xstrdup(in->region) : NULL;
    if (rule->keys != NEED_NOTHING) {
        m->access_key = mask_access_key(in->access_key);
        m->secret_key = xstrdup(MASK);
    }
    return m;
}

int account_model_check(const Lf__CloudAccount *in, Lf__CloudAccount **ret, struct credential *ret_keys,
                        struct error *e)
{
    const struct rule *rule;
    int r;

    *ret_keys = (struct credential){ 0 };
    if (!in)
        return error_set(e, -EINVAL, "The account is missing.");
    if (!in->has_cloud_type)
        return error_set(e, -EINVAL, "cloudType is missing.");
    r = cloud_type_check(in->cloud_type, e);
    if (r < 0)
        return r;
    rule = find_rule(in->cloud_type);
    if (!rule)
        return error_set(e, -EOPNOTSUPP, "Accounts of cloudType %d cannot be added.", in->cloud_type);
    r = check_members(in, rule, e);
    if (r < 0)
        return r;
    *ret = new_model(in, rule);
    if (rule->keys != NEED_NOTHING)
        *ret_keys = (struct credential){ xstrdup(in->access_key), xstrdup(in->secret_key) };
    return 0;
}

static size_t characters(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

int account_model_name(Lf__CloudAccount *model, const char *name, struct error *e)
{
    int r;

    if (!given(name))
        return error_set(e, -EINVAL, "name is missing.");
    r = check_text("name", name, (size_t)NAME_MAX_CHARACTERS * 4, e);
    if (r == 0 && characters(name) > NAME_MAX_CHARACTERS)
        r = error_set(e, -EINVAL, "name is longer than %d characters.", NAME_MAX_CHARACTERS);
    if (r == 0)
        xstrset(&model->name, name);
    return r;
}

struct cloud_spec account_model_spec(const Lf__CloudAccount *model, struct cloud_keyring keyring)
{
    return (struct cloud_spec){
        .type = (enum cloud_type)model->cloud_type,
        .account_id = model->id,
        .service_url = model->service_url,
        .region = model->region,
        .keyring = keyring,
    };
}
