/* cryptd/drive_keys and cryptd/wrapped_key: keys of a drive come back from their sealed form, and from nothing else. */
#include "cryptd/wrapped_key.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/cleanup.h"

#define DRIVE "01234567-89ab-4def-8123-456789abcdef"
#define OTHER "01234567-89ab-4def-8123-456789abcdee"
#define RECIPIENT "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
#define IDENTITY "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"

struct rig {
    struct secret *secret;
    struct drive_keys keys, opened;
    uint8_t blob[DRIVE_BLOB_MAX + 1];
    size_t n;
    struct error e;
};

static struct rig rig;

static int make(void **state)
{
    (void)state;
    memset(&rig, 0, sizeof(rig));
    if (aead_begin(&rig.e) < 0 || secret_new(&rig.secret, &rig.e) < 0)
        return -1;
    secret_random(rig.secret->data_key, KEY_SIZE);
    return drive_keys_make(&rig.keys, DRIVE, NULL, 0, &rig.e);
}

static int drop(void **state)
{
    (void)state;
    secret_free(rig.secret);
    aead_end();
    return 0;
}

static void seal(void)
{
    assert_int_equal(drive_keys_seal(rig.secret, &rig.keys, rig.blob, &rig.n, &rig.e), 0);
}

static int open_as(const char *drive, uint32_t at_least)
{
    int r = drive_keys_open(rig.secret, drive, rig.blob, rig.n, at_least, &rig.opened, &rig.e);
    static const struct drive_keys nothing;

    if (r < 0) {
        assert_int_equal(rig.e.code, r);
        assert_memory_equal(&rig.opened, &nothing, sizeof(nothing));
    }
    return r;
}

static void keys_come_back(void **state)
{
    static const char *const escrow[] = { RECIPIENT };

    (void)state;
    seal();
    assert_int_equal(rig.n, DRIVE_BLOB_MIN);
    assert_int_equal(rig.n, 156);
    assert_null(memmem(rig.blob, rig.n, rig.keys.epochs[0].cache_key, 8));
    assert_null(memmem(rig.blob, rig.n, rig.keys.epochs[0].identity, 8));
    assert_int_equal(open_as(DRIVE, 1), 0);
    assert_memory_equal(&rig.opened, &rig.keys, sizeof(rig.keys));
    while (rig.keys.n_epochs < DRIVE_EPOCHS_MAX)
        assert_int_equal(drive_keys_rotate(&rig.keys, rig.keys.n_epochs % 2, &rig.e), 0);
    assert_int_equal(drive_keys_set_escrow(&rig.keys, escrow, 1, &rig.e), 0);
    seal();
    assert_int_equal(open_as(DRIVE, 17), 0);
    assert_memory_equal(&rig.opened, &rig.keys, sizeof(rig.keys));
}

static void every_byte_counts(void **state)
{
    (void)state;
    seal();
    for (size_t i = 0; i < rig.n; i++) {
        int expected = i < 8 ? -EUCLEAN : i < 12 ? -EOPNOTSUPP : i < 16 ? -EUCLEAN : i < 24 ? -ENOKEY :
                       i < 40 ? -EPERM : -EUCLEAN;

        rig.blob[i] ^= 0x20;
        if (open_as(DRIVE, 0) != expected)
            fail_msg("byte %zu: %s", i, rig.e.text);
        rig.blob[i] ^= 0x20;
    }
    for (size_t n = rig.n; rig.n-- > 0;)
        if (open_as(DRIVE, 0) != -EUCLEAN)
            fail_msg("%zu of %zu bytes", rig.n, n);
    rig.n = sizeof(rig.blob);
    assert_int_equal(open_as(DRIVE, 0), -EUCLEAN);
}

/* Whoever exchanges the id in the open part as well is found out by the tag. */
static void keys_do_not_go_with_another_drive(void **state)
{
    (void)state;
    seal();
    assert_int_equal(open_as(OTHER, 0), -EPERM);
    assert_non_null(strstr(rig.e.text, "exchanged"));
    rig.blob[24 + 15] ^= 1;
    assert_int_equal(open_as(OTHER, 0), -EUCLEAN);
    assert_int_equal(open_as("no uuid", 0), -EINVAL);
}

