/* Does random things to one file, in every way a program can, and knows what must be in it: after each read the bytes are compared
 * with a copy in memory. The seed says what is done; it is printed with the last operations when something is wrong.
 *
 *   file_exerciser [-s SEED] [-n OPERATIONS] [-t SECONDS] [-m MOST_BYTES] FILE
 *
 * Ends with 0 and a line of figures, 1 and what was wrong, or 2. Punching and zeroing are left out where they are not
 * supported. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    REMEMBERED = 40,
    LINE = 120,
    PIECE_MAX = 256 * 1024,
    MOST_DEFAULT = 4 * 1024 * 1024,
};

/* The file, and what must be in it. */
static struct {
    const char *path;
    int fd, direct;           /* the second for O_DIRECT */
    uint8_t *mapped;          /* a mapping that stays for a while, of `most` bytes */
    uint8_t *right;           /* the content; zeros up to `most` */
    uint8_t *buffer;          /* PIECE_MAX, aligned */
    size_t size, most;
    uint64_t seed, dice;
    uint64_t n;               /* operations so far */
    char last[REMEMBERED][LINE];
    double longest;
    char longest_name[LINE];
} it = { .fd = -1, .direct = -1, .most = MOST_DEFAULT, .seed = 1 };

/* --- dice: xorshift64* ------------------------------------------------------------------------------ */

static uint64_t roll(uint64_t below)
{
    it.dice ^= it.dice >> 12;
    it.dice ^= it.dice << 25;
    it.dice ^= it.dice >> 27;
    return below ? it.dice * UINT64_C(2685821657736338717) % below : 0;
}

/* Most lengths are short, some reach over several chunks. */
static size_t roll_length(size_t most)
{
    static const size_t kinds[] = { 64, PAGE, 3 * PAGE, 65536, PIECE_MAX };
    size_t n = 1 + roll(kinds[roll(sizeof(kinds) / sizeof(kinds[0]))]);

    return n < most ? n : most;
}

/* --- what was done ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
    char *line = it.last[it.n % REMEMBERED];
    int n = snprintf(line, LINE, "%8" PRIu64 "  ", it.n);
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line + n, (size_t)(LINE - n), fmt, args);
    va_end(args);
}

__attribute__((noreturn, format(printf, 1, 2))) static void wrong(const char *fmt, ...)
{
    uint64_t first = it.n < REMEMBERED ? 0 : it.n - REMEMBERED + 1;
    va_list args;

    printf("%s: ", it.path);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    printf("\nrepeat with -s %" PRIu64 ", the last operations were:\n", it.seed);
    for (uint64_t i = first; i <= it.n; i++)
        puts(it.last[i % REMEMBERED]);
    exit(1);
}

static void must(bool fine, const char *what)
{
    if (!fine)
        wrong("%s: %s", what, strerror(errno));
}

static void compare(const uint8_t *found, size_t at, size_t n)
{
    size_t first = 0, last = n;

    if (memcmp(found, it.right + at, n) == 0)
        return;
    while (found[first] == it.right[at + first])
        first++;
    while (found[last - 1] == it.right[at + last - 1])
        last--;
    wrong("bytes %zu to %zu of %zu are wrong, the first is %02x instead of %02x", at + first, at + last - 1, it.size,
          found[first], it.right[at + first]);
}

static void compare_size(void)
{
    struct stat st;

    must(fstat(it.fd, &st) == 0, "fstat");
    if ((size_t)st.st_size != it.size)
        wrong("fstat says %jd bytes, there are %zu", (intmax_t)st.st_size, it.size);
}

/* --- what it should be -------------------------------------------------------------------------------- */

static void set_size(size_t size)
{
    if (size < it.size)
        memset(it.right + size, 0, it.size - size);
    it.size = size;
}

/* New bytes for [at, at + n), in the buffer and in the copy. */
static void invent(size_t at, size_t n)
{
    uint64_t word = roll(UINT64_MAX);

    for (size_t i = 0; i < n; i++)
        it.buffer[i] = (uint8_t)(word >> i % 7 * 8) ^ (uint8_t)(i >> 9);
    memcpy(it.right + at, it.buffer, n);
    if (at + n > it.size)
        it.size = at + n;
}

/* --- operations ------------------------------------------------------------------------------------- */

static void read_some(void)
{
    size_t at = roll(it.size + 1), n = roll_length(PIECE_MAX), expected = it.size - at < n ? it.size - at : n;
    ssize_t got;

    note("read %zu at %zu", n, at);
    got = pread(it.fd, it.buffer, n, (off_t)at);
    must(got >= 0, "pread");
    if ((size_t)got != expected)
        wrong("%zd bytes were read, %zu are there", got, expected);
    compare(it.buffer, at, expected);
}

