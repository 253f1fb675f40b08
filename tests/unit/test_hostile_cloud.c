/* A cloud that says what cannot be: nobody waits for ever, and what is here stays. */
#include "volume_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"

/* The first page, again and again, each time with another name for the next one. */
static int in_a_circle(struct rig *rig, const struct cloud_request *r, bool after)
{
    struct cloud_request *listing = (struct cloud_request *)(uintptr_t)r;
    unsigned *pages = rig->arg;
    char token[32];

    if (r->op != CLOUD_LIST)
        return 0;
    (void)snprintf(token, sizeof(token), "page %u", ++*pages);
    cloud_request_set(after ? &listing->next_token : &listing->token, after ? token : NULL);
    return 0;
}

static void listings_in_a_circle_end(void **state)
{
    struct rig *rig = *state;
    unsigned pages = 0;

    rig_put(rig, "a", "1", 1);
    rig_put(rig, "b", "1", 1);
    rig->fault = in_a_circle;
    rig->arg = &pages;
    assert_int_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
    rig_idle(rig);
    assert_in_range(pages, 1, 20);
    rig->fault = NULL;
    rig_come_back(rig);
    assert_int_not_equal(worker_lookup(rig, INDEX_ROOT, "a"), 0);
}

/* --- attributes --------------------------------------------------------------------------------------- */

static int set_xattr(struct rig *rig, uint64_t ino, const char *name)
{
    Lf__FsXattrSet m = LF__FS_XATTR_SET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_SET, fs_xattr_set, &m);

    m.ino = ino;
    m.name = (char *)(uintptr_t)name;
    m.value = (ProtobufCBinaryData){ 1, (uint8_t *)(uintptr_t)"1" };
    return rig_ask(rig, &env, NULL, NULL);
}

static void attributes_that_programs_cannot_set_do_not_come(void **state)
{
    struct rig *rig = *state;
    struct cloud_xattr xattrs[] = {
        { (char *)(uintptr_t)"security.capability", (uint8_t *)(uintptr_t)"1", 1 },
        { (char *)(uintptr_t)"user.landfall.pin", (uint8_t *)(uintptr_t)"1", 1 },
        { (char *)(uintptr_t)"user.fine", (uint8_t *)(uintptr_t)"1", 1 },
        { (char *)(uintptr_t)"user.", (uint8_t *)(uintptr_t)"1", 1 },
    };
    Lf__FsXattrList m = LF__FS_XATTR_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_LIST, fs_xattr_list, &m), *reply;

    rig_put_with(rig, "a", "1", 1, &(struct cloud_meta){ .xattrs = xattrs, .n_xattrs = ARRAY_SIZE(xattrs) });
    m.ino = worker_lookup(rig, INDEX_ROOT, "a");
    assert_int_equal(rig_ask(rig, &env, &reply, NULL), 0);
    assert_int_equal(reply->fs_xattr_names->n_names, 1);
    assert_string_equal(reply->fs_xattr_names->names[0], "user.fine");
    lf__envelope__free_unpacked(reply, NULL);
}

static void ours_are_not_kept_for_programs(void **state)
{
    struct rig *rig = *state;
    uint64_t ino = worker_file(rig, "a", "1", 1);

    assert_int_equal(set_xattr(rig, ino, "user.landfall.anything"), -EPERM);
    assert_int_equal(set_xattr(rig, ino, "user.landfall.state"), -EPERM);
    assert_int_equal(set_xattr(rig, ino, "user.landfallen"), 0);
}

/* A listing without an end would keep the test from ending too. */
static int set_up(void **state)
{
    (void)alarm(300);
    return rig_set_up(state);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(listings_in_a_circle_end, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(attributes_that_programs_cannot_set_do_not_come, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(ours_are_not_kept_for_programs, set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
