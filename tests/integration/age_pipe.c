/* Opens and makes objects as cryptd does, for tests/integration/test_age.py.
 *
 *   age_pipe open KEYFILE            age file on stdin, plaintext on stdout
 *   age_pipe make KEYFILE ESCROW...  the other way, as the object "test/name", version 7
 *   age_pipe recipient KEYFILE
 *
 * KEYFILE has an identity in each line that begins as one. The exit status says what was wrong. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "cryptd/age_object.h"
#include "cryptd/x25519.h"

enum { INPUT_MAX = 64 * 1024 * 1024, IDENTITIES_MAX = 16 };
enum { BAD_USE = 1, BAD_HEADER = 2, NO_MATCH = 3, BAD_MAC = 4, BAD_PAYLOAD = 5 };

static uint8_t identities[IDENTITIES_MAX][KEY_SIZE];
static char first_identity[AGE_IDENTITY_LENGTH + 1];
static size_t n_identities;

static void read_identities(const char *path)
{
    CLEANUP_FCLOSE FILE *f = fopen(path, "re");
    char line[512];

    while (f && fgets(line, sizeof(line), f) && n_identities < IDENTITIES_MAX) {
        line[strcspn(line, "\n")] = '\0';
        if (bech32_decode(AGE_IDENTITY_PREFIX, line, identities[n_identities]) < 0)
            continue;
        if (n_identities++ == 0)
            memcpy(first_identity, line, sizeof(first_identity));
    }
}

static uint8_t *read_all(size_t *ret_n)
{
    uint8_t *all = malloc(INPUT_MAX + 1);

    if (!all)
        exit(BAD_USE);
    *ret_n = fread(all, 1, INPUT_MAX + 1, stdin);
    if (*ret_n > INPUT_MAX)
        exit(BAD_USE);
    return all;
}

static void put(const void *data, size_t n)
{
    if (fwrite(data, 1, n, stdout) != n)
        exit(BAD_USE);
}

/* --- opening ----------------------------------------------------------------------------------- */

/* As a stream is read: chunk after chunk, where the size says which is the last one. */
static int open_payload(const uint8_t file_key[AGE_FILE_KEY_SIZE], const uint8_t *payload, size_t n)
{
    uint8_t key[KEY_SIZE], plain[AGE_CHUNK];
    uint64_t size, chunks, sealed = n - AGE_NONCE_SIZE;
    bool whole = age_plain_size(n, &size) == 0;

    chunks = whole ? age_chunks(size) : (sealed + AGE_SEALED_CHUNK - 1) / AGE_SEALED_CHUNK;
    if (age_payload_key(file_key, payload, key) < 0)
        return BAD_USE;
    for (uint64_t i = 0; i < chunks; i++) {
        const uint8_t *at = payload + AGE_NONCE_SIZE + i * AGE_SEALED_CHUNK;
        uint64_t left = sealed - i * AGE_SEALED_CHUNK, length = left < AGE_SEALED_CHUNK ? left : AGE_SEALED_CHUNK;

        if (length < AEAD_TAG_SIZE ||
            age_open_chunk(key, i, i + 1 == chunks, at, length - AEAD_TAG_SIZE, plain) < 0)
            return BAD_PAYLOAD;
        if (i > 0 && length == AEAD_TAG_SIZE)
            return BAD_PAYLOAD;
        put(plain, length - AEAD_TAG_SIZE);
    }
    return whole ? 0 : BAD_PAYLOAD;
}

static int open_file(void)
{
    static struct age_header header;
    uint8_t file_key[AGE_FILE_KEY_SIZE];
    size_t n, which;
    CLEANUP_FREE uint8_t *all = read_all(&n);
    int r = age_header_read((const char *)all, n, &header);

    if (r < 0)
        return BAD_HEADER;
    r = age_key_find(&header, (const char *)all, (const uint8_t(*)[KEY_SIZE])identities, n_identities, file_key, &which);
    if (r < 0)
        return r == -ENOKEY ? NO_MATCH : r == -EBADMSG ? BAD_MAC : BAD_HEADER;
    if (n - header.size < AGE_NONCE_SIZE)
        return BAD_HEADER;
    return open_payload(file_key, all + header.size, n - header.size);
}

/* --- making ------------------------------------------------------------------------------------ */

static int make_file(char **escrow, size_t n_escrow)
{
    static struct drive_keys keys;
    static uint8_t head[OBJECT_HEAD_MAX], sealed[AGE_SEALED_CHUNK];
    const struct object_name name = { "test/name", 9 };
    struct wrapped_key payload;
    size_t n, head_n;
    CLEANUP_FREE uint8_t *all = read_all(&n);
    struct error e;
    uint64_t chunks = age_chunks(n);

    if (drive_keys_make(&keys, "01234567-89ab-4def-8123-456789abcdef", first_identity, 0, &e) < 0 ||
        drive_keys_set_escrow(&keys, (const char *const *)escrow, n_escrow, &e) < 0 ||
        age_object_make(&keys, &name, 7, head, &head_n, &payload, &e) < 0)
        return BAD_USE;
    put(head, head_n);
    for (uint64_t i = 0; i < chunks; i++) {
        size_t length = i + 1 < chunks ? AGE_CHUNK : n - i * AGE_CHUNK;

        if (age_seal_chunk(payload.key, i, i + 1 == chunks, all + i * AGE_CHUNK, length, sealed) < 0)
            return BAD_USE;
        put(sealed, length + AEAD_TAG_SIZE);
    }
    return 0;
}

static int show_recipient(void)
{
    uint8_t own[KEY_SIZE];
    char text[AGE_RECIPIENT_LENGTH + 1];

    if (n_identities == 0 || x25519_public(identities[0], own) < 0)
        return BAD_USE;
    bech32_encode(AGE_RECIPIENT_PREFIX, own, false, text);
    (void)puts(text);
    return 0;
}

int main(int argc, char **argv)
{
    struct error e;
    int status = BAD_USE;

    if (argc < 3 || aead_begin(&e) < 0)
        return BAD_USE;
    read_identities(argv[2]);
    if (strcmp(argv[1], "open") == 0)
        status = open_file();
    else if (strcmp(argv[1], "make") == 0)
        status = make_file(argv + 3, (size_t)argc - 3);
    else if (strcmp(argv[1], "recipient") == 0)
        status = show_recipient();
    return fflush(stdout) == 0 ? status : BAD_USE;
}
