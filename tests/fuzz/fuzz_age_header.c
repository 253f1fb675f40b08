/* Headers of age files: what is read must be as the format has it, and written again it must be the same bytes. Then
 * the way to the file key with an identity, and an object's head. */
#include <stdlib.h>
#include <string.h>

#include "cryptd/age_object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct drive_keys drive;

static void begin(void)
{
    struct error e;

    if (drive.n_epochs > 0)
        return;
    if (aead_begin(&e) < 0 ||
        drive_keys_make(&drive, "01234567-89ab-4def-8123-456789abcdef",
                        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX", 0, &e) < 0)
        abort();
}

/* Only the bodies that are kept whole and fit one line can be written again. */
static void write_again(const struct age_header *h, const char *text)
{
    static char out[AGE_HEADER_MAX];
    struct age_writer w = { .data = out, .room = sizeof(out) };

    age_write_begin(&w);
    for (size_t i = 0; i < h->n_stanzas; i++) {
        const struct age_stanza *s = &h->stanzas[i];
        size_t n = s->type_len + (s->args ? 1 + s->args_len : 0);
        char *line = malloc(n + 1);

        if (s->body_len >= 48) {
            free(line);
            return;
        }
        memcpy(line, s->type, n);
        line[n] = '\0';
        age_write_stanza(&w, line, s->body, s->body_len);
        free(line);
    }
    age_write_end(&w);
    if (w.len != h->covered)
        abort();
    age_write_mac(&w, h->mac);
    if (w.error || w.len != h->size || memcmp(out, text, w.len) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct age_header h;
    const struct object_name name = { "a/b", 3 };
    struct object_opened opened;
    struct error e = { 0 };
    int r;

    begin();
    r = age_header_read((const char *)data, size, &h);
    if (r == 0)
        write_again(&h, (const char *)data);
    r = age_object_open(&drive, &name, data, size, NULL, &opened, &e);
    if (r != e.code || (r == 0 && opened.head_size > size))
        abort();
    return 0;
}
