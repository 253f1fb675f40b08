/* How fast cryptd seals and opens, through its messages and shared memory, with the pool's threads. Prints a line per
 * kind of work: GB/s of plaintext by the clock, and seconds of CPU for each GiB, this program's own share included.
 *
 *   cryptd_bench [THREADS [SECONDS [WORK]]]       WORK: how the one line begins that is wanted, with all sizes */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "cryptd/age_object.h"
#include "tests/unit/cryptd_fixture.h"

enum { MIB = 1 << 20, IN = 0, OUT = 20 * MIB, SIZE = 40 * MIB, DEPTH = 4, CALL = 5 * MIB };

struct bench {
    struct cryptd_fixture *f;
    struct ipc_client *syncd;
    uint64_t handle;
    uint8_t cache_key[WRAPPED_KEY_SIZE], object_key[WRAPPED_KEY_SIZE];
    double seconds;
    uint8_t *memory;
};

static struct bulk_chunk chunks[DEPTH][BULK_CHUNKS_MAX];

static double now(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t step(enum form form)
{
    return form == FORM_OBJECT ? AGE_SEALED_CHUNK : BULK_CHUNK;
}

/* Each call has places of its own. */
static void lay_out(unsigned call, enum form from, enum form to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        chunks[call][i] = (struct bulk_chunk){
            .number = i, .length = BULK_CHUNK, .in_at = IN + call * CALL + i * step(from),
            .out_at = OUT + call * CALL + i * step(to), .generation = 1, .record = chunks[call][i].record,
        };
}

/* What is opened must have been sealed: in place. */
static void prepare(struct bench *b, unsigned k, enum form from, size_t n, const uint8_t *key)
{
    struct crypt_ask call = { b->handle, FORM_PLAIN, from, NULL, key, chunks[k], n };

    lay_out(k, from, from, n);
    for (size_t i = 0; i < n; i++)
        chunks[k][i].out_at = chunks[k][i].in_at;
    (void)ask_crypt(b->f, b->syncd, &call);
}

/* Keeps `depth` calls of n chunks under way. */
static void run(struct bench *b, const char *name, enum form from, enum form to, size_t n, unsigned depth)
{
    const uint8_t *keys[FORMS] = { [FORM_CACHE] = b->cache_key, [FORM_OBJECT] = b->object_key };
    struct crypt_ask call = { b->handle, from, to, keys[from], keys[to], NULL, n };
    double began, cpu, bytes = 0;

    for (unsigned k = 0; k < depth; k++) {
        if (from != FORM_PLAIN)
            prepare(b, k, from, n, keys[from]);
        lay_out(k, from, to, n);
    }
    began = now(CLOCK_MONOTONIC);
    cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned k = 0; now(CLOCK_MONOTONIC) - began < b->seconds; k++) {
        call.chunks = chunks[k % depth];
        begin_crypt(b->f, b->syncd, &call);
        while (b->f->under_way >= depth)
            (void)event_base_loop(loop_base(b->f->serve.loop), EVLOOP_ONCE);
        bytes += (double)n * BULK_CHUNK;
    }
    while (b->f->under_way > 0)
        (void)event_base_loop(loop_base(b->f->serve.loop), EVLOOP_ONCE);
    began = now(CLOCK_MONOTONIC) - began;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (b->f->code != 0 || b->f->reply->crypted->chunks[0]->code != 0)
        abort();
    printf("%-34s %4zu KiB x %u   %6.2f GB/s   %5.2f CPU s/GiB   %7.1f us a call\n", name, n * BULK_CHUNK / 1024, depth,
           bytes / began / 1e9, cpu / (bytes / (1 << 30)), began * 1e6 * (double)n * BULK_CHUNK / bytes);
}

/* What the algorithm takes, in one thread and without calls, as a measure of the machine at this moment. */
static void baseline(const struct bench *b, const char *name, enum aead a)
{
    uint8_t tag[AEAD_TAG_SIZE];
    static const uint8_t key[KEY_SIZE], nonce[AEAD_NONCE_SIZE];
    double began = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID), bytes = 0;

    for (size_t at = 0; now(CLOCK_MONOTONIC) - began < b->seconds; at = (at + BULK_CHUNK) % (4 * MIB)) {
        (void)aead_seal(a, key, nonce, "", 0, b->memory + IN + at, BULK_CHUNK, b->memory + OUT + at, tag);
        bytes += BULK_CHUNK;
    }
    began = now(CLOCK_MONOTONIC) - began;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%-34s %4d KiB x 1   %6.2f GB/s   %5.2f CPU s/GiB\n", name, BULK_CHUNK / 1024, bytes / began / 1e9,
           cpu / (bytes / (1 << 30)));
}

static void make_object(struct bench *b)
{
    Lf__ObjectMake object = LF__OBJECT_MAKE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(OBJECT_MAKE, object_make, &object);

    object.handle = b->handle;
    object.name = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t)"a/b" };
    object.version = 1;
    if (ask(b->f, b->syncd, &env, -1) < 0)
        abort();
    memcpy(b->object_key, b->f->reply->object_made->key.data, WRAPPED_KEY_SIZE);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum form from, to;
    } rows[] = {
        { "cache seal", FORM_PLAIN, FORM_CACHE }, { "cache open", FORM_CACHE, FORM_PLAIN },
        { "object seal", FORM_PLAIN, FORM_OBJECT }, { "object open", FORM_OBJECT, FORM_PLAIN },
        { "download: object open, cache seal", FORM_OBJECT, FORM_CACHE },
        { "upload: cache open, object seal", FORM_CACHE, FORM_OBJECT },
    };
    static const struct {
        size_t n;
        unsigned depth;
    } shapes[] = { { 1, 1 }, { 16, 1 }, { 64, DEPTH } };
    unsigned threads = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2;
    const char *wanted = argc > 3 ? argv[3] : "";
    struct bench b = { .seconds = argc > 2 ? strtod(argv[2], NULL) : 1 };
    int fd;

    b.memory = shared_memory(SIZE, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, &fd);
    b.f = cryptd_fixture_new(threads);
    b.syncd = cryptd_client(b.f, ROLE_SYNCD);
    b.handle = ask_drive(b.f, b.syncd, FIXTURE_DRIVE, NULL, NULL);
    if (ask_region(b.f, b.syncd, fd) < 0 || ask_cache_key(b.f, b.syncd, b.handle, b.cache_key) < 0)
        return EXIT_FAILURE;
    make_object(&b);
    memset(b.memory, 0x33, SIZE);
    printf("%u threads, %s\n", threads, aead_fastest() == AEAD_AES_256_GCM ? "AES-256-GCM" : "ChaCha20-Poly1305");
    baseline(&b, "one pass alone, AES-256-GCM", AEAD_AES_256_GCM);
    baseline(&b, "one pass alone, ChaCha20-Poly1305", AEAD_CHACHA20_POLY1305);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (size_t k = 0; k < ARRAY_SIZE(shapes) && strncmp(rows[i].name, wanted, strlen(wanted)) == 0; k++)
            run(&b, rows[i].name, rows[i].from, rows[i].to, shapes[k].n, shapes[k].depth);
    ipc_client_free(b.syncd);
    cryptd_fixture_free(b.f);
    return EXIT_SUCCESS;
}
