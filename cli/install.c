/* `landfall install`: makes DIR and copies the programs that lie beside this one into DIR/bin, where the daemons' users
 * can reach them wherever the source tree is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/dir.h"
#include "cli/run.h"
#include "cli/target.h"
#include "common/cleanup.h"

static const char *const programs[] = {
    "landfall", "landfall-frontd", "landfall-syncd", "landfall-mountd", "landfall-worker", "landfall-cryptd",
};

static int copy_bytes(int from, int to)
{
    ssize_t n;

    while ((n = sendfile(to, from, NULL, 1 << 30)) > 0)
        ;
    return n < 0 || fchmod(to, 0755) < 0 ? -errno : 0;
}

/* Under its name once it is whole: a copy that is running goes on with the file it was started from. */
static int copy_program(const char *from, const char *to, struct error *e)
{
    CLEANUP_FREE char *fresh = NULL;
    CLEANUP_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC);
    CLEANUP_CLOSE int out = -1;
    int r;

    if (in < 0)
        return error_set(e, -errno, "%s is not there: %m; build first.", from);
    if (asprintf(&fresh, "%s.new", to) < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    (void)unlink(fresh);
    out = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    r = out < 0 ? -errno : copy_bytes(in, out);
    if (r == 0 && rename(fresh, to) < 0)
        r = -errno;
    errno = -r;
    return r < 0 ? error_set(e, r, "%s cannot be written: %m.", to) : 0;
}

static int install_program(const char *dir, const char *name, struct error *e)
{
    CLEANUP_FREE char *from = run_spawn_binary(name), *to = NULL;

    if (!from || asprintf(&to, "%s/bin/%s", dir, name) < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    return copy_program(from, to, e);
}

static int install_all(const char *given, struct error *e)
{
    CLEANUP_FREE char *dir = NULL;
    int r = dir_resolve(given, &dir, e);

    if (r == 0)
        r = dir_make(dir, e);
    if (r == 0)
        r = dir_make_below(dir, "bin", 0755, e);
    if (r == 0)
        r = dir_make_below(dir, "log", 0700, e);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(programs); i++)
        r = install_program(dir, programs[i], e);
    return r;
}

int command_install(int argc, char **argv)
{
    return target_run(argc, argv, install_all);
}
