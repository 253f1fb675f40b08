/* A syncd that is killed at every step of a drive's insertion and deletion: with the next one the drive is there, whole,
 * or nothing of it is anywhere but its keys, if it has encrypted objects. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/keys.h"
#include "syncd/store.h"
#include "tests/unit/crash_steps.h"
#include "tests/unit/cryptd_process.h"
#include "tests/unit/syncd_fixture.h"

enum { PATIENCE_S = 300, STEPS_LEAST = 5, STEPS_MOST = 1000 };

struct story {
    void (*before)(struct fixture *f);
    void (*during)(struct fixture *f);
    bool encrypts;
};

/* Of both processes. */
static struct shared {
    struct crash_steps steps;
    char account[64], drive[64];
    char recipient[80];   /* of the first drive that encrypts; all that come at its place have it */
} *shared;

static void an_account(struct fixture *f)
{
    CLEANUP_FREE char *id = fixture_account(f);

    snprintf(shared->account, sizeof(shared->account), "%s", id);
}

static void a_drive(struct fixture *f)
{
    CLEANUP_FREE char *id = fixture_drive(f, shared->account, "d");

    snprintf(shared->drive, sizeof(shared->drive), "%s", id);
}

static pid_t cryptd;

/* In the place of the one that turns bits. */
static void with_cryptd(struct fixture *f)
{
    ipc_server_free(f->cryptd);
    f->cryptd = NULL;
    cryptd = cryptd_process_start(f->cryptd_socket, CRYPTD_OURS);
}

static struct answer insert_encrypted(struct fixture *f)
{
    Lf__CloudAccount ref = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudDrive d = LF__CLOUD_DRIVE__INIT;

    ref.id = shared->account;
    d.account = &ref;
    d.name = (char *)"d";
    d.storage_name = (char *)"bucket";
    d.has_cloud_objects_encrypted = d.cloud_objects_encrypted = true;
    return fixture_insert(f, &d);
}

static const char *recipient(struct fixture *f)
{
    return keys_facts(f->syncd->drives->keys)->recipient;
}

static void an_encrypted_drive(struct fixture *f)
{
    struct answer a = insert_encrypted(f);

    if (a.e.code)
        fail_msg("%s", a.e.text);
    snprintf(shared->drive, sizeof(shared->drive), "%s", a.reply->drive_stored->drive->id);
    if (!*shared->recipient)
        snprintf(shared->recipient, sizeof(shared->recipient), "%s", recipient(f));
    answer_free(&a);
}

static void an_account_and_an_encrypted_drive(struct fixture *f)
{
    an_account(f);
    an_encrypted_drive(f);
}

static void its_end(struct fixture *f);

static void kept_keys(struct fixture *f)
{
    an_account_and_an_encrypted_drive(f);
    its_end(f);
}

static void an_account_and_a_drive(struct fixture *f)
{
    an_account(f);
    a_drive(f);
}

static void its_end(struct fixture *f)
{
    Lf__DriveDelete msg = LF__DRIVE_DELETE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_DELETE, drive_delete, &msg);
    struct answer a;

    msg.id = shared->drive;
    a = fixture_ask(f, &env);
    assert_int_equal(a.e.code, 0);
    answer_free(&a);
}

static _Noreturn void tell(const struct story *s, const char *dir)
{
    struct fixture *f;

    (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
    (void)signal(SIGABRT, SIG_DFL);
    (void)alarm(PATIENCE_S);
    f = fixture_on(dir);
    if (s->encrypts)
        with_cryptd(f);
    s->before(f);
    crash_steps_set(&shared->steps);
    shared->steps.armed = true;
    s->during(f);
    _exit(0);
}

/* True: it died at its step. */
static bool killed(const struct story *s, const char *dir, long step)
{
    pid_t child;
    int status;

    shared->steps.armed = false;
    shared->steps.left = step;
    (void)fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        tell(s, dir);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        assert_int_equal(status, 0);
    return WIFSIGNALED(status);
}

/* Entries of "<dir><name>" but "." and ".."; 0 when there is no such folder. */
static unsigned entries(const struct fixture *f, const char *name)
{
    char path[160];
    unsigned n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "%s%s", f->dir, name);
    d = opendir(path);
    for (struct dirent *entry = d ? readdir(d) : NULL; entry; entry = readdir(d))
        n += entry->d_name[0] != '.';
    if (d)
        (void)closedir(d);
    return n;
}

