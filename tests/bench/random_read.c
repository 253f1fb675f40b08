/* Reads each page of a file once, in a random order that is the same for every file of that size, and prints the seconds
 * from before the open to behind the last read.
 *
 *   random_read FILE */
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

static alignas(PAGE) uint8_t page[PAGE];

static void quit(const char *path, const char *why)
{
    (void)fprintf(stderr, "random_read: %s: %s\n", path, why);
    exit(EXIT_FAILURE);
}

/* Marsaglia's xorshift64: any dice will do, as long as they are the same each time. */
static uint64_t dice(void)
{
    static uint64_t x = UINT64_C(0x9e3779b97f4a7c15);

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static void shuffle(off_t *places, size_t n)
{
    for (size_t i = 0; i < n; i++)
        places[i] = (off_t)(i * PAGE);
    for (size_t i = n; i > 1; i--) {
        size_t other = dice() % i;
        off_t place = places[i - 1];

        places[i - 1] = places[other];
        places[other] = place;
    }
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void read_pages(const char *path, const off_t *places, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        quit(path, strerror(errno));
    for (size_t i = 0; i < n; i++) {
        ssize_t got = pread(fd, page, PAGE, places[i]);

        if (got != PAGE)
            quit(path, got < 0 ? strerror(errno) : "it ends too early");
    }
    (void)close(fd);
}

int main(int argc, char **argv)
{
    struct stat st;
    off_t *places;
    double began;
    size_t n;

    if (argc != 2)
        quit("usage", "random_read FILE");
    if (stat(argv[1], &st) < 0)
        quit(argv[1], strerror(errno));
    n = (size_t)st.st_size / PAGE;
    places = calloc(n, sizeof(*places));
    if (!places)
        quit(argv[1], "it has no page, or too many");
    shuffle(places, n);
    began = now();
    read_pages(argv[1], places, n);
    printf("%.9f\n", now() - began);
    free(places);
    return EXIT_SUCCESS;
}
