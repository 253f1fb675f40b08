/* The header of an age file (age-encryption.org/v1), as text: no key is known here.
 *
 *   age-encryption.org/v1\n
 *   -> TYPE ARGUMENT ...\n        a stanza: one or more arguments of visible ASCII, one space between them
 *   BASE64\n                      its body: lines of 64 characters and a last one that is shorter, perhaps empty
 *   ...
 *   --- BASE64\n                  32 bytes of HMAC over everything before, "---" included
 *
 * Base64 is without padding and canonical. Nothing else is read: no carriage return, no second space, no version but
 * v1. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    AGE_HEADER_MAX = 32 * 1024,   /* a longer one is refused; age itself has no limit */
    AGE_STANZAS_MAX = 32,         /* trying one costs about 50 us for each identity */
    AGE_BODY_MAX = 64,            /* bytes of a body that are kept; longer bodies are checked as well */
    AGE_MAC_SIZE = 32,
};

struct age_stanza {
    const char *type;             /* borrowed, as is `args` */
    size_t type_len;
    const char *args;             /* what follows the type and a space; NULL: nothing does */
    size_t args_len;
    uint8_t body[AGE_BODY_MAX];
    size_t body_len;              /* of the whole body */
};

struct age_header {
    struct age_stanza stanzas[AGE_STANZAS_MAX];
    size_t n_stanzas;
    size_t covered;               /* bytes that the MAC is over */
    size_t size;                  /* bytes of the header: the payload's nonce begins there */
    uint8_t mac[AGE_MAC_SIZE];
};

/* Reads the header that the `len` bytes begin with; what follows it does not matter. 0; -ENODATA when the bytes end
 * before the header does; -EOPNOTSUPP for another version of age; -EMSGSIZE for more than the limits above; -EINVAL
 * for what is no header of age's. */
int age_header_read(const char *text, size_t len, struct age_header *h);

/* Whether the stanza is of this type. */
int age_stanza_is(const struct age_stanza *s, const char *type);

/* Writing: the version line, stanzas, "---", then the MAC over what is there by then. Into `room` bytes at `data`; what
 * does not fit is not written and shows in `error` at the end. A body has at most 47 bytes. */
struct age_writer {
    char *data;
    size_t len, room;
    int error;                    /* 0 or -EMSGSIZE: then nothing more is written */
};
void age_write_begin(struct age_writer *w);
void age_write_stanza(struct age_writer *w, const char *type_and_args, const void *body, size_t n);
void age_write_end(struct age_writer *w);
void age_write_mac(struct age_writer *w, const uint8_t mac[AGE_MAC_SIZE]);
