/* What a drive may be: checks, defaults and forced members of the model. Pure but for the look at
 * the other drives; touches no folder and no provider. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/account.h"
#include "syncd/drive.h"
#include "syncd/path.h"
#include "syncd/place.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

enum { NAME_MAX_BYTES = 255, BUCKET_MAX_BYTES = 255, PREFIX_MAX_BYTES = 512, PATH_MAX_BYTES = 2048 };

static const char ALLOCATE[] = "$$$";

static bool given(const char *s)
{
    return s && *s;
}

/* --- text members ----------------------------------------------------------------------------- */

static int check_text(const char *member, const char *s, size_t most, struct error *e)
{
    if (strlen(s) > most)
        return error_set(e, -EINVAL, "%s is longer than %zu bytes.", member, most);
    if (!utf8_valid(s, strlen(s)))
        return error_set(e, -EINVAL, "%s is not valid UTF-8.", member);
    return text_has_control(s) ? error_set(e, -EINVAL, "%s has a control character.", member) : 0;
}

static int check_name(const Lf__CloudDrive *m, struct error *e)
{
    int r;

    if (!given(m->name))
        return error_set(e, -EINVAL, "name is missing.");
    r = check_text("name", m->name, NAME_MAX_BYTES, e);
    if (r < 0)
        return r;
    if (strchr(m->name, '/') || strcmp(m->name, ".") == 0 || strcmp(m->name, "..") == 0)
        return error_set(e, -EINVAL, "The name %s cannot be the name of a directory.", m->name);
    return 0;
}

static int check_letter(const Lf__CloudDrive *m, struct error *e)
{
    if (!given(m->drive_name))
        return 0;
    if (m->drive_name[1] || !isalpha((unsigned char)m->drive_name[0]))
        return error_set(e, -EINVAL, "driveName must be one letter, without a colon, or absent.");
    return 0;
}

static int check_bucket(const Lf__CloudDrive *m, struct error *e)
{
    int r;

    if (!given(m->storage_name))
        return error_set(e, -EINVAL, "storageName is missing: the bucket.");
    r = check_text("storageName", m->storage_name, BUCKET_MAX_BYTES, e);
    if (r == 0 && (strchr(m->storage_name, '/') || m->storage_name[0] == '.'))
        r = error_set(e, -EINVAL, "storageName %s cannot be the name of a bucket.", m->storage_name);
    return r;
}

/* Every component of a path that is split at '/'. */
static bool has_component(const char *path, const char *component)
{
    size_t n = strlen(component);

    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, component, n) == 0 && (p[n] == '/' || p[n] == '\0'))
            return true;
    }
    return false;
}

/* No leading '/', one at the end unless empty. */
static void normalise_prefix(Lf__CloudDrive *m)
{
    char *normal = path_prefix(m->prefix);

    free(m->prefix);
    m->prefix = normal;
}

static int check_prefix(const Lf__CloudDrive *m, struct error *e)
{
    int r = check_text("prefix", m->prefix, PREFIX_MAX_BYTES, e);

    if (r == 0 && (has_component(m->prefix, "..") || has_component(m->prefix, ".")))
        return error_set(e, -EPERM, "The prefix %s has a component that leads elsewhere.", m->prefix);
    if (r == 0 && strstr(m->prefix, "//"))
        return error_set(e, -EINVAL, "The prefix %s has an empty component.", m->prefix);
    return r;
}

static int check_cache_dir(const Lf__CloudDrive *m, struct error *e)
{
    const char *path = m->permanent_local_path;
    int r = check_text("permanentLocalPath", path, PATH_MAX_BYTES, e);

    if (r < 0)
        return r;
    if (path[0] != '/' || path[1] == '\0' || path[strlen(path) - 1] == '/')
        return error_set(e, -EINVAL, "permanentLocalPath must be an absolute path without a slash at its end, or %s.",
                         ALLOCATE);
    if (has_component(path, "..") || has_component(path, "."))
        return error_set(e, -EPERM, "permanentLocalPath %s has a component that leads elsewhere.", path);
    return 0;
}

/* --- numbers and choices ---------------------------------------------------------------------- */

/* A member with its default and its range. `later`: the one other value that the contract knows, and its name. */
struct number {
    const char *member;
    const char *field;     /* proto name */
    int64_t initial, least, most;
};

static const struct number NUMBERS[] = {
    { "syncIntervalSeconds", "sync_interval_seconds", 60, 1, 30 * 24 * 3600 },
    { "objectsPerFolder", "objects_per_folder", 0, 0, 10000000 },
    { "maximumCacheSize", "maximum_cache_size", 0, 0, INT64_MAX },
    { "permissionType", "permission_type", 2, 1, 2 },
    { "driveType", "drive_type", 1, 1, 2 },
    { "syncType", "sync_type", 1, 1, 2 },
};

