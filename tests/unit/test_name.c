/* Components of keys and names: each escape, that all come back, and that no two meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/name.h"

static const struct {
    const char *component, *name;
} PAIRS[] = {
    { "plain", "plain" },
    { "", "␛" },
    { ".", "␛2E" },
    { "..", "␛2E." },
    { "...", "..." },
    { ".a", ".a" },
    { "␛", "␛␛" },
    { "a␛b", "a␛␛b" },
    { "␛2E", "␛␛2E" },
    { "a\xff" "b", "a␛FFb" },
    { "\xc0\x80", "␛C0␛80" },
    { "\xed\xa0\x80", "␛ED␛A0␛80" },          /* a surrogate */
    { "\xe2\x90", "␛E2␛90" },                 /* a part of the escape */
    { "\xe2\x90␛", "␛E2␛90␛␛" },
    { "new\nline", "new\nline" },
    { "\u00e9", "\u00e9" },
    { "e\u0301", "e\u0301" },
};

static int to_key(const char *name, const char *known, char **ret, bool *beside)
{
    return name_to_key(name, strlen(name), known, ret, beside);
}

static void the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(PAIRS) / sizeof(PAIRS[0]); i++) {
        CLEANUP_FREE char *back = NULL;
        char name[NAME_SIZE];
        bool beside = true;

        name_of_key(PAIRS[i].component, false, name);
        assert_string_equal(name, PAIRS[i].name);
        assert_int_equal(to_key(name, NULL, &back, &beside), 0);
        assert_string_equal(back, PAIRS[i].component);
        assert_false(beside);
    }
}

static void beside_a_directory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(PAIRS) / sizeof(PAIRS[0]); i++) {
        CLEANUP_FREE char *back = NULL, *expected = NULL;
        char name[NAME_SIZE];
        bool beside = false;

        if (!*PAIRS[i].component)
            continue;
        name_of_key(PAIRS[i].component, true, name);
        assert_true(asprintf(&expected, "%s␛", PAIRS[i].name) > 0);
        assert_string_equal(name, expected);
        assert_int_equal(to_key(name, NULL, &back, &beside), 0);
        assert_string_equal(back, PAIRS[i].component);
        assert_true(beside);
    }
}

static void what_denotes_nothing(void **state)
{
    static const struct {
        const char *name;
        int code;
    } rows[] = {
        { "␛41", -EINVAL }, { "␛2e", -EINVAL }, { "␛2E␛2E", -EINVAL }, { "a␛2E", -EINVAL }, { "␛2", -EINVAL },
        { "␛x", -EINVAL }, { "␛00", -EINVAL }, { "␛2F", -EINVAL }, { "␛2Ea", -EINVAL }, { "␛E2␛90␛9B", -EINVAL },
        { "␛C3␛A9", -EINVAL }, { "␛~", -EINVAL }, { "a␛~00112233445566778899aabbccddeeff", -EINVAL },
        { "", -EINVAL }, { ".", -EINVAL }, { "..", -EINVAL }, { "a\xff", -EILSEQ },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *back = NULL;
        bool beside;

        assert_int_equal(to_key(rows[i].name, "known", &back, &beside), rows[i].code);
        assert_null(back);
    }
}

static void too_long(void **state)
{
    char component[1025], other[1025], name[NAME_SIZE], again[NAME_SIZE];
    CLEANUP_FREE char *back = NULL;
    bool beside;

    (void)state;
    memset(component, 'x', 1024);
    component[1024] = '\0';
    strcpy(other, component);
    other[1023] = 'y';
    name_of_key(component, false, name);
    assert_int_equal(strlen(name), NAME_BYTES_MAX);
    assert_int_equal(to_key(name, NULL, &back, &beside), -EINVAL);
    assert_int_equal(to_key(name, other, &back, &beside), -EINVAL);
    assert_int_equal(to_key(name, component, &back, &beside), 0);
    assert_string_equal(back, component);
    name_of_key(other, false, again);
    assert_string_not_equal(name, again);
    component[256] = '\0';
    name_of_key(component, false, name);
    assert_int_equal(strlen(name), NAME_BYTES_MAX);
    component[255] = '\0';
    name_of_key(component, false, name);
    assert_string_equal(name, component);
    name_of_key(component, true, name);
    assert_int_equal(strlen(name), NAME_BYTES_MAX);
    free(take_ptr(back));
    assert_int_equal(to_key(name, component, &back, &beside), 0);
    assert_true(beside);
    assert_string_equal(back, component);
    memset(component, 'x', 256);
    component[256] = '\0';
    assert_int_equal(name_to_key(component, 256, component, &back, &beside), -ENAMETOOLONG);
}

static void what_a_copy_is_called(void **state)
{
    CLEANUP_FREE char *plain = name_plain("a␛␛b␛FF␛");

    (void)state;
    assert_string_equal(plain, "a__b_FF_");
}

/* --- any bytes ---------------------------------------------------------------------------------------- */

enum { ROUNDS = 20000 };

/* Pieces of which what is wrong most likely is made. */
static const char *const PIECES[] = { "␛", "\xe2", "\x90", "\x9b", ".", "2E", "~", "a", "é", "\xff", "FF", "x\u0301",
                                      "0123456789abcdef0123456789abcdef" };

static char *any(unsigned seed, size_t most)
{
    char *s = xcalloc(1, most + 64);

    srandom(seed);
    for (size_t pieces = (size_t)random() % 9; pieces > 0 && strlen(s) < most; pieces--)
        if (random() % 4 == 0)
            s[strlen(s)] = (char)(random() % 255 + 1);
        else
            strcat(s, PIECES[(size_t)random() % (sizeof(PIECES) / sizeof(PIECES[0]))]);
    for (char *p = s; (p = strchr(p, '/'));)
        *p = '-';
    if (seed % 50 == 0)
        for (size_t n = strlen(s); n && n < most; n++)
            s[n] = s[n % strlen(s)];
    return s;
}

static void components_come_back(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < ROUNDS; seed++) {
        CLEANUP_FREE char *component = any(seed, 900), *back = NULL;
        bool beside = seed % 2 && *component, was;
        char name[NAME_SIZE];

        name_of_key(component, beside, name);
        assert_true(*name && utf8_valid(name, strlen(name)) && strlen(name) <= NAME_BYTES_MAX);
        assert_true(strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/'));
        assert_int_equal(to_key(name, component, &back, &was), 0);
        assert_string_equal(back, component);
        assert_true(was == beside);
    }
}

static void names_mean_what_they_are_of(void **state)
{
    unsigned n = 0;

    (void)state;
    for (unsigned seed = 0; seed < ROUNDS; seed++) {
        CLEANUP_FREE char *name = any(seed, 255), *component = NULL;
        char again[NAME_SIZE];
        bool beside;

        if (to_key(name, NULL, &component, &beside) < 0)
            continue;
        n++;
        name_of_key(component, beside, again);
        assert_string_equal(again, name);
    }
    assert_true(n > ROUNDS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(beside_a_directory),
        cmocka_unit_test(what_denotes_nothing),
        cmocka_unit_test(too_long),
        cmocka_unit_test(what_a_copy_is_called),
        cmocka_unit_test(components_come_back),
        cmocka_unit_test(names_mean_what_they_are_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
