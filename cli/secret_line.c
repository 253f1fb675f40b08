/* Reads without a buffer of its own: what follows the line is for whoever reads next. */
#include "cli/secret_line.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"

static int read_line(char *out, size_t size, struct error *e)
{
    size_t n = 0;

    for (;;) {
        char c;
        ssize_t got = read(STDIN_FILENO, &c, 1);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(e, -errno, "stdin cannot be read: %m.");
        if (got == 0 && n == 0)
            return -ENODATA;
        if (got == 0 || c == '\n')
            break;
        if (c == '\0' || n + 1 >= size)
            return error_set(e, -EINVAL, c ? "That line is longer than %zu bytes." : "That line has a NUL byte.",
                             size - 1);
        out[n++] = c;
    }
    out[n] = '\0';
    return (int)n;
}

/* --- the terminal ---------------------------------------------------------------------------------------- */

static const int ENDS[] = { SIGINT, SIGTERM, SIGHUP };
static struct termios shown;

/* Who gives up while typing has a terminal that shows again what is typed. */
static void on_end(int sig)
{
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    (void)raise(sig);   /* as it was before, by SA_RESETHAND */
}

int secret_line(const char *prompt, char *out, size_t size, struct error *e)
{
    const struct sigaction end = { .sa_handler = on_end, .sa_flags = (int)SA_RESETHAND };
    struct sigaction before[ARRAY_SIZE(ENDS)];
    struct termios hidden;
    int r;

    if (tcgetattr(STDIN_FILENO, &shown) < 0)
        return read_line(out, size, e);
    for (size_t i = 0; i < ARRAY_SIZE(ENDS); i++)
        (void)sigaction(ENDS[i], &end, &before[i]);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    fprintf(stderr, "%s: ", prompt);
    r = read_line(out, size, e);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    for (size_t i = 0; i < ARRAY_SIZE(ENDS); i++)
        (void)sigaction(ENDS[i], &before[i], NULL);
    return r;
}