static void write_some(void)
{
    size_t at = roll(2) ? roll(it.size + 1) : roll(it.most), n = roll_length(it.most - at);

    if (n == 0)
        return;
    note("write %zu at %zu", n, at);
    invent(at, n);
    must(pwrite(it.fd, it.buffer, n, (off_t)at) == (ssize_t)n, "pwrite");
}

static void append_some(void)
{
    size_t n = roll_length(it.most - it.size);

    if (n == 0)
        return;
    note("append %zu at %zu", n, it.size);
    must(lseek(it.fd, 0, SEEK_END) == (off_t)it.size, "lseek to the end");
    invent(it.size, n);
    must(write(it.fd, it.buffer, n) == (ssize_t)n, "write");
}

static void direct_read(void)
{
    size_t at = roll(it.size / PAGE + 1) * PAGE, n = (1 + roll(PIECE_MAX / PAGE)) * PAGE;
    size_t expected = it.size - at < n ? it.size - at : n;
    ssize_t got;

    note("direct read %zu at %zu", n, at);
    got = pread(it.direct, it.buffer, n, (off_t)at);
    must(got >= 0, "direct pread");
    if ((size_t)got != expected)
        wrong("%zd bytes were read, %zu are there", got, expected);
    compare(it.buffer, at, expected);
}

static void direct_write(void)
{
    size_t at = roll(it.most / PAGE) * PAGE, n = (1 + roll(16)) * PAGE;

    if (at + n > it.most)
        return;
    note("direct write %zu at %zu", n, at);
    invent(at, n);
    must(pwrite(it.direct, it.buffer, n, (off_t)at) == (ssize_t)n, "direct pwrite");
}

static uint8_t *mapping(void)
{
    if (it.mapped)
        return it.mapped;
    it.mapped = mmap(NULL, it.most, PROT_READ | PROT_WRITE, MAP_SHARED, it.fd, 0);
    must(it.mapped != MAP_FAILED, "mmap");
    return it.mapped;
}

static void unmap(void)
{
    if (it.mapped)
        must(munmap(it.mapped, it.most) == 0, "munmap");
    it.mapped = NULL;
}

static void map_read(void)
{
    size_t at = roll(it.size + 1), n = roll_length(it.size - at);

    if (n == 0)
        return;
    note("read of a mapping, %zu at %zu", n, at);
    memcpy(it.buffer, mapping() + at, n);
    compare(it.buffer, at, n);
}

static void map_write(void)
{
    size_t at = roll(it.size + 1), n = roll_length(it.size - at);

    if (n == 0)
        return;
    note("write to a mapping, %zu at %zu", n, at);
    invent(at, n);
    memcpy(mapping() + at, it.buffer, n);
}

static void end_mapping(void)
{
    note("unmap");
    unmap();
}

static void sync_mapping(void)
{
    note("msync");
    if (it.mapped)
        must(msync(it.mapped, it.size, MS_SYNC) == 0, "msync");
}

static void cut(void)
{
    size_t size = roll(2) ? roll(it.size + 1) : roll(it.most);

    note("truncate %zu to %zu", it.size, size);
    set_size(size);
    must(ftruncate(it.fd, (off_t)size) == 0, "ftruncate");
}

/* False: the file system does not do this, and nothing has happened. */
static bool allocate(int mode, size_t at, size_t n, const char *what)
{
    if (fallocate(it.fd, mode, (off_t)at, (off_t)n) == 0)
        return true;
    must(errno == EOPNOTSUPP && mode != 0, what);
    return false;
}

static void reserve(void)
{
    size_t at = roll(it.most), n = roll_length(it.most - at);

    if (n == 0)
        return;
    note("fallocate %zu at %zu", n, at);
    (void)allocate(0, at, n, "fallocate");
    if (at + n > it.size)
        set_size(at + n);
}

static void punch(void)
{
    size_t at = roll(it.size + 1), n = roll_length(it.size - at);

    if (n == 0)
        return;
    note("punch %zu at %zu", n, at);
    if (allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n, "punch"))
        memset(it.right + at, 0, n);
}

static void zero(void)
{
    size_t at = roll(it.most), n = roll_length(it.most - at);

    if (n == 0)
        return;
    note("zero %zu at %zu", n, at);
    if (!allocate(FALLOC_FL_ZERO_RANGE, at, n, "zero range"))
        return;
    if (at + n > it.size)
        set_size(at + n);
    memset(it.right + at, 0, n);
}

