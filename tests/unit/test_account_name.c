/* How the accounts of drives are named: after all that tells them apart, in characters that are whole. */
#include "cli/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/keys.h"
#include "common/cleanup.h"
#include "common/text.h"

static char *s3_name(const char *endpoint, const char *region, const char *access)
{
    struct account_wish w = { .endpoint = endpoint, .region = region };
    struct key_pair k = { .access = "" };
    char *name;

    (void)snprintf(k.access, sizeof(k.access), "%s", access);
    name = account_name(&w, &k);
    assert_non_null(name);
    return name;
}

static void region_and_key_tell_accounts_apart(void **state)
{
    static const struct {
        const char *endpoint, *region, *access;
    } rows[] = {
        { "https://s3.example.com", "eu-1", "AKIAFIRSTSAME" }, { "https://s3.example.com", "eu-2", "AKIAFIRSTSAME" },
        { "https://s3.example.com", NULL, "AKIAFIRSTSAME" },   { "https://s3.example.com", "eu-1", "AKIASECONDSAME" },
        { "https://s3.example.com", "eu-1", "AKIAFIRSTSAMe" }, { "https://s3.example.com", "eu-1A", "KIAFIRSTSAME" },
        { "http://s3.example.com", "eu-1", "AKIAFIRSTSAME" },  { "https://s3.example.com:8443", "eu-1", "AKIAFIRSTSAME" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP_FREE char *name = s3_name(rows[i].endpoint, rows[i].region, rows[i].access);
        CLEANUP_FREE char *again = s3_name(rows[i].endpoint, rows[i].region, rows[i].access);

        assert_string_equal(name, again);
        assert_int_equal(strncmp(name, "s3.example.com", 14), 0);
        assert_null(strstr(name, "SAM"));
        for (size_t k = 0; k < i; k++) {
            CLEANUP_FREE char *other = s3_name(rows[k].endpoint, rows[k].region, rows[k].access);

            assert_string_not_equal(name, other);
        }
    }
}

/* What is shown of the place; 13 characters of blank and digest follow. */
static void what_is_shown_ends_with_a_character(void **state)
{
    static const struct {
        const char *folder, *shown;
    } rows[] = {
        { "/srv/cloud", "cloud" },
        { "/", "" },
        { "/srv/12345678901234567890123456789012", "12345678901234567890123456789012" },
        { "/srv/123456789012345678901234567890123", "12345678901234567890123456789012" },
        { "/srv/123456789012345678901234567890\u00e4", "123456789012345678901234567890\u00e4" },
        { "/srv/1234567890123456789012345678901\u00e4", "1234567890123456789012345678901" },
        { "/srv/123456789012345678901234567890\u20ac", "123456789012345678901234567890" },
        { "/srv/1234567890123456789012345678901\u20ac", "1234567890123456789012345678901" },
        { "/srv/12345678901234567890123456789\U0001f980", "12345678901234567890123456789" },
        { "/srv/1234567890123456789012345678\U0001f980", "1234567890123456789012345678\U0001f980" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct account_wish w = { .folder = rows[i].folder };
        struct key_pair k = { .access = "" };
        CLEANUP_FREE char *name = account_name(&w, &k);

        assert_non_null(name);
        assert_true(utf8_valid(name, strlen(name)));
        assert_int_equal(strlen(name), strlen(rows[i].shown) + 13);
        assert_memory_equal(name, rows[i].shown, strlen(rows[i].shown));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(region_and_key_tell_accounts_apart),
        cmocka_unit_test(what_is_shown_ends_with_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
