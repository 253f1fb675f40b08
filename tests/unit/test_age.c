/* cryptd's age files: text of keys, headers, sizes, chunks alone, and what binds an object to its name. That Debian's
 * `age` understands them is shown by tests/integration/test_age.py. */
#include "cryptd/age_object.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "cryptd/x25519.h"

#define DRIVE "01234567-89ab-4def-8123-456789abcdef"

static struct drive_keys drive;
static struct error e;

static int make(void **state)
{
    (void)state;
    return aead_begin(&e) < 0 || drive_keys_make(&drive, DRIVE, NULL, 0, &e) < 0 ? -1 : 0;
}

static int drop(void **state)
{
    (void)state;
    aead_end();
    return 0;
}

/* --- text of keys ------------------------------------------------------------------------------ */

/* The pair in the specification: an identity of 32 times 0x42. */
static void keys_read_as_age_writes_them(void **state)
{
    static const char identity[] = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    static const char recipient[] = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    uint8_t key[KEY_SIZE], expected[KEY_SIZE], public[KEY_SIZE];
    char text[AGE_IDENTITY_LENGTH + 1];

    (void)state;
    memset(expected, 0x42, sizeof(expected));
    assert_int_equal(bech32_decode(AGE_IDENTITY_PREFIX, identity, key), 0);
    assert_memory_equal(key, expected, KEY_SIZE);
    bech32_encode(AGE_IDENTITY_PREFIX, key, true, text);
    assert_string_equal(text, identity);
    assert_int_equal(x25519_public(key, public), 0);
    bech32_encode(AGE_RECIPIENT_PREFIX, public, false, text);
    assert_string_equal(text, recipient);
    assert_int_equal(bech32_decode(AGE_RECIPIENT_PREFIX, recipient, key), 0);
    assert_memory_equal(key, public, KEY_SIZE);
}

static void other_text_is_no_key(void **state)
{
    char text[] = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    uint8_t key[KEY_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char before = text[i];

        text[i] = before == 'q' ? 'p' : 'q';   /* one wrong character, always noticed */
        assert_int_equal(bech32_decode(AGE_RECIPIENT_PREFIX, text, key), -EINVAL);
        text[i] = 'b';
        assert_int_equal(bech32_decode(AGE_RECIPIENT_PREFIX, text, key), -EINVAL);
        text[i] = (char)(before ^ 0x20);       /* mixed case */
        assert_int_equal(bech32_decode(AGE_RECIPIENT_PREFIX, text, key), -EINVAL);
        text[i] = before;
    }
    assert_int_equal(bech32_decode(AGE_IDENTITY_PREFIX, text, key), -EINVAL);
    assert_int_equal(bech32_decode(AGE_RECIPIENT_PREFIX, "", key), -EINVAL);
    text[61] = '\0';
    assert_int_equal(bech32_decode(AGE_RECIPIENT_PREFIX, text, key), -EINVAL);
}

/* --- headers ------------------------------------------------------------------------------------ */

#define V1 "age-encryption.org/v1\n"
#define B43 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define B64 B43 "AAAAAAAAAAAAAAAAAAAAA"
#define END "--- " B43 "\n"

static void headers_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        { V1 "-> X25519 " B43 "\n" B43 "\n" END, 0 },
        { V1 "-> a\n\n" END "payload", 0 },
        { V1 "-> a !~ c\n" B64 "\n" B64 "\nAA\n-> b\n\n" END, 0 },
        { V1 "-> a\n" B64 "\n\n" END, 0 },
        { V1 END, -EINVAL },                                     /* no stanza */
        { V1 "-> a\n" B64 "\n" END, -EINVAL },                   /* a body that does not end */
        { V1 "-> a\n" END, -EINVAL },                            /* no body */
        { V1 "->\n\n" END, -EINVAL },
        { V1 "-> \n\n" END, -EINVAL },
        { V1 "-> a \n\n" END, -EINVAL },
        { V1 "-> a  b\n\n" END, -EINVAL },
        { V1 "->  a\n\n" END, -EINVAL },
        { V1 "-> \x7f\n\n" END, -EINVAL },
        { V1 "-> \xc3\xa4\n\n" END, -EINVAL },
        { V1 "-> a\r\n\n" END, -EINVAL },
        { V1 "-> a\nA\n" END, -EINVAL },                         /* no base64 has that length */
        { V1 "-> a\nAB\n" END, -EINVAL },                        /* not canonical */
        { V1 "-> a\nAA==\n" END, -EINVAL },
        { V1 "-> a\nA-\n" END, -EINVAL },
        { V1 "-> a\n" B64 "A\n" END, -EINVAL },
        { V1 "-> a\n\n---  " B43 "\n", -EINVAL },
        { V1 "-> a\n\n---" B43 "\n", -EINVAL },
        { V1 "-> a\n\n--- " B43 " \n", -EINVAL },
        { V1 "-> a\n\n--- AAAA\n", -EINVAL },
        { V1 "-> a\n\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\n", -EINVAL },
        { V1 "-> a\n\n\n" END, -EINVAL },
        { "age-encryption.org/v2\n-> a\n\n" END, -EOPNOTSUPP },
        { "age-encryption.org/v11\n-> a\n\n" END, -EOPNOTSUPP },
        { "age-encryption.org/\n-> a\n\n" END, -EINVAL },
        { "age-encryption.org/v1 \n-> a\n\n" END, -EINVAL },
        { "age-encryption.org/v1\r\n-> a\n\n" END, -EINVAL },
        { "-----BEGIN AGE ENCRYPTED FILE-----\n", -EINVAL },
        { "some other file without a line", -EINVAL },
    };
    static struct age_header h;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (age_header_read(rows[i].text, strlen(rows[i].text), &h) != rows[i].result)
            fail_msg("row %zu: %s", i, rows[i].text);
}

