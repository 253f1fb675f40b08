/* What the table of commands says, the manual page and the completions say, too. */
#include "cli/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"

enum { TEXT_SIZE = 1 << 20, WORDS_MAX = 512 };

static char manual[TEXT_SIZE], shells[3][TEXT_SIZE];

/* --- what is compared ------------------------------------------------------------------------------------- */

/* Without its escapes: "\\fB\\-\\-json\\fR" is "--json". */
static void read_manual(void)
{
    const char *source = getenv("srcdir");
    char path[4096];
    FILE *f;
    size_t n = 0;
    int c;

    (void)snprintf(path, sizeof(path), "%s/docs/man/landfall.1", source ? source : ".");
    f = fopen(path, "r");
    assert_non_null(f);
    while ((c = getc(f)) != EOF && n < TEXT_SIZE - 1) {
        if (c != '\\') {
            manual[n++] = (char)c;
            continue;
        }
        c = getc(f);
        if (c == 'f')
            (void)getc(f);
        else
            manual[n++] = (char)c;
    }
    (void)fclose(f);
}

static void read_shell(const char *shell, char out[TEXT_SIZE])
{
    char *argv[] = { (char *)"completion", strdup(shell), NULL };
    int stdout_now = dup(STDOUT_FILENO);
    FILE *f = tmpfile();

    assert_non_null(f);
    (void)fflush(stdout);
    assert_true(dup2(fileno(f), STDOUT_FILENO) >= 0);
    assert_int_equal(command_run_row(command_find(commands, "completion"), 2, argv), EXIT_SUCCESS);
    (void)fflush(stdout);
    assert_true(dup2(stdout_now, STDOUT_FILENO) >= 0);
    (void)close(stdout_now);
    rewind(f);
    assert_true(fread(out, 1, TEXT_SIZE - 1, f) > 100);
    (void)fclose(f);
}

static int setup(void **state)
{
    static const char *const names[] = { "bash", "zsh", "fish" };

    (void)state;
    read_manual();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        read_shell(names[i], shells[i]);
    return 0;
}

/* --- the table -------------------------------------------------------------------------------------------- */

static void assert_has(const char *text, size_t n, const char *word, const char *where)
{
    if (!memmem(text, n, word, strlen(word)))
        fail_msg("%s is not in %s", word, where);
}

/* The entry of the manual: from its head to the next one. */
static const char *find_entry(const char *name, size_t *ret_n)
{
    char head[256];
    const char *at, *end;

    (void)snprintf(head, sizeof(head), "\nlandfall %s", name);
    at = strstr(manual, head);
    while (at && !strchr(" \n", at[strlen(head)]))
        at = strstr(at + 1, head);
    if (!at)
        fail_msg("landfall %s has no entry in the manual", name);
    end = strstr(at, "\n.TP");
    *ret_n = end ? (size_t)(end - at) : strlen(at);
    return at;
}

static void check_option(const char *entry, size_t n, const char *option)
{
    char fish[64];

    assert_has(entry, n, option, "the entry of its command in the manual");
    assert_has(shells[0], strlen(shells[0]), option, "the completion for bash");
    assert_has(shells[1], strlen(shells[1]), option, "the completion for zsh");
    (void)snprintf(fish, sizeof(fish), "%s%s", option[1] == '-' ? "-l " : "-s ", option + (option[1] == '-' ? 2 : 1));
    assert_has(shells[2], strlen(shells[2]), fish, "the completion for fish");
}

static size_t check_options(const struct command *c, const char *entry, size_t n)
{
    CLEANUP_FREE char *copy = strdup(c->arguments);
    size_t options = 0;

    for (char *rest = copy, *word; (word = strsep(&rest, " []()|\n"));)
        if (word[0] == '-' && word[1]) {
            check_option(entry, n, word);
            options++;
        }
    return options;
}

/* Each of its names; returns how many options it has. */
static size_t check_row(const char *above, const struct command *c)
{
    CLEANUP_FREE char *copy = strdup(c->name);
    const char *entry = NULL;
    size_t n = 0;

    for (char *rest = copy, *name; (name = strsep(&rest, "|"));) {
        char full[128];
        size_t its_n;
        const char *its;

        (void)snprintf(full, sizeof(full), "%s%s%s", above, *above ? " " : "", name);
        its = find_entry(full, &its_n);
        entry = entry ? entry : its;
        n = n ? n : its_n;
        for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
            assert_has(shells[i], strlen(shells[i]), name, "a completion");
    }
    return check_options(c, entry, n);
}

static void everything_is_in_the_manual_and_the_completions(void **state)
{
    size_t rows = 0, options = 0;

    (void)state;
    for (const struct command *c = commands; c->name; c++) {
        for (const struct command *v = c->verbs; v && v->name; v++, rows++)
            options += check_row(c->name, v);
        if (!c->verbs)
            options += check_row("", c), rows++;
        assert_true(!c->run == (c->verbs != NULL));
    }
    assert_in_range(rows, 30, WORDS_MAX);
    assert_in_range(options, 50, WORDS_MAX);
}

static void exit_statuses_are_in_the_manual(void **state)
{
    const char *section = strstr(manual, "\n.SH EXIT STATUS"), *end = section ? strstr(section + 1, "\n.SH") : NULL;

    (void)state;
    assert_non_null(end);
    for (size_t i = 0; i < n_exit_codes; i++) {
        char item[32];

        (void)snprintf(item, sizeof(item), "\n.B %d\n", exit_codes[i].code);
        assert_has(section, (size_t)(end - section), item, "the exit statuses of the manual");
    }
}

static void names_are_found(void **state)
{
    const struct command *drive = command_find(commands, "drive");

    (void)state;
    assert_non_null(drive);
    assert_ptr_equal(command_find(drive->verbs, "rm"), command_find(drive->verbs, "remove"));
    assert_null(command_find(drive->verbs, "remove|rm"));
    assert_null(command_find(drive->verbs, "r"));
    assert_null(command_find(drive->verbs, ""));
    assert_null(command_find(commands, "dri"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_in_the_manual_and_the_completions),
        cmocka_unit_test(exit_statuses_are_in_the_manual),
        cmocka_unit_test(names_are_found),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
