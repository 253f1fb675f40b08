/* `landfall completion`: what a shell has to know to complete the commands, all of it from their table: words of
 * commands and verbs, and the options that stand in their arguments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "common/cleanup.h"

typedef void word_fn(const char *word, size_t n, void *arg);

/* --- words of the table ------------------------------------------------------------------------------- */

/* Both of "remove|rm". */
static void each_name(const struct command *c, word_fn *fn, void *arg)
{
    for (const char *at = c->name; *at; at += strspn(at, "|")) {
        size_t n = strcspn(at, "|");

        fn(at, n, arg);
        at += n;
    }
}

static void each_option(const struct command *c, word_fn *fn, void *arg)
{
    static const char letters[] = "-abcdefghijklmnopqrstuvwxyz0123456789";

    for (const char *at = c->arguments; (at = strchr(at, '-'));) {
        size_t n = strspn(at, letters);

        if ((at == c->arguments || strchr(" [(|\n", at[-1])) && n > 1)
            fn(at, n, arg);
        at += n;
    }
}

static void put_word(const char *word, size_t n, void *arg)
{
    (void)arg;
    printf("%.*s ", (int)n, word);
}

/* Of a doc the first line, without what quotes end at. */
static void put_doc(const struct command *c)
{
    for (const char *s = c->doc; *s && *s != '\n'; s++)
        if (!strchr("'\"\\`$", *s))
            putchar(*s);
}

/* --- bash and zsh: a case for each command and verb --------------------------------------------------- */

struct place {
    const struct command *above;   /* NULL: the command is one of the first word */
    const struct command *c;
};

static void put_pattern(const char *word, size_t n, void *arg)
{
    const struct place *p = arg;

    printf("%s'%s%s%.*s'", p->c->name == word ? "" : "|", p->above ? p->above->name : "", p->above ? " " : "", (int)n,
           word);
}

static void put_case(struct place p)
{
    printf("        ");
    each_name(p.c, put_pattern, &p);
    printf(") words=\"");
    for (const struct command *v = p.c->verbs; v && v->name; v++)
        each_name(v, put_word, NULL);
    if (!p.c->verbs)
        each_option(p.c, put_word, NULL);
    printf("\";;\n");
}

static void put_cases(void)
{
    for (const struct command *c = commands; c->name; c++) {
        put_case((struct place){ NULL, c });
        for (const struct command *v = c->verbs; v && v->name; v++)
            put_case((struct place){ c, v });
    }
}

static void put_first_words(void)
{
    for (const struct command *c = commands; c->name; c++)
        each_name(c, put_word, NULL);
}

/* Names of commands with verbs, as a pattern. */
static void put_groups(void)
{
    const char *bar = "";

    for (const struct command *c = commands; c->name; c++)
        if (c->verbs) {
            printf("%s%s", bar, c->name);
            bar = "|";
        }
}

static void put_bash(void)
{
    printf("# landfall(1): source this, or put it into /usr/share/bash-completion/completions/landfall\n"
           "_landfall()\n{\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} key=${COMP_WORDS[1]} words='' verb=''\n"
           "    case $key in\n        ");
    put_groups();
    printf(") verb=yes; [ \"$COMP_CWORD\" -lt 3 ] || key=\"$key ${COMP_WORDS[2]}\";;\n    esac\n"
           "    [ \"$COMP_CWORD\" -gt 1 ] || key=''\n"
           "    case $key in\n        '') words=\"");
    put_first_words();
    printf("\";;\n");
    put_cases();
    printf("    esac\n"
           "    if [ \"$COMP_CWORD\" = 1 ] || [ \"$verb$COMP_CWORD\" = yes2 ] || [ \"${cur#-}\" != \"$cur\" ]; then\n"
           "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
           "    else\n"
           "        compopt -o filenames 2>/dev/null\n"
           "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
           "    fi\n}\n"
           "complete -F _landfall landfall\n");
}

static void put_zsh(void)
{
    printf("#compdef landfall\n"
           "# landfall(1): put this as _landfall into a directory of $fpath\n"
           "_landfall()\n{\n"
           "    local cur=${words[CURRENT]} key=${words[2]} verb='' given=''\n"
           "    case $key in\n        ");
    put_groups();
    printf(") verb=yes; (( CURRENT < 4 )) || key=\"$key ${words[3]}\";;\n    esac\n"
           "    (( CURRENT > 2 )) || key=''\n"
           "    local at=$CURRENT\n"
           "    () {\n    local words=''\n"
           "    case $key in\n        '') words=\"");
    put_first_words();
    printf("\";;\n");
    put_cases();
    printf("    esac\n    given=$words\n    }\n"
           "    if (( at == 2 )) || [[ $verb$at == yes3 || $cur == -* ]]; then\n"
           "        compadd -- ${=given}\n"
           "    else\n"
           "        _files\n"
           "    fi\n}\n"
           "if [[ ${funcstack[1]:-} == _landfall ]]; then _landfall \"$@\"; else compdef _landfall landfall; fi\n");
}

/* --- fish: a line for each word ----------------------------------------------------------------------- */

static void put_seen(const struct command *c)
{
    printf("__fish_seen_subcommand_from ");
    each_name(c, put_word, NULL);
}

static void put_condition(const struct place *p)
{
    if (p->above) {
        put_seen(p->above);
        printf("; and ");
    }
    put_seen(p->c);
}

static void put_fish_option(const char *word, size_t n, void *arg)
{
    const struct place *p = arg;

    printf("complete -c landfall -n '");
    put_condition(p);
    if (n == 2)
        printf("' -s %.1s\n", word + 1);
    else
        printf("' -l %.*s\n", (int)n - 2, word + 2);
}

static void put_fish_name(const char *word, size_t n, void *arg)
{
    const struct place *p = arg;

    printf("complete -c landfall -f -n '");
    if (p->above) {
        put_seen(p->above);
        printf("; and not __fish_seen_subcommand_from ");
        for (const struct command *v = p->above->verbs; v->name; v++)
            each_name(v, put_word, NULL);
    } else {
        printf("__fish_use_subcommand");
    }
    printf("' -a '%.*s' -d '", (int)n, word);
    put_doc(p->c);
    printf("'\n");
}

static void put_fish(void)
{
    printf("# landfall(1): put this into ~/.config/fish/completions/landfall.fish\n");
    for (const struct command *c = commands; c->name; c++) {
        struct place p = { NULL, c };

        each_name(c, put_fish_name, &p);
        if (!c->verbs)
            each_option(c, put_fish_option, &p);
        for (const struct command *v = c->verbs; v && v->name; v++) {
            struct place below = { c, v };

            each_name(v, put_fish_name, &below);
            each_option(v, put_fish_option, &below);
        }
    }
}

/* --- commands ----------------------------------------------------------------------------------------- */

static int print(int argc, char **argv, void (*put)(void))
{
    if (argc == 1) {
        put();
        return EXIT_SUCCESS;
    }
    fprintf(stderr, "landfall %s: %s is one word too many.\n", argv[0], argv[1]);
    return EXIT_USAGE;
}

static int bash(int argc, char **argv)
{
    return print(argc, argv, put_bash);
}

static int zsh(int argc, char **argv)
{
    return print(argc, argv, put_zsh);
}

static int fish(int argc, char **argv)
{
    return print(argc, argv, put_fish);
}

const struct command completion_verbs[] = {
    { "bash", "", "to be sourced, or put into a directory of completions", bash, NULL },
    { "zsh", "", "to be put as _landfall into a directory of $fpath", zsh, NULL },
    { "fish", "", "to be put into ~/.config/fish/completions", fish, NULL },
    { 0 },
};