static const ProtobufCFieldDescriptor *field_of(const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(&lf__cloud_drive__descriptor, name);
}

static protobuf_c_boolean *presence(Lf__CloudDrive *m, const ProtobufCFieldDescriptor *f)
{
    return (protobuf_c_boolean *)((char *)m + f->quantifier_offset);
}

static int64_t number_get(const Lf__CloudDrive *m, const ProtobufCFieldDescriptor *f)
{
    const void *at = (const char *)m + f->offset;

    return f->type == PROTOBUF_C_TYPE_INT64 ? *(const int64_t *)at : *(const int32_t *)at;
}

static void number_set(Lf__CloudDrive *m, const ProtobufCFieldDescriptor *f, int64_t value)
{
    void *at = (char *)m + f->offset;

    if (f->type == PROTOBUF_C_TYPE_INT64)
        *(int64_t *)at = value;
    else
        *(int32_t *)at = (int32_t)value;
    *presence(m, f) = true;
}

static int settle_numbers(Lf__CloudDrive *m, struct error *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++) {
        const struct number *n = &NUMBERS[i];
        const ProtobufCFieldDescriptor *f = field_of(n->field);
        int64_t value;

        if (!*presence(m, f))
            number_set(m, f, n->initial);
        value = number_get(m, f);
        if (value < n->least || value > n->most)
            return error_set(e, -EINVAL, "%s must be between %" PRId64 " and %" PRId64 ".", n->member, n->least,
                             n->most);
    }
    return 0;
}

static const struct {
    const char *field;     /* proto name of a flag */
    bool initial;
} FLAGS[] = {
    { "active", true },
    { "allow_delete", true },
    { "shared_drive", false },
    { "rotational_cache", false },
    { "local_cache_encrypted", false },
    { "cloud_objects_encrypted", false },
};

static void settle_flags(Lf__CloudDrive *m)
{
    for (size_t i = 0; i < ARRAY_SIZE(FLAGS); i++) {
        const ProtobufCFieldDescriptor *f = field_of(FLAGS[i].field);

        if (*presence(m, f))
            continue;
        *(protobuf_c_boolean *)((char *)m + f->offset) = FLAGS[i].initial;
        *presence(m, f) = true;
    }
}

