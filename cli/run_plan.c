/* Who runs as whom, and where things are. Reads configuration and the account database; touches
 * nothing else. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/dir.h"
#include "cli/run.h"
#include "common/cleanup.h"

/* Keys that have a place below DIR unless they are set. */
static const struct {
    const char *key, *below;
    size_t field;
} places[] = {
    { "StateDir", "state", offsetof(struct config, state_dir) },
    { "KeyDir", "keys", offsetof(struct config, key_dir) },
    { "KeyFile", "root.key", offsetof(struct config, key_file) },
    { "RuntimeDir", "run", offsetof(struct config, runtime_dir) },
    { "MountRoot", "mnt", offsetof(struct config, mount_root) },
};

/* Accounts of the processes; as root those left empty get the installed ones. */
static const struct {
    enum role role;
    const char *key, *as_root;
    size_t field;
} accounts[] = {
    { ROLE_FRONTD, "FrontdUser", "landfall-frontd", offsetof(struct config, frontd_user) },
    { ROLE_MOUNTD, "MountdUser", "root", offsetof(struct config, mountd_user) },
    { ROLE_CRYPTD, "CryptdUser", "landfall-cryptd", offsetof(struct config, cryptd_user) },
    { ROLE_WORKER, "WorkerUser", "landfall-worker", offsetof(struct config, worker_user) },
};

static const char *config_text(const struct run_plan *p, size_t field)
{
    return *(char **)((char *)p->config + field);
}

static int reload(struct run_plan *p, struct error *e)
{
    config_freep(&p->config);
    p->config = NULL;
    return config_load(p->config_path, (const char *const *)p->sets, p->n_sets, &p->config, e);
}

static int add_set(struct run_plan *p, char *set)
{
    char **grown = set ? reallocarray(p->sets, p->n_sets + 1, sizeof(*grown)) : NULL;

    if (!grown) {
        free(set);
        return -ENOMEM;
    }
    p->sets = grown;
    p->sets[p->n_sets++] = set;
    return 0;
}

static int add_key(struct run_plan *p, const char *key, const char *value)
{
    char *set = NULL;

    return asprintf(&set, "%s=%s", key, value) < 0 ? -ENOMEM : add_set(p, set);
}

int run_plan_set(struct run_plan *p, const char *key, const char *value, struct error *e)
{
    int r = add_key(p, key, value);

    return r < 0 ? r : reload(p, e);
}

static int take_options(struct run_plan *p, const struct run_options *o, struct error *e)
{
    char url[64];
    int r = 0;

    p->root = geteuid() == 0;
    if (o->config_path && !(p->config_path = realpath(o->config_path, NULL)))
        return error_set(e, -errno, "The configuration %s cannot be read: %m.", o->config_path);
    for (size_t i = 0; r == 0 && i < o->n_sets; i++)
        r = add_set(p, strdup(o->sets[i]));
    if (r == 0 && o->port > 0) {
        (void)snprintf(url, sizeof(url), "http://localhost:%d", o->port);
        r = add_key(p, "HostUrl", url);
    }
    return r < 0 ? r : reload(p, e);
}

static int fill_places(struct run_plan *p)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++) {
        CLEANUP_FREE char *path = NULL;

        if (config_text(p, places[i].field)[0])
            continue;
        if (asprintf(&path, "%s/%s", p->dir, places[i].below) < 0)
            return -ENOMEM;
        r = add_key(p, places[i].key, path);
    }
    return r;
}

static int fill_accounts(struct run_plan *p)
{
    const char *behind_sudo = getenv("SUDO_USER");
    int r = 0;

    if (!p->root)
        return 0;
    if (!p->config->user[0])
        r = add_key(p, "User",
                    behind_sudo && *behind_sudo && strcmp(behind_sudo, "root") != 0 ? behind_sudo : "landfall");
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(accounts); i++)
        if (!config_text(p, accounts[i].field)[0])
            r = add_key(p, accounts[i].key, accounts[i].as_root);
    return r;
}

/* --- accounts --------------------------------------------------------------------------------- */

static int take_account(struct run_account *a, const struct passwd *pw, struct error *e)
{
    if (strlen(pw->pw_name) >= sizeof(a->name) || strlen(pw->pw_dir) >= sizeof(a->home))
        return error_set(e, -EINVAL, "The account %.64s has a name or home directory that is too long.", pw->pw_name);
    strcpy(a->name, pw->pw_name);
    strcpy(a->home, pw->pw_dir);
    a->uid = pw->pw_uid;
    a->gid = pw->pw_gid;
    return 0;
}

