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

/* A listing without an end would keep the test from ending too. */
static int set_up(void **state)
{
    (void)alarm(60);
    return rig_set_up(state);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(listings_in_a_circle_end, set_up, rig_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