static unsigned listed(struct fixture *f)
{
    Lf__DriveList msg = LF__DRIVE_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DRIVE_LIST, drive_list, &msg);
    struct answer a = fixture_ask(f, &env);
    unsigned n = (unsigned)a.reply->drive_listed->n_drives;

    answer_free(&a);
    return n;
}

static bool all_are(struct fixture *f, unsigned n)
{
    return entries(f, "/state/drives") == n && entries(f, "/state/cache") == n && entries(f, "/mounts") == n &&
           f->n_mounted == n;
}

/* Until the last of it is gone its name is taken. */
static bool can_be_made_encrypted(struct fixture *f)
{
    struct answer a = insert_encrypted(f);
    int code = a.e.code;

    if (code && code != -EEXIST)
        fail_msg("%s", a.e.text);
    answer_free(&a);
    return code == 0;
}

static bool count_one(const struct store_kept *k, void *n)
{
    (void)k;
    ++*(unsigned *)n;
    return true;
}

/* The keys are in one place: with the drive, or kept for the next one. */
static void look_at_keys(struct fixture *f)
{
    unsigned kept = 0;

    if (listed(f) == 0)
        wait_until(f, can_be_made_encrypted(f));
    wait_until(f, keys_facts(f->syncd->drives->keys));
    assert_string_equal(recipient(f), shared->recipient);
    assert_int_equal(store_kept_each(f->syncd->store, "", count_one, &kept), 0);
    assert_int_equal(kept, 0);
}

static bool can_be_made(struct fixture *f)
{
    Lf__CloudAccount ref = LF__CLOUD_ACCOUNT__INIT;
    Lf__CloudDrive d = LF__CLOUD_DRIVE__INIT;
    struct answer a;
    int code;

    ref.id = shared->account;
    d.account = &ref;
    d.name = (char *)"d";
    d.storage_name = (char *)"bucket";
    a = fixture_insert(f, &d);
    code = a.e.code;
    if (code && code != -EEXIST)
        fail_msg("%s", a.e.text);
    answer_free(&a);
    return code == 0;
}

static void look_after(const struct story *s, const char *dir)
{
    struct fixture *f = fixture_on(dir);
    void *state = f;

    if (s->encrypts)
        with_cryptd(f);
    wait_until(f, f->lists > 0);
    wait_until(f, all_are(f, listed(f)));
    if (s->encrypts) {
        look_at_keys(f);
    } else if (listed(f) == 0) {
        wait_until(f, can_be_made(f));
        assert_true(all_are(f, 1));
    }
    cryptd_process_kill(cryptd);
    cryptd = 0;
    assert_int_equal(fixture_tear_down(&state), 0);
}

static void at_every_step(const struct story *s)
{
    bool died = true;
    long step;

    for (step = 0; died && step < STEPS_MOST; step++) {
        char dir[] = "/tmp/landfall-drive-XXXXXX";

        assert_non_null(mkdtemp(dir));
        shared->recipient[0] = '\0';
        died = killed(s, dir, step);
        look_after(s, dir);
    }
    assert_false(died);
    assert_true(step > STEPS_LEAST);
}

static void inserted(void **state)
{
    (void)state;
    at_every_step(&(struct story){ an_account, a_drive, false });
}

static void deleted(void **state)
{
    (void)state;
    at_every_step(&(struct story){ an_account_and_a_drive, its_end, false });
}

static void keys_of_a_deleted_drive(void **state)
{
    (void)state;
    at_every_step(&(struct story){ an_account_and_an_encrypted_drive, its_end, true });
}

static void keys_inherited(void **state)
{
    (void)state;
    at_every_step(&(struct story){ kept_keys, an_encrypted_drive, true });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inserted),
        cmocka_unit_test(deleted),
        cmocka_unit_test(keys_of_a_deleted_drive),
        cmocka_unit_test(keys_inherited),
    };

    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