/* What the contract knows and this version does not do: refused, never accepted silently. */
static int check_available(const Lf__CloudDrive *m, struct error *e)
{
    const struct {
        bool asked;
        const char *what;
    } missing[] = {
        { m->drive_type == 2, "A drive of driveType 2 (LocalPath)" },
        { m->sync_type == 2, "A drive of syncType 2 (Mirror)" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(missing); i++)
        if (missing[i].asked)
            return error_set(e, -EOPNOTSUPP, "%s is not available yet.", missing[i].what);
    return 0;
}

bool drive_model_encrypts(const Lf__CloudDrive *m)
{
    return m->local_cache_encrypted || m->cloud_objects_encrypted;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Where a drive is mounted follows from its name. Another localPath is refused, but for the one it has so far: that is
 * what a client sends back that has read the drive and gives it another name. */
static int set_mount_point(struct syncd *d, const Lf__CloudDrive *old, Lf__CloudDrive *m, struct error *e)
{
    struct text text = TEXT_INIT(PATH_MAX_BYTES);
    CLEANUP_FREE char *path = NULL;

    text_printf(&text, "%s/%s", d->mount_root, m->name);
    path = text_take(&text);
    if (!path)
        return error_set(e, -EINVAL, "The mount point of %s would have too long a path.", m->name);
    if (given(m->local_path) && strcmp(m->local_path, path) != 0
        && (!old || strcmp(m->local_path, old->local_path) != 0))
        return error_set(e, -EINVAL, "The drive %s is mounted at %s; localPath cannot be another. Leave it out, or set "
                         "MountRoot in the configuration.", m->name, path);
    free(m->local_path);
    m->local_path = take_ptr(path);
    return 0;
}

/* Whatever the client sent, this profile holds. */
static void force(Lf__CloudDrive *m)
{
    if (!m->transfer_options) {
        m->transfer_options = xcalloc(1, sizeof(*m->transfer_options));
        lf__transfer_options__init(m->transfer_options);
    }
    m->transfer_options->has_chunk_size = m->transfer_options->has_retry_count = true;
    m->transfer_options->has_concurrent_chunks = m->transfer_options->has_concurrent_files = true;
    m->transfer_options->chunk_size = 5 * 1024 * 1024;
    m->transfer_options->retry_count = 5;
    m->transfer_options->concurrent_chunks = 5;
    m->transfer_options->concurrent_files = 5;
    m->has_keep_file_after_upload = m->keep_file_after_upload = true;
    xstrset(&m->mount_error, NULL);
    xstrset(&m->trouble, NULL);
    m->has_pending_changes = false;
    if (!m->shared_drive_id)
        m->shared_drive_id = xstrdup("");
    if (!m->drive_name)
        m->drive_name = xstrdup("");
}

static int check_all(struct syncd *d, const Lf__CloudDrive *old, Lf__CloudDrive *m, struct error *e)
{
    int r = check_name(m, e);

    normalise_prefix(m);
    settle_flags(m);
    if (r == 0)
        r = check_letter(m, e);
    if (r == 0)
        r = check_bucket(m, e);
    if (r == 0)
        r = check_prefix(m, e);
    if (r == 0)
        r = settle_numbers(m, e);
    if (r == 0)
        r = check_available(m, e);
    if (r == 0)
        r = check_cache_dir(m, e);
    if (r == 0)
        r = set_mount_point(d, old, m, e);
    force(m);
    return r;
}

/* The model refers to its account by id and type only. */
static int set_account(struct syncd *d, Lf__CloudDrive *m, struct error *e)
{
    Lf__CloudAccount *stored, *ref;
    int r;

    if (!m->account || !account_id_given(m->account->id))
        return error_set(e, -EINVAL, "account.id is missing.");
    r = store_account_get(d->store, m->account->id, &stored);
    if (r < 0)
        return r == -ENOENT ? error_set(e, -EINVAL, "There is no account %.64s.", m->account->id)
                            : error_set(e, r, "The account could not be read.");
    ref = xcalloc(1, sizeof(*ref));
    lf__cloud_account__init(ref);
    ref->id = xstrdup(stored->id);
    ref->has_cloud_type = true;
    ref->cloud_type = stored->cloud_type;
    lf__cloud_account__free_unpacked(stored, NULL);
    lf__cloud_account__free_unpacked(m->account, NULL);
    m->account = ref;
    return 0;
}

Lf__CloudDrive *drive_model_copy(const Lf__CloudDrive *m)
{
    return message_copy(&m->base);
}

static bool names_cache(const Lf__CloudDrive *m)
{
    return given(m->permanent_local_path) && strcmp(m->permanent_local_path, ALLOCATE) != 0;
}

/* Ours, unless the client has one elsewhere. */
static int set_cache_dir(struct syncd *d, Lf__CloudDrive *m, struct error *e)
{
    struct text path = TEXT_INIT(PATH_MAX_BYTES);

    if (names_cache(m))
        return 0;
    text_printf(&path, "%s/cache/%s", d->state_dir, m->id);
    free(m->permanent_local_path);
    m->permanent_local_path = text_take(&path);
    return m->permanent_local_path ? 0 : error_set(e, -EINVAL, "The path of StateDir is too long.");
}

static int finish(int r, Lf__CloudDrive *m, Lf__CloudDrive **ret)
{
    if (r < 0)
        lf__cloud_drive__free_unpacked(m, NULL);
    else
        *ret = m;
    return r;
}

int drive_model_new(struct syncd *d, const Lf__CloudDrive *in, Lf__CloudDrive **ret, struct error *e)
{
    char id[ID_SIZE];
    Lf__CloudDrive *m;
    int r;

    if (!in)
        return error_set(e, -EINVAL, "The drive is missing.");
    m = drive_model_copy(in);
    if (!m)
        return error_set(e, -ENOMEM, "There is no memory left.");
    id_new(id);
    xstrset(&m->id, id);
    m->has_shared_drive = true;
    m->shared_drive = false;
    xstrset(&m->shared_drive_id, "");
    r = set_cache_dir(d, m, e);
    if (r == 0)
        r = check_all(d, NULL, m, e);
    if (r == 0)
        r = set_account(d, m, e);
    if (r == 0 && names_cache(in))
        r = place_check_cache(d, m->permanent_local_path, e);
    return finish(r, m, ret);
}

/* --- updating --------------------------------------------------------------------------------- */

static bool differs(const char *old, const char *new)
{
    return new && strcmp(old ? old : "", new) != 0;
}

static int check_fixed(const Lf__CloudDrive *old, const Lf__CloudDrive *in, const Lf__CloudDrive *merged,
                       struct error *e)
{
    if (in->account && account_id_given(in->account->id) && differs(old->account->id, in->account->id))
        return error_set(e, -EINVAL, "The account of a drive cannot be changed; make a new drive.");
    if (differs(old->storage_name, in->storage_name))
        return error_set(e, -EINVAL, "The bucket of a drive cannot be changed; make a new drive.");
    if (differs(old->prefix, merged->prefix))
        return error_set(e, -EINVAL, "The prefix of a drive cannot be changed; make a new drive.");
    if (names_cache(in) && differs(old->permanent_local_path, in->permanent_local_path))
        return error_set(e, -EINVAL, "The cache folder of a drive cannot be changed this way.");
    if (merged->local_cache_encrypted != old->local_cache_encrypted)
        return error_set(e, -EINVAL, "localCacheEncrypted of a drive is changed with clouddrive_change_cache.");
    return 0;
}

/* protobuf's own merge: reading one message behind the other leaves the later value of each member. */
static Lf__CloudDrive *overlay(const Lf__CloudDrive *old, const Lf__CloudDrive *in)
{
    size_t n_old = lf__cloud_drive__get_packed_size(old), n_in = lf__cloud_drive__get_packed_size(in);
    CLEANUP_FREE uint8_t *packed = xcalloc(1, n_old + n_in + 1);

    lf__cloud_drive__pack(old, packed);
    lf__cloud_drive__pack(in, packed + n_old);
    return lf__cloud_drive__unpack(NULL, n_old + n_in, packed);
}

int drive_model_merge(struct syncd *d, const Lf__CloudDrive *old, const Lf__CloudDrive *in, Lf__CloudDrive **ret,
                      struct error *e)
{
    Lf__CloudDrive *m;
    int r;

    if (!in)
        return error_set(e, -EINVAL, "The drive is missing.");
    m = overlay(old, in);
    if (!m)
        return error_set(e, -ENOMEM, "There is no memory left.");
    xstrset(&m->id, old->id);
    xstrset(&m->shared_drive_id, old->shared_drive_id);
    m->shared_drive = old->shared_drive;
    xstrset(&m->permanent_local_path, old->permanent_local_path);
    r = check_all(d, old, m, e);
    if (r == 0)
        r = check_fixed(old, in, m, e);
    if (r == 0) {
        xstrset(&m->account->id, old->account->id);
        r = set_account(d, m, e);
    }
    return finish(r, m, ret);
}

static void set_cache(struct syncd *d, const Lf__CloudDrive *in, Lf__CloudDrive *m)
{
    if (given(in->permanent_local_path))
        xstrset(&m->permanent_local_path, in->permanent_local_path);
    (void)set_cache_dir(d, m, NULL);
    if (in->has_local_cache_encrypted)
        m->local_cache_encrypted = in->local_cache_encrypted;
    if (in->has_maximum_cache_size)
        m->maximum_cache_size = in->maximum_cache_size;
    if (in->has_rotational_cache)
        m->rotational_cache = in->rotational_cache;
}

int drive_model_change_cache(struct syncd *d, const Lf__CloudDrive *old, const Lf__CloudDrive *in, Lf__CloudDrive **ret,
                             struct error *e)
{
    Lf__CloudDrive *m;
    int r;

    if (!in)
        return error_set(e, -EINVAL, "The drive is missing.");
    m = drive_model_copy(old);
    if (!m)
        return error_set(e, -ENOMEM, "There is no memory left.");
    set_cache(d, in, m);
    r = check_all(d, old, m, e);
    if (r == 0 && names_cache(in) && strcmp(old->permanent_local_path, m->permanent_local_path) != 0)
        r = place_check_cache(d, m->permanent_local_path, e);
    return finish(r, m, ret);
}

int drive_model_clash(struct syncd *d, const Lf__CloudDrive *m, const struct drive *except, struct error *e)
{
    for (struct drive *other = d->drives; other; other = other->next) {
        if (other == except)
            continue;
        if (strcmp(other->model->name, m->name) == 0)
            return error_set(e, -EEXIST, "There is a drive named %s already.", m->name);
        if (given(m->drive_name) && strcasecmp(other->model->drive_name, m->drive_name) == 0)
            return error_set(e, -EEXIST, "The letter %s is taken by the drive %s.", m->drive_name, other->model->name);
        if (path_below(other->model->permanent_local_path, m->permanent_local_path) ||
            path_below(m->permanent_local_path, other->model->permanent_local_path))
            return error_set(e, -EEXIST, "The cache folder %s and that of the drive %s are not apart.",
                             m->permanent_local_path, other->model->name);
    }
    return 0;
}