static void a_header_that_ends_early_needs_more(void **state)
{
    static const char text[] = V1 "-> X25519 " B43 "\n" B43 "\n" END;
    static struct age_header h;

    (void)state;
    assert_int_equal(age_header_read(NULL, 0, &h), -ENODATA);
    for (size_t n = 0; n < strlen(text); n++)
        assert_int_equal(age_header_read(text, n, &h), -ENODATA);
    assert_int_equal(age_header_read(text, strlen(text), &h), 0);
    assert_int_equal(h.size, strlen(text));
    assert_int_equal(h.covered, h.size - 1 - 43 - 1);
}

static void a_header_has_a_limit(void **state)
{
    static char text[2 * AGE_HEADER_MAX];
    static struct age_header h;
    size_t n = 0;

    (void)state;
    n += (size_t)sprintf(text, V1);
    while (n < sizeof(text) - 8)
        n += (size_t)sprintf(text + n, "-> a\n\n");
    assert_int_equal(age_header_read(text, n, &h), -EMSGSIZE);   /* stanzas */
    n = (size_t)sprintf(text, V1 "-> ");
    memset(text + n, 'a', sizeof(text) - n);
    assert_int_equal(age_header_read(text, sizeof(text), &h), -EMSGSIZE);
    assert_int_equal(age_header_read(text, AGE_HEADER_MAX - 1, &h), -ENODATA);
}

/* --- sizes and chunks --------------------------------------------------------------------------- */

static void sizes_go_both_ways(void **state)
{
    static const struct {
        uint64_t plain, payload;
    } rows[] = {
        { 0, 32 }, { 1, 33 }, { 65535, 65567 }, { 65536, 65568 }, { 65537, 65585 }, { 1 << 20, 1048848 },
        { 1 << 30, 1074003984 }, { UINT64_C(1) << 43, UINT64_C(8798240505872) },
    };
    uint64_t plain;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(age_payload_size(rows[i].plain), rows[i].payload);
        assert_int_equal(age_plain_size(rows[i].payload, &plain), 0);
        assert_int_equal(plain, rows[i].plain);
    }
    for (uint64_t n = 0; n < 3 * AGE_SEALED_CHUNK; n++)
        if (age_plain_size(n, &plain) == 0)
            assert_int_equal(age_payload_size(plain), n);
    for (uint64_t n = 0; n < 32; n++)
        assert_int_equal(age_plain_size(n, &plain), -EINVAL);
    for (uint64_t n = 65568; n <= 65568 + 16; n++)   /* a second chunk without plaintext */
        assert_int_equal(age_plain_size(n, &plain), n == 65568 ? 0 : -EINVAL);
    assert_int_equal(age_plain_size(UINT64_MAX, &plain), -EINVAL);
}

static void a_chunk_opens_alone_and_at_its_place(void **state)
{
    static const uint8_t key[KEY_SIZE] = { 1 };
    static uint8_t plain[100], sealed[100 + AEAD_TAG_SIZE], out[100];
    const uint64_t number = UINT64_C(0x0102030405060708);

    (void)state;
    memset(plain, 'x', sizeof(plain));
    assert_int_equal(age_seal_chunk(key, number, false, plain, sizeof(plain), sealed), 0);
    assert_int_equal(age_open_chunk(key, number, false, sealed, sizeof(plain), out), 0);
    assert_memory_equal(out, plain, sizeof(plain));
    assert_int_equal(age_open_chunk(key, number + 1, false, sealed, sizeof(plain), out), -EBADMSG);
    assert_int_equal(age_open_chunk(key, number & 0xffffffff, false, sealed, sizeof(plain), out), -EBADMSG);
    assert_int_equal(age_open_chunk(key, number, true, sealed, sizeof(plain), out), -EBADMSG);
    for (size_t i = 0; i < sizeof(out); i++)
        assert_int_equal(out[i], 0);
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 1;
        assert_int_equal(age_open_chunk(key, number, false, sealed, sizeof(plain), out), -EBADMSG);
        sealed[i] ^= 1;
    }
    for (size_t n = 0; n < sizeof(plain); n++)
        assert_int_equal(age_open_chunk(key, number, false, sealed, n, out), -EBADMSG);
}