static void another_data_key_is_told_from_damage(void **state)
{
    (void)state;
    seal();
    rig.secret->data_key[0] ^= 1;
    assert_int_equal(open_as(DRIVE, 0), -ENOKEY);
    assert_non_null(strstr(rig.e.text, "another key store"));
}

static void an_old_blob_is_noticed_by_its_serial(void **state)
{
    (void)state;
    seal();
    assert_int_equal(open_as(DRIVE, 2), -ESTALE);
    assert_int_equal(drive_keys_rotate(&rig.keys, false, &rig.e), 0);
    seal();
    assert_int_equal(open_as(DRIVE, 2), 0);
}

static void epochs_come_and_go(void **state)
{
    (void)state;
    assert_int_equal(drive_keys_forget(&rig.keys, 1, &rig.e), -EBUSY);
    assert_int_equal(drive_keys_forget(&rig.keys, 2, &rig.e), -ENOENT);
    for (uint32_t i = 2; i <= DRIVE_EPOCHS_MAX; i++)
        assert_int_equal(drive_keys_rotate(&rig.keys, false, &rig.e), 0);
    assert_int_equal(drive_keys_rotate(&rig.keys, false, &rig.e), -ENOSPC);
    assert_int_equal(drive_keys_forget(&rig.keys, 3, &rig.e), 0);
    assert_null(drive_keys_epoch(&rig.keys, 3));
    assert_int_equal(drive_keys_rotate(&rig.keys, true, &rig.e), 0);
    assert_int_equal(drive_keys_newest(&rig.keys)->number, DRIVE_EPOCHS_MAX + 1);
    assert_memory_equal(rig.keys.epochs[0].identity, rig.keys.epochs[1].identity, KEY_SIZE);
    assert_memory_not_equal(rig.keys.epochs[0].cache_key, rig.keys.epochs[1].cache_key, KEY_SIZE);
    seal();
    assert_int_equal(open_as(DRIVE, 0), 0);
    assert_int_equal(rig.opened.serial, 1 + 15 + 1 + 1);
}

static void identities_come_from_outside_and_go_there(void **state)
{
    uint8_t list[DRIVE_EPOCHS_MAX][KEY_SIZE], expected[KEY_SIZE];

    (void)state;
    memset(expected, 0x42, KEY_SIZE);
    assert_int_equal(drive_keys_make(&rig.keys, DRIVE, IDENTITY, 0, &rig.e), 0);
    assert_int_equal(drive_keys_rotate(&rig.keys, false, &rig.e), 0);
    assert_int_equal(drive_keys_identities(&rig.keys, list), 1);
    assert_memory_equal(list[0], expected, KEY_SIZE);
    assert_int_equal(drive_keys_rotate(&rig.keys, true, &rig.e), 0);
    assert_int_equal(drive_keys_identities(&rig.keys, list), 2);
    assert_memory_equal(list[1], expected, KEY_SIZE);
    assert_int_equal(drive_keys_make(&rig.keys, DRIVE, RECIPIENT, 0, &rig.e), -EINVAL);
}

static void an_imported_identity_is_the_newest(void **state)
{
    uint8_t list[DRIVE_EPOCHS_MAX][KEY_SIZE], expected[KEY_SIZE], before[KEY_SIZE];

    (void)state;
    memset(expected, 0x42, KEY_SIZE);
    memcpy(before, drive_keys_newest(&rig.keys)->identity, KEY_SIZE);
    assert_int_equal(drive_keys_import(&rig.keys, IDENTITY, &rig.e), 0);
    assert_int_equal(drive_keys_identities(&rig.keys, list), 2);
    assert_memory_equal(list[0], expected, KEY_SIZE);
    assert_memory_equal(list[1], before, KEY_SIZE);
    assert_int_equal(rig.keys.serial, 2);
    assert_int_equal(drive_keys_import(&rig.keys, IDENTITY, &rig.e), -EEXIST);
    assert_int_equal(drive_keys_import(&rig.keys, RECIPIENT, &rig.e), -EINVAL);
    assert_int_equal(rig.keys.serial, 2);
    assert_int_equal(rig.keys.n_epochs, 2);
}