/* Within the file, between ranges that do not overlap. */
static void copy(void)
{
    size_t from = roll(it.size + 1), n = roll_length(it.size - from), to;
    off_t in = (off_t)from, out;

    to = roll(it.most - n);
    if (n == 0 || (to < from + n && from < to + n))
        return;
    note("copy %zu from %zu to %zu", n, from, to);
    out = (off_t)to;
    for (size_t left = n; left > 0;) {
        ssize_t done = copy_file_range(it.fd, &in, it.fd, &out, left, 0);

        must(done > 0, "copy_file_range");
        left -= (size_t)done;
    }
    memcpy(it.right + to, it.right + from, n);
    if (to + n > it.size)
        it.size = to + n;
}

static void sync_file(void)
{
    note("fsync");
    must(fsync(it.fd) == 0, "fsync");
}

static void open_file(int flags)
{
    it.fd = open(it.path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0644);
    must(it.fd >= 0, "open");
    it.direct = open(it.path, O_RDWR | O_DIRECT | O_CLOEXEC);
    must(it.direct >= 0, "open for O_DIRECT");
}

static void close_file(void)
{
    unmap();
    must(close(it.fd) == 0, "close");
    must(close(it.direct) == 0, "close");
}

static void reopen(void)
{
    bool empty = roll(20) == 0;

    note(empty ? "close, open with O_TRUNC" : "close, open");
    close_file();
    if (empty)
        set_size(0);
    open_file(empty ? O_TRUNC : 0);
}

/* Through a handle that only reads, as when another program looks: it may be served past the worker. */
static void read_whole(void)
{
    size_t at = 0;
    int fd;

    note("read all, opened anew");
    fd = open(it.path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0, "open to read");
    for (ssize_t n; (n = pread(fd, it.buffer, PIECE_MAX, (off_t)at)) != 0; at += (size_t)n) {
        must(n > 0, "pread");
        if (at + (size_t)n > it.size)
            wrong("at least %zu bytes were read, %zu are there", at + (size_t)n, it.size);
        compare(it.buffer, at, (size_t)n);
    }
    if (at != it.size)
        wrong("%zu bytes were read, %zu are there", at, it.size);
    must(close(fd) == 0, "close");
}

static const struct {
    unsigned weight;
    void (*run)(void);
} operations[] = {
    { 20, read_some },  { 20, write_some },   { 6, append_some }, { 6, direct_read }, { 6, direct_write }, { 10, map_read },
    { 10, map_write },  { 3, end_mapping },   { 2, sync_mapping }, { 8, cut },        { 4, reserve },      { 4, punch },
    { 4, zero },        { 4, copy },          { 3, sync_file },   { 4, reopen },      { 4, read_whole },
};

/* --- all together --------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void step(void)
{
    unsigned all = 0, chosen;
    double began = now(), took;
    size_t i;

    for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        all += operations[i].weight;
    chosen = (unsigned)roll(all);
    for (i = 0; chosen >= operations[i].weight; i++)
        chosen -= operations[i].weight;
    note("nothing");
    operations[i].run();
    compare_size();
    took = now() - began;
    if (took > it.longest) {
        it.longest = took;
        (void)snprintf(it.longest_name, LINE, "%s", it.last[it.n % REMEMBERED] + 10);
    }
    it.n++;
}

static int usage(void)
{
    fputs("usage: file_exerciser [-s SEED] [-n OPERATIONS] [-t SECONDS] [-m MOST_BYTES] FILE\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t operations_most = UINT64_MAX;
    double end = 0;
    int c;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((c = getopt(argc, argv, "s:n:t:m:")) != -1) {
        uint64_t number = c == '?' ? 0 : strtoull(optarg, NULL, 10);

        switch (c) {
        case 's': it.seed = number; break;
        case 'n': operations_most = number; break;
        case 't': end = now() + (double)number; break;
        case 'm': it.most = number; break;
        default: return usage();
        }
    }
    if (optind + 1 != argc || (operations_most == UINT64_MAX && end <= 0) || it.most < PIECE_MAX)
        return usage();
    it.path = argv[optind];
    it.dice = it.seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    it.right = calloc(1, it.most + PIECE_MAX);
    it.buffer = aligned_alloc(PAGE, PIECE_MAX);
    if (!it.right || !it.buffer)
        return 2;
    open_file(O_TRUNC);
    while (it.n < operations_most && (end <= 0 || now() < end))
        step();
    read_whole();
    close_file();
    printf("seed %" PRIu64 ": %" PRIu64 " operations, the longest took %.0f ms (%s)\n", it.seed, it.n, it.longest * 1000,
           it.longest_name);
    return 0;
}