/* --- objects ------------------------------------------------------------------------------------ */

static const struct object_name name = { "a/b", 3 }, other_name = { "a/c", 3 };

static size_t make_object(uint64_t version, uint8_t *head, struct wrapped_key *payload)
{
    size_t n;

    assert_int_equal(age_object_make(&drive, &name, version, head, &n, payload, &e), 0);
    return n;
}

static void objects_open_under_their_name(void **state)
{
    uint8_t head[OBJECT_HEAD_MAX];
    struct wrapped_key payload;
    struct object_opened o;
    size_t n = make_object(1, head, &payload);

    (void)state;
    assert_int_equal(n, 251);
    assert_int_equal(age_object_open(&drive, &name, head, n, NULL, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_BOUND);
    assert_int_equal(o.version, 1);
    assert_int_equal(o.head_size, n);
    assert_memory_equal(o.payload.key, payload.key, KEY_SIZE);
    assert_memory_equal(o.payload.id, payload.id, WRAPPED_ID_SIZE);
    assert_int_equal(age_object_open(&drive, &other_name, head, n, NULL, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_ELSEWHERE);
    assert_int_equal(age_object_open(&drive, &name, head, n - 1, NULL, &o, &e), -ENODATA);
}

static void a_moved_object_says_so_beside_it(void **state)
{
    uint8_t head[OBJECT_HEAD_MAX], binding[OBJECT_BINDING_SIZE];
    struct wrapped_key payload;
    struct object_opened o;
    size_t n = make_object(UINT64_MAX, head, &payload);

    (void)state;
    assert_int_equal(age_object_bind(&drive, &other_name, head, n, binding, &e), 0);
    assert_int_equal(age_object_open(&drive, &other_name, head, n, binding, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_MOVED);
    assert_int_equal(o.version, UINT64_MAX);
    assert_int_equal(age_object_open(&drive, &name, head, n, binding, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_BOUND);
    binding[0] ^= 1;
    assert_int_equal(age_object_open(&drive, &other_name, head, n, binding, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_ELSEWHERE);
}

static void every_byte_of_a_header_counts(void **state)
{
    uint8_t head[OBJECT_HEAD_MAX];
    struct wrapped_key payload;
    struct object_opened o;
    size_t n = make_object(1, head, &payload);

    (void)state;
    for (size_t i = 0; i < n - AGE_NONCE_SIZE; i++) {
        int r;

        head[i] ^= 1;
        r = age_object_open(&drive, &name, head, n, NULL, &o, &e);
        head[i] ^= 1;
        if (r != -EUCLEAN && r != -EBADE && r != -ENOKEY && r != -EOPNOTSUPP && r != -ENODATA)
            fail_msg("byte %zu: %d", i, r);
        assert_int_equal(e.code, r);
    }
    for (size_t i = n - AGE_NONCE_SIZE; i < n; i++) {   /* the nonce: another payload key, and no chunk opens */
        head[i] ^= 1;
        assert_int_equal(age_object_open(&drive, &name, head, n, NULL, &o, &e), 0);
        assert_memory_not_equal(o.payload.key, payload.key, KEY_SIZE);
        head[i] ^= 1;
    }
}

/* Somebody with the bucket and the recipient makes a file and puts the stanza of a real object into it. */
static void a_stanza_does_not_go_with_another_file(void **state)
{
    static const uint8_t file_key[AGE_FILE_KEY_SIZE] = "of the attacker", ephemeral[KEY_SIZE] = { 9 };
    static struct age_header real;
    uint8_t head[OBJECT_HEAD_MAX], forged[OBJECT_HEAD_MAX], recipient[KEY_SIZE];
    struct age_writer w = { .data = (char *)forged, .room = sizeof(forged) };
    struct wrapped_key payload;
    struct object_opened o;
    size_t n = make_object(1, head, &payload);

    (void)state;
    assert_int_equal(age_header_read((char *)head, n, &real), 0);
    assert_int_equal(x25519_public(drive.epochs[0].identity, recipient), 0);
    age_write_begin(&w);
    assert_int_equal(age_key_wrap(&w, recipient, ephemeral, file_key), 0);
    age_write_stanza(&w, "landfall/object-1 1", real.stanzas[1].body, OBJECT_BINDING_SIZE);
    assert_int_equal(age_key_finish(&w, file_key), 0);
    memset(forged + w.len, 0, AGE_NONCE_SIZE);
    assert_int_equal(age_object_open(&drive, &name, forged, w.len + AGE_NONCE_SIZE, NULL, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_ELSEWHERE);
}

static void a_stanza_of_ours_has_one_form(void **state)
{
    static const char *const types[] = {
        "landfall/object-1", "landfall/object-1 x", "landfall/object-1 1 2", "landfall/object-1 18446744073709551616",
        "landfall/object-1 -1", "landfall/object-1 000000000000000000001",
    };
    static const uint8_t file_key[AGE_FILE_KEY_SIZE] = "a key", ephemeral[KEY_SIZE] = { 9 }, body[OBJECT_BINDING_SIZE];
    uint8_t recipient[KEY_SIZE];
    struct object_opened o;

    (void)state;
    assert_int_equal(x25519_public(drive.epochs[0].identity, recipient), 0);
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        uint8_t head[1024] = { 0 };
        struct age_writer w = { .data = (char *)head, .room = sizeof(head) - AGE_NONCE_SIZE };

        age_write_begin(&w);
        assert_int_equal(age_key_wrap(&w, recipient, ephemeral, file_key), 0);
        age_write_stanza(&w, types[i], body, sizeof(body));
        assert_int_equal(age_key_finish(&w, file_key), 0);
        assert_int_equal(age_object_open(&drive, &name, head, w.len + AGE_NONCE_SIZE, NULL, &o, &e), -EUCLEAN);
    }
}

static void an_object_without_our_stanza_is_foreign(void **state)
{
    static const uint8_t file_key[AGE_FILE_KEY_SIZE] = "a key", ephemeral[KEY_SIZE] = { 9 };
    uint8_t head[1024] = { 0 }, recipient[KEY_SIZE], binding[OBJECT_BINDING_SIZE];
    struct age_writer w = { .data = (char *)head, .room = sizeof(head) - AGE_NONCE_SIZE };
    struct object_opened o;

    (void)state;
    assert_int_equal(x25519_public(drive.epochs[0].identity, recipient), 0);
    age_write_begin(&w);
    assert_int_equal(age_key_wrap(&w, recipient, ephemeral, file_key), 0);
    age_write_stanza(&w, "unknown with arguments", "", 0);
    assert_int_equal(age_key_finish(&w, file_key), 0);
    assert_int_equal(age_object_open(&drive, &name, head, w.len + AGE_NONCE_SIZE, NULL, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_FOREIGN);
    assert_int_equal(age_object_bind(&drive, &name, head, w.len + AGE_NONCE_SIZE, binding, &e), -EINVAL);
}

/* After an identity was replaced, what was written before still opens and is still bound. */
static void old_identities_go_on_opening(void **state)
{
    uint8_t head[OBJECT_HEAD_MAX], newer[OBJECT_HEAD_MAX];
    struct drive_keys before = drive;
    struct wrapped_key payload;
    struct object_opened o;
    size_t n = make_object(1, head, &payload), newer_n;

    (void)state;
    assert_int_equal(drive_keys_rotate(&drive, true, &e), 0);
    newer_n = make_object(2, newer, &payload);
    assert_int_equal(age_object_open(&drive, &name, head, n, NULL, &o, &e), 0);
    assert_int_equal(o.bound, OBJECT_BOUND);
    assert_int_equal(age_object_open(&drive, &name, newer, newer_n, NULL, &o, &e), 0);
    assert_int_equal(o.version, 2);
    assert_int_equal(age_object_open(&before, &name, newer, newer_n, NULL, &o, &e), -ENOKEY);
    assert_int_equal(drive_keys_forget(&drive, 1, &e), 0);
    assert_int_equal(age_object_open(&drive, &name, head, n, NULL, &o, &e), -ENOKEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_read_as_age_writes_them),
        cmocka_unit_test(other_text_is_no_key),
        cmocka_unit_test(headers_are_read_strictly),
        cmocka_unit_test(a_header_that_ends_early_needs_more),
        cmocka_unit_test(a_header_has_a_limit),
        cmocka_unit_test(sizes_go_both_ways),
        cmocka_unit_test(a_chunk_opens_alone_and_at_its_place),
        cmocka_unit_test_setup_teardown(objects_open_under_their_name, make, drop),
        cmocka_unit_test_setup_teardown(a_moved_object_says_so_beside_it, make, drop),
        cmocka_unit_test_setup_teardown(every_byte_of_a_header_counts, make, drop),
        cmocka_unit_test_setup_teardown(a_stanza_does_not_go_with_another_file, make, drop),
        cmocka_unit_test_setup_teardown(a_stanza_of_ours_has_one_form, make, drop),
        cmocka_unit_test_setup_teardown(an_object_without_our_stanza_is_foreign, make, drop),
        cmocka_unit_test_setup_teardown(old_identities_go_on_opening, make, drop),
    };

    return cmocka_run_group_tests(tests, make, drop);
}
