/* `landfall key`: the keys of a drive that encrypts. An identity comes from stdin and goes to stdout, nowhere else. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/key_kit.h"
#include "cli/listing.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/process.h"

/* What each verb has: the instance, the drive that was named, and what follows it. */
struct call {
    struct json_object *instance, *drive;
    const char **words;
    size_t n_words;
    bool yes, new_identity, forget_old, json;
};

static void call_end(struct call *c)
{
    json_object_put(c->instance);
    json_object_put(c->drive);
    free(c->words);
}

struct search {
    const char *name;
    bool exact;                /* its id is that */
    size_t found;
    struct json_object *last;  /* borrowed */
};

static void look_at(struct search *s, struct json_object *item)
{
    bool exact = strcasecmp(instance_text(item, "id"), s->name) == 0;

    if (!*instance_text(item, "deleted") || s->exact || (!exact && strcmp(instance_text(item, "name"), s->name) != 0))
        return;
    s->exact = exact;
    s->found = exact ? 1 : s->found + 1;
    s->last = item;
}

/* Of a drive that was deleted: by its id, or its name if no other one had it. */
static int find_kept(struct call *c, struct error *e)
{
    struct search s = { .name = c->words[0] };
    struct json_object *list;
    int r = listing_get(c->instance, "/management/drive_keys", &list, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < json_object_array_length(list); i++)
        look_at(&s, json_object_array_get_idx(list, i));
    if (s.found > 1)
        r = error_set(e, -ENOTUNIQ, "Several drives that were called %s were deleted; say which by its id: "
                      "`landfall key show` shows them.", s.name);
    else if (s.found == 1)
        c->drive = json_object_get(s.last);
    json_object_put(list);
    return r;
}

static int find_drive(struct call *c, struct error *e)
{
    const char *name = c->words[0];
    int r;

    if (c->n_words == 0)
        return error_set(e, -EINVAL, "Say which drive; `landfall drive list` shows them.");
    r = listing_find(c->instance, "/management/clouddrive", listing_named, (void *)(uintptr_t)name, &c->drive, e);
    if (r == 0 && !c->drive)
        r = find_kept(c, e);
    if (r == 0 && !c->drive)
        r = error_set(e, -ENOENT, "There is no drive %s; `landfall drive list` shows them.", name);
    return r;
}

static int ask(struct call *c, const char *method, const char *what, const char *query, struct json_object *body,
               struct json_object **ret, struct error *e)
{
    CLEANUP_FREE char *path = NULL;

    if (asprintf(&path, "/management/drive_keys%s/%s%s", what, instance_text(c->drive, "id"), query) < 0)
        return -ENOMEM;
    return api_call(c->instance, method, path, body, ret, e);
}

/* Identities pass here: none is in a core, nor, as far as may be locked, in swap. */
static void guard_memory(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
    (void)process_lock_memory();
}

/* Reads the arguments, runs act(), or without a drive all() if there is one, and says why it failed. `most`: words that
 * may follow the drive. */
typedef int act_fn(struct call *c, struct error *e);

static int run_or(int argc, char **argv, size_t most, act_fn *act, act_fn *all)
{
    CLEANUP(call_end) struct call c = { .words = calloc((size_t)argc, sizeof(*c.words)) };
    const struct target_option options[] = {
        { "yes", NULL, &c.yes }, { "new-identity", NULL, &c.new_identity },
        { "forget-old", NULL, &c.forget_old }, { "json", NULL, &c.json }, { 0 },
    };
    struct error e = { 0 };
    int r;

    guard_memory();
    r = target_open_paths(argc, argv, options, c.words, &c.n_words, &c.instance);
    if (r)
        return r;
    if (c.n_words == 0 && all)
        act = all;
    else
        r = find_drive(&c, &e);
    if (r == 0 && c.n_words > 1 + most)
        r = error_set(&e, -EINVAL, "%s is one word too many.", c.words[1 + most]);
    if (r == 0)
        r = act(&c, &e);
    return r < 0 ? target_fail(argv[0], &e) : EXIT_SUCCESS;
}

static int run(int argc, char **argv, size_t most, act_fn *act)
{
    return run_or(argc, argv, most, act, NULL);
}

/* --- showing --------------------------------------------------------------------------------------------- */