static int find_account(struct run_account *a, const char *name, const char *what, struct error *e)
{
    const struct passwd *pw = getpwnam(name);

    if (!pw)
        return error_set(e, -EINVAL, "There is no account %s, which is to be %s; ./quickstart creates it, or set %s.",
                         name, what, what);
    return take_account(a, pw, e);
}

static int find_own_account(struct run_account *a, struct error *e)
{
    const struct passwd *pw = getpwuid(geteuid());

    if (!pw)
        return error_set(e, -EINVAL, "The uid %d has no entry in the account database.", (int)geteuid());
    return take_account(a, pw, e);
}

static int look_up_as_root(struct run_plan *p, struct error *e)
{
    const struct group *group = getgrnam("landfall");
    int r = find_account(&p->served, p->config->user, "User", e);

    if (r < 0)
        return r;
    if (p->served.uid == 0)
        return error_set(e, -EINVAL, "Landfall does not serve root: syncd never runs as root. Set User to another "
                         "account.");
    if (!group)
        return error_set(e, -EINVAL, "There is no group landfall; ./quickstart creates it.");
    p->group = group->gr_gid;
    p->accounts[ROLE_SYNCD] = p->served;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(accounts); i++)
        r = find_account(&p->accounts[accounts[i].role], config_text(p, accounts[i].field), accounts[i].key, e);
    return r;
}

static int look_up_rootless(struct run_plan *p, struct error *e)
{
    int r = find_own_account(&p->served, e);

    if (r < 0)
        return r;
    for (enum role role = 0; role < ROLE_COUNT; role++)
        p->accounts[role] = p->served;
    p->group = p->served.gid;
    if (p->config->user[0] && strcmp(p->config->user, p->served.name) != 0)
        return error_set(e, -EPERM, "Only root can serve another user; run this as %s or as root.", p->config->user);
    for (size_t i = 0; i < ARRAY_SIZE(accounts); i++)
        if (config_text(p, accounts[i].field)[0] && strcmp(config_text(p, accounts[i].field), p->served.name) != 0)
            return error_set(e, -EPERM, "%s is set to %s, but only root can run a process as another user.",
                             accounts[i].key, config_text(p, accounts[i].field));
    return 0;
}

int run_plan_make(struct run_plan *p, const struct run_options *o, struct error *e)
{
    int r;

    *p = (struct run_plan){ 0 };
    r = take_options(p, o, e);
    if (r == 0)
        r = dir_resolve(o->dir, &p->dir, e);
    if (r == 0)
        r = fill_places(p);
    if (r == 0)
        r = fill_accounts(p);
    if (r == 0)
        r = reload(p, e);
    if (r == 0 && o->port != 0)
        r = config_host_port(p->config, &p->port, e);
    if (r == 0)
        r = p->root ? look_up_as_root(p, e) : look_up_rootless(p, e);
    return r == -ENOMEM ? error_set(e, r, "There is no memory left.") : r;
}

void run_plan_free(struct run_plan *p)
{
    for (size_t i = 0; i < p->n_sets; i++)
        free(p->sets[i]);
    free(p->sets);
    free(p->dir);
    free(p->config_path);
    config_free(p->config);
    *p = (struct run_plan){ 0 };
}

/* --- what is missing -------------------------------------------------------------------------- */

static void print_shared(const struct run_plan *p, enum role role)
{
    if (p->accounts[role].uid == p->served.uid)
        printf("note: %s runs as %s, the user it serves: whoever takes it over can do what that user can.\n",
               role_name(role), p->served.name);
}

void run_plan_print_separation(const struct run_plan *p)
{
    if (!p->root) {
        printf("note: without root every process runs as %s instead of five accounts. What is missing: a program\n"
               "      of yours can read the root key, the state and the logs, and can end or pass for each process;\n"
               "      mountd has no system call filter; a drive admits only you, and is mounted by fusermount3. Use\n"
               "      sudo for separate accounts.\n",
               p->served.name);
        (void)fflush(stdout);
        return;
    }
    print_shared(p, ROLE_FRONTD);
    print_shared(p, ROLE_CRYPTD);
    print_shared(p, ROLE_WORKER);
    (void)fflush(stdout);   /* before the first line of a daemon's life */
}