static void identities_of_a_drive_that_is_gone_are_inherited(void **state)
{
    static const char *const escrow[] = { RECIPIENT };
    uint8_t list[DRIVE_EPOCHS_MAX][KEY_SIZE], ours[DRIVE_EPOCHS_MAX][KEY_SIZE], own[KEY_SIZE];
    struct drive_keys *heir = &rig.opened, other;

    (void)state;
    for (unsigned i = 0; i < 4; i++)   /* the identities a, a, b, b, c */
        assert_int_equal(drive_keys_rotate(&rig.keys, i % 2, &rig.e), 0);
    assert_int_equal(drive_keys_set_escrow(&rig.keys, escrow, 1, &rig.e), 0);
    assert_int_equal(drive_keys_make(heir, OTHER, NULL, 0, &rig.e), 0);
    memcpy(own, heir->epochs[0].identity, KEY_SIZE);
    assert_int_equal(drive_keys_inherit(heir, &rig.keys, true, &rig.e), 0);
    assert_int_equal(heir->n_epochs, 3);
    assert_int_equal(heir->serial, 1);
    assert_int_equal(heir->n_escrow, 1);
    assert_int_equal(drive_keys_identities(&rig.keys, list), 3);
    assert_int_equal(drive_keys_identities(heir, ours), 3);
    assert_memory_equal(list, ours, 3 * KEY_SIZE);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(heir->epochs[i].number, i + 1);
        assert_memory_not_equal(heir->epochs[i].identity, own, KEY_SIZE);
        for (size_t n = 0; n < rig.keys.n_epochs; n++)
            assert_memory_not_equal(heir->epochs[i].cache_key, rig.keys.epochs[n].cache_key, KEY_SIZE);
    }
    assert_int_equal(drive_keys_make(&other, DRIVE, IDENTITY, 0, &rig.e), 0);
    assert_int_equal(drive_keys_inherit(heir, &other, false, &rig.e), 0);
    assert_int_equal(drive_keys_inherit(heir, &rig.keys, false, &rig.e), 0);   /* nothing that it lacks */
    assert_int_equal(heir->n_epochs, 4);
    assert_int_equal(heir->n_escrow, 1);
    assert_memory_equal(drive_keys_newest(heir)->identity, list[0], KEY_SIZE);
    memset(own, 0x42, KEY_SIZE);
    assert_memory_equal(heir->epochs[0].identity, own, KEY_SIZE);
    rig.keys = *heir;
    seal();
    assert_int_equal(open_as(OTHER, 1), 0);
    assert_memory_equal(&rig.opened, &rig.keys, sizeof(rig.keys));
}

static void old_epochs_are_given_up_but_no_identity(void **state)
{
    uint8_t list[DRIVE_EPOCHS_MAX][KEY_SIZE];
    struct drive_keys before;

    (void)state;
    assert_int_equal(drive_keys_forget_old(&rig.keys, &rig.e), -ENOENT);
    for (unsigned i = 0; i < 4; i++)   /* the identities a, a, b, b, c */
        assert_int_equal(drive_keys_rotate(&rig.keys, i % 2, &rig.e), 0);
    before = rig.keys;
    assert_int_equal(drive_keys_forget_old(&rig.keys, &rig.e), 0);
    assert_int_equal(rig.keys.n_epochs, 3);
    assert_int_equal(rig.keys.serial, before.serial + 1);
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(&rig.keys.epochs[i], &before.epochs[i == 2 ? 4 : 1 + 2 * i], sizeof(before.epochs[0]));
    assert_int_equal(drive_keys_identities(&rig.keys, list), 3);
    assert_int_equal(drive_keys_forget_old(&rig.keys, &rig.e), -ENOENT);
}

static void no_more_are_inherited_than_there_is_room_for(void **state)
{
    struct drive_keys *heir = &rig.opened, other, before;

    (void)state;
    while (rig.keys.n_epochs < DRIVE_EPOCHS_MAX)
        assert_int_equal(drive_keys_rotate(&rig.keys, true, &rig.e), 0);
    assert_int_equal(drive_keys_make(heir, OTHER, NULL, 0, &rig.e), 0);
    assert_int_equal(drive_keys_inherit(heir, &rig.keys, true, &rig.e), 0);
    assert_int_equal(heir->n_epochs, DRIVE_EPOCHS_MAX);
    assert_int_equal(drive_keys_make(&other, DRIVE, NULL, 0, &rig.e), 0);
    before = *heir;
    assert_int_equal(drive_keys_inherit(heir, &other, false, &rig.e), -ENOSPC);
    assert_memory_equal(heir, &before, sizeof(before));
}

