/* What unlocks the key store where that is a passphrase: asked for before the daemons start, kept in memory that is not
 * swapped, since each cryptd that follows needs it again, and handed over as a descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/run.h"
#include "cli/secret_line.h"
#include "common/cleanup.h"

enum { LINE_SIZE = 1024 + 1, KIND_AT = 9, KIND_PASSPHRASE = 2 };   /* docs/FORMATS.md, "Key store" */

/* What the store says of itself; 0: there is none yet, or it cannot be read, which cryptd will say. */
static int kind_of_store(const struct run_plan *p)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_CLOSE int fd = -1;
    uint8_t kind = 0;

    if (asprintf(&path, "%s/keys", p->config->key_dir) < 0)
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && pread(fd, &kind, 1, KIND_AT) == 1 ? kind : 0;
}

static bool there_is_a_store(const struct run_plan *p)
{
    CLEANUP_FREE char *path = NULL;

    return asprintf(&path, "%s/keys", p->config->key_dir) > 0 && access(path, F_OK) == 0;
}

static int keep(const char *line, int *ret, struct error *e)
{
    size_t n = strlen(line);
    int fd = memfd_create("landfall-passphrase", MFD_CLOEXEC);
    void *memory = fd < 0 || ftruncate(fd, LINE_SIZE) < 0
        ? MAP_FAILED : mmap(NULL, LINE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (memory == MAP_FAILED || mlock(memory, LINE_SIZE) < 0 || madvise(memory, LINE_SIZE, MADV_DONTDUMP) < 0 ||
        ftruncate(fd, (off_t)n) < 0 || pwrite(fd, line, n, 0) != (ssize_t)n) {
        (void)close(fd);
        return error_set(e, -ENOMEM, "There is no memory for a passphrase that could be locked.");
    }
    *ret = fd;
    return 0;
}

static int read_line(const char *prompt, char line[LINE_SIZE], struct error *e)
{
    int n = secret_line(prompt, line, LINE_SIZE, e);

    if (n > 0)
        return 0;
    return n < 0 && n != -ENODATA ? n : error_set(e, -EINVAL, "No passphrase was given. It is asked for on a terminal, "
                                                  "or read from stdin, one line each.");
}

static int ask_present(int *ret, struct error *e)
{
    char line[LINE_SIZE];
    int r = read_line("Passphrase of the key store", line, e);

    if (r == 0)
        r = keep(line, ret, e);
    explicit_bzero(line, sizeof(line));
    return r;
}

static int ask_new(int *ret, struct error *e)
{
    char line[LINE_SIZE], again[LINE_SIZE];
    int r = read_line("New passphrase", line, e);

    if (r == 0)
        r = read_line("New passphrase, once more", again, e);
    if (r == 0 && strcmp(line, again) != 0)
        r = error_set(e, -EINVAL, "The two are not the same; nothing was changed.");
    if (r == 0)
        r = keep(line, ret, e);
    explicit_bzero(line, sizeof(line));
    explicit_bzero(again, sizeof(again));
    return r;
}

int run_passphrase_ask(struct run_passphrase *pass, const struct run_plan *p, bool change, struct error *e)
{
    int r = kind_of_store(p) == KIND_PASSPHRASE ? ask_present(&pass->now, e) : 0;

    if (r < 0 || !change)
        return r;
    return ask_new(there_is_a_store(p) ? &pass->next : &pass->now, e);
}

void run_passphrase_rewind(const struct run_passphrase *pass)
{
    (void)lseek(pass->now, 0, SEEK_SET);
    (void)lseek(pass->next, 0, SEEK_SET);
}