static size_t length(struct json_object *o, const char *key)
{
    struct json_object *list = json_object_object_get(o, key);

    return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static const char *item(struct json_object *o, const char *key, size_t i)
{
    return json_object_get_string(json_object_array_get_idx(json_object_object_get(o, key), i));
}

static void print_list(const char *label, struct json_object *o, const char *key)
{
    for (size_t i = 0; i < length(o, key); i++) {
        printf("%-11s", i ? "" : label);
        listing_puts(item(o, key, i));
        putchar('\n');
    }
}

static void print_left(struct json_object *info)
{
    static const struct {
        const char *key, *what;
    } left[] = {
        { "unconverted", "files of the cache are on their way to being encrypted, or plain" },
        { "wrapped", "files of the cache have keys that are still under an older one" },
        { "made", "files of the cache still have keys from before the last rotation" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
        int64_t n = json_object_get_int64(json_object_object_get(info, left[i].key));

        if (n > 0)
            printf("left       %" PRId64 " %s\n", n, left[i].what);
    }
}

static void print_fact(const char *label, struct json_object *o, const char *key)
{
    if (!*instance_text(o, key))
        return;
    printf("%-11s", label);
    listing_puts(instance_text(o, key));
    putchar('\n');
}

static void print_epochs(struct json_object *info)
{
    size_t n = length(info, "epochs");

    if (n == 0)
        return;
    printf("keys       ");
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? ", " : "", item(info, "epochs", i));
    printf(n > 1 ? " (new things are made with %s)\n" : "\n", n > 1 ? item(info, "epochs", n - 1) : "");
}

static void print_info(struct json_object *info)
{
    struct json_object *rewrapped = json_object_object_get(info, "rewrapped");

    print_fact("recipient", info, "recipient");
    print_epochs(info);
    print_list("escrow", info, "escrow");
    printf("changes    %" PRId64 "\n", json_object_get_int64(json_object_object_get(info, "serial")));
    print_fact("deleted", info, "deleted");
    print_fact("service", info, "service");
    print_fact("bucket", info, "bucket");
    print_fact("prefix", info, "prefix");
    if (rewrapped)
        printf("rewrapped  %" PRId64 "\n", json_object_get_int64(rewrapped));
    print_left(info);
}

static int print_after(struct call *c, const char *method, const char *what, const char *query,
                       struct json_object *body, struct error *e)
{
    struct json_object *info = NULL;
    int r = ask(c, method, what, query, body, &info, e);

    if (r == 0 && c->json)
        listing_json(info);
    else if (r == 0)
        print_info(info);
    json_object_put(info);
    return r;
}

static int act_show(struct call *c, struct error *e)
{
    return print_after(c, "GET", "", "", NULL, e);
}

/* A line for each, tab separated. */
static void print_line(struct json_object *info)
{
    const char *deleted = instance_text(info, "deleted"), *trouble = instance_text(info, "trouble");

    listing_puts(instance_text(info, "id"));
    putchar('\t');
    listing_puts(instance_text(info, "name"));
    printf("\t%s", *deleted ? "deleted " : "in use");
    listing_puts(deleted);
    putchar('\t');
    listing_puts(*trouble ? trouble : instance_text(info, "recipient"));
    putchar('\n');
}

static int act_show_all(struct call *c, struct error *e)
{
    struct json_object *list;
    int r = listing_get(c->instance, "/management/drive_keys", &list, e);

    if (r == 0 && c->json)
        listing_json(list);
    for (size_t i = 0; r == 0 && !c->json && i < json_object_array_length(list); i++)
        print_line(json_object_array_get_idx(list, i));
    json_object_put(list);
    return r;
}

static int show(int argc, char **argv)
{
    return run_or(argc, argv, 0, act_show, act_show_all);
}

/* --- identities ------------------------------------------------------------------------------------------ */

static int act_export(struct call *c, struct error *e)
{
    struct json_object *kit = NULL;
    int r = ask(c, "POST", "_export", "", NULL, &kit, e);

    if (r == 0)
        r = key_kit_print(kit, e);
    json_object_put(kit);
    return r;
}

static int export(int argc, char **argv)
{
    return run(argc, argv, 0, act_export);
}

/* That it is there is what is wanted. */
static bool there_already(const struct error *e)
{
    return strstr(error_text(e), "has this identity already") != NULL;
}

static int import_one(struct call *c, const char *identity, struct error *e)
{
    struct json_object *body = json_object_new_object(), *reply = NULL;
    int r;

    json_object_object_add(body, "identity", json_object_new_string(identity));
    r = ask(c, "POST", "_import", "", body, &reply, e);
    json_object_put(body);
    json_object_put(reply);
    return r;
}

/* A kit has the newest identity first, and it is to be the newest here. */
static int act_import(struct call *c, struct error *e)
{
    static struct key_kit kit;
    int r = key_kit_read(&kit, e);

    for (size_t i = kit.n; r == 0 && i-- > 0;) {
        r = import_one(c, kit.identities[i], e);
        if (r < 0 && there_already(e) && kit.n > 1)
            r = 0;
    }
    explicit_bzero(&kit, sizeof(kit));
    return r < 0 ? r : act_show(c, e);
}

static int import(int argc, char **argv)
{
    return run(argc, argv, 0, act_import);
}

/* --- changes --------------------------------------------------------------------------------------------- */

static int act_rotate(struct call *c, struct error *e)
{
    return print_after(c, "POST", "_rotate", c->forget_old && c->new_identity ? "?newIdentity=true&forgetOld=true"
                       : c->forget_old ? "?forgetOld=true" : c->new_identity ? "?newIdentity=true" : "", NULL, e);
}

static int rotate(int argc, char **argv)
{
    return run(argc, argv, 0, act_rotate);
}

static int list_escrow(struct call *c, struct error *e)
{
    struct json_object *info = NULL;
    int r = ask(c, "GET", "", "", NULL, &info, e);

    for (size_t i = 0; r == 0 && i < length(info, "escrow"); i++) {
        listing_puts(item(info, "escrow", i));
        putchar('\n');
    }
    json_object_put(info);
    return r;
}

static int change_escrow(struct call *c, const char *verb, struct error *e)
{
    struct json_object *body = json_object_new_object(), *list = json_object_new_array();
    int r;

    for (size_t i = 2; i < c->n_words; i++)
        json_object_array_add(list, json_object_new_string(c->words[i]));
    json_object_object_add(body, verb, list);
    r = print_after(c, "POST", "_escrow", "", body, e);
    json_object_put(body);
    return r;
}

static int act_escrow(struct call *c, struct error *e)
{
    const char *verb = c->n_words > 1 ? c->words[1] : "list";

    if (strcmp(verb, "list") == 0)
        return list_escrow(c, e);
    if (strcmp(verb, "add") != 0 && strcmp(verb, "remove") != 0)
        return error_set(e, -EINVAL, "%s is none of add, remove and list.", verb);
    if (c->n_words < 3)
        return error_set(e, -EINVAL, "Say which recipients to %s: age1 and 58 more characters.", verb);
    return change_escrow(c, verb, e);
}

static int escrow(int argc, char **argv)
{
    return run(argc, argv, SIZE_MAX - 1, act_escrow);
}

static int act_destroy(struct call *c, struct error *e)
{
    struct json_object *said = NULL;
    char why[ERROR_TEXT_MAX];
    int r = ask(c, "POST", "_destroy", c->yes ? "?confirmed=true" : "", NULL, &said, e);

    if (r == 0)
        printf("The keys of the drive are gone. %s\n", json_object_get_string(said));
    json_object_put(said);
    if (r == 0 || c->yes)
        return r;
    (void)snprintf(why, sizeof(why), "%s", error_text(e));
    return error_set(e, r, "%.400s With --yes it is done.", why);
}

static int destroy(int argc, char **argv)
{
    return run(argc, argv, 0, act_destroy);
}

/* --- the key store --------------------------------------------------------------------------------------- */

static int passphrase(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("What unlocks the key store is changed when an instance starts, since nothing that runs keeps it:\n"
         "\n"
         "  landfall stop && landfall run --new-passphrase\n"
         "\n"
         "asks for the passphrase that holds now, if one does, and twice for the new one. One thing is sealed anew,\n"
         "the data key; nothing else changes. From then on `landfall run` asks for it at each start.\n"
         "As a service: systemd-creds(1) makes landfall.passphrase and, for one start, landfall.new-passphrase, in\n"
         "/etc/credstore.encrypted.");
    return EXIT_SUCCESS;
}

const struct command key_verbs[] = {
    { "show", "[DRIVE] [--json] [--dir DIR]",
      "recipient, keys by number, escrow recipients; without DRIVE all keys, also those of deleted drives", show,
      NULL },
    { "export", "DRIVE [--dir DIR]",
      "prints the recovery kit: with it, and `age`, anybody can read what is in the cloud. DRIVE may be deleted",
      export, NULL },
    { "import", "DRIVE [--dir DIR]", "reads a kit or an identity from stdin, which becomes the drive's newest one",
      import, NULL },
    { "rotate", "DRIVE [--new-identity | --forget-old] [--json] [--dir DIR]",
      "a new key for what is made from now on; --new-identity: objects have another recipient, too.\n"
      "      --forget-old: no new one; gives up old ones that nothing needs any more", rotate, NULL },
    { "escrow", "DRIVE add|remove|list [AGE1...] [--dir DIR]", "recipients that can read new objects as well",
      escrow, NULL },
    { "destroy", "DRIVE --yes [--dir DIR]",
      "removes the keys: nobody can read the drive's cache any more. DRIVE may be deleted",
      destroy, NULL },
    { "passphrase", "", "says how to change what unlocks all keys", passphrase, NULL },
    { 0 },
};