/* What the lost keys wrapped is under an epoch that is not there, and not damaged. */
static void keys_in_the_place_of_lost_ones_go_on_behind_them(void **state)
{
    struct wrapped_key key = { .kind = WRAPPED_CACHE, .algorithm = AEAD_AES_256_GCM };
    uint8_t wrapped[WRAPPED_KEY_SIZE];

    (void)state;
    assert_int_equal(drive_keys_rotate(&rig.keys, false, &rig.e), 0);
    assert_int_equal(wrapped_key_seal(&rig.keys, &key, wrapped, &rig.e), 0);
    assert_int_equal(drive_keys_make(&rig.keys, DRIVE, IDENTITY, rig.keys.serial, &rig.e), 0);
    assert_int_equal(rig.keys.serial, 3);
    assert_int_equal(drive_keys_newest(&rig.keys)->number, 3);
    assert_int_equal(wrapped_key_open(&rig.keys, WRAPPED_CACHE, wrapped, sizeof(wrapped), &key, &rig.e), -ENOKEY);
    assert_int_equal(drive_keys_make(&rig.keys, DRIVE, IDENTITY, UINT32_MAX, &rig.e), -ENOSPC);
}

static void escrow_recipients_must_be_keys(void **state)
{
    static const char *const low_order[] = { "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq" };
    static const char *const identity[] = { IDENTITY }, *const good[] = {
        RECIPIENT, RECIPIENT, RECIPIENT, RECIPIENT, RECIPIENT, RECIPIENT, RECIPIENT, RECIPIENT, RECIPIENT,
    };
    uint8_t zero[KEY_SIZE] = { 0 };
    char text[AGE_RECIPIENT_LENGTH + 1];
    const char *list[] = { text };

    (void)state;
    bech32_encode(AGE_RECIPIENT_PREFIX, zero, false, text);
    assert_int_equal(drive_keys_set_escrow(&rig.keys, low_order, 1, &rig.e), -EINVAL);
    assert_int_equal(drive_keys_set_escrow(&rig.keys, list, 1, &rig.e), -EINVAL);   /* of low order */
    assert_int_equal(drive_keys_set_escrow(&rig.keys, identity, 1, &rig.e), -EINVAL);
    assert_int_equal(drive_keys_set_escrow(&rig.keys, good, 9, &rig.e), -E2BIG);
    assert_int_equal(rig.keys.serial, 1);
    assert_int_equal(drive_keys_set_escrow(&rig.keys, good, 8, &rig.e), 0);
    assert_int_equal(drive_keys_set_escrow(&rig.keys, NULL, 0, &rig.e), 0);
    assert_int_equal(rig.keys.n_escrow, 0);
    assert_int_equal(rig.keys.serial, 3);
}

/* --- wrapped keys ------------------------------------------------------------------------------- */

static const struct wrapped_key file = { .kind = WRAPPED_CACHE, .algorithm = AEAD_AES_256_GCM, .id = "file", .key = "key" };

static int unwrap(const struct drive_keys *k, const uint8_t *bytes, size_t n)
{
    struct wrapped_key key;
    int r = wrapped_key_open(k, WRAPPED_CACHE, bytes, n, &key, &rig.e);

    if (r == 0) {
        assert_memory_equal(key.key, file.key, KEY_SIZE);
        assert_memory_equal(key.id, file.id, WRAPPED_ID_SIZE);
        assert_int_equal(key.algorithm, file.algorithm);
    } else {
        assert_int_equal(rig.e.code, r);
    }
    return r;
}

static void wrapped_keys_come_back(void **state)
{
    uint8_t bytes[WRAPPED_KEY_SIZE], again[WRAPPED_KEY_SIZE];
    struct wrapped_key key;

    (void)state;
    assert_int_equal(wrapped_key_seal(&rig.keys, &file, bytes, &rig.e), 0);
    assert_int_equal(wrapped_key_seal(&rig.keys, &file, again, &rig.e), 0);
    assert_memory_not_equal(bytes + 32, again + 32, HEDGE_NONCE_SIZE);
    assert_int_equal(unwrap(&rig.keys, bytes, sizeof(bytes)), 0);
    assert_int_equal(wrapped_key_open(&rig.keys, WRAPPED_OBJECT, bytes, sizeof(bytes), &key, &rig.e), -EINVAL);
    for (size_t n = 0; n < sizeof(bytes); n++)
        assert_int_equal(unwrap(&rig.keys, bytes, n), -EUCLEAN);
    assert_int_equal(unwrap(&rig.keys, NULL, 0), -EUCLEAN);
}

static void every_byte_of_a_wrapped_key_counts(void **state)
{
    uint8_t bytes[WRAPPED_KEY_SIZE];

    (void)state;
    assert_int_equal(wrapped_key_seal(&rig.keys, &file, bytes, &rig.e), 0);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        int expected = i < 8 ? -EUCLEAN : i == 9 ? -EINVAL : i < 12 ? -EOPNOTSUPP : i < 16 ? -ENOKEY : -EUCLEAN;

        bytes[i] ^= 0x10;
        if (unwrap(&rig.keys, bytes, sizeof(bytes)) != expected)
            fail_msg("byte %zu: %s", i, rig.e.text);
        bytes[i] ^= 0x10;
    }
    bytes[10] = AEAD_CHACHA20_POLY1305;   /* known, and not what was sealed */
    assert_int_equal(unwrap(&rig.keys, bytes, sizeof(bytes)), -EUCLEAN);
}

static void wrapped_keys_stay_with_their_drive_and_epoch(void **state)
{
    struct drive_keys before = rig.keys, other = rig.keys;
    uint8_t bytes[WRAPPED_KEY_SIZE];

    (void)state;
    assert_int_equal(drive_id_read(OTHER, other.id, &rig.e), 0);   /* the same keys in another drive */
    assert_int_equal(wrapped_key_seal(&rig.keys, &file, bytes, &rig.e), 0);
    assert_int_equal(unwrap(&other, bytes, sizeof(bytes)), -EUCLEAN);
    assert_int_equal(drive_keys_rotate(&rig.keys, false, &rig.e), 0);
    assert_int_equal(unwrap(&rig.keys, bytes, sizeof(bytes)), 0);
    assert_int_equal(drive_keys_forget(&rig.keys, 1, &rig.e), 0);
    assert_int_equal(unwrap(&rig.keys, bytes, sizeof(bytes)), -ENOKEY);
    assert_non_null(strstr(rig.e.text, "given up"));
    assert_int_equal(wrapped_key_seal(&rig.keys, &file, bytes, &rig.e), 0);
    assert_int_equal(unwrap(&before, bytes, sizeof(bytes)), -ENOKEY);
    assert_non_null(strstr(rig.e.text, "newer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_come_back, make, drop),
        cmocka_unit_test_setup_teardown(every_byte_counts, make, drop),
        cmocka_unit_test_setup_teardown(keys_do_not_go_with_another_drive, make, drop),
        cmocka_unit_test_setup_teardown(another_data_key_is_told_from_damage, make, drop),
        cmocka_unit_test_setup_teardown(an_old_blob_is_noticed_by_its_serial, make, drop),
        cmocka_unit_test_setup_teardown(epochs_come_and_go, make, drop),
        cmocka_unit_test_setup_teardown(identities_come_from_outside_and_go_there, make, drop),
        cmocka_unit_test_setup_teardown(an_imported_identity_is_the_newest, make, drop),
        cmocka_unit_test_setup_teardown(identities_of_a_drive_that_is_gone_are_inherited, make, drop),
        cmocka_unit_test_setup_teardown(old_epochs_are_given_up_but_no_identity, make, drop),
        cmocka_unit_test_setup_teardown(no_more_are_inherited_than_there_is_room_for, make, drop),
        cmocka_unit_test_setup_teardown(keys_in_the_place_of_lost_ones_go_on_behind_them, make, drop),
        cmocka_unit_test_setup_teardown(escrow_recipients_must_be_keys, make, drop),
        cmocka_unit_test_setup_teardown(wrapped_keys_come_back, make, drop),
        cmocka_unit_test_setup_teardown(every_byte_of_a_wrapped_key_counts, make, drop),
        cmocka_unit_test_setup_teardown(wrapped_keys_stay_with_their_drive_and_epoch, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
