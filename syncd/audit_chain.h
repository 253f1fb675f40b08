/* The lines of the audit log as text: how one hangs on the one before, and whether they all do. Pure but for
 * reading. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "syncd/audit.h"

/* "audit-00000000000000000042.log", of the number of its first line. */
enum { AUDIT_NAME_SIZE = 40 };
void audit_name(uint64_t first, char out[AUDIT_NAME_SIZE]);
/* The number in such a name; 0: it is none. */
uint64_t audit_name_first(const char *name);

/* Where a chain ends: the number and hash of its last line. */
struct audit_head {
    uint64_t seq;                 /* 0: there is none yet */
    char hash[AUDIT_HASH_HEX];    /* of 64 zeros before the first one */
};

/* The head of a chain without lines. */
void audit_head_none(struct audit_head *h);
/* Appends the line of `record` (borrowed; seq is set here) to the chain: the text with its newline, the caller's to
 * free. NULL when it would be longer than AUDIT_LINE_MAX. */
char *audit_line(struct audit_head *h, struct json_object *record);

/* What reading a file found. */
struct audit_found {
    struct audit_head head;       /* behind the last good line */
    uint64_t first, lines, bytes; /* good ones; bytes: their length */
    bool torn;                    /* behind them stands one without its end, as a crash leaves it */
    bool begun;                   /* the first line was read: `before` is what it says stood before it */
    char before[AUDIT_HASH_HEX];
    struct error problem;         /* code 0: all others are good */
};
/* Reads the file `name` in the folder, calls each(line, arg) (may be NULL) for every good line, its members parsed and
 * borrowed, until it returns false. A failure to read is a problem, too. */
void audit_read(int dir, const char *name, bool (*each)(struct json_object *line, void *arg), void *arg,
                struct audit_found *ret);
/* The numbers of all files of the folder, rising; the caller's to free. 0 or negative errno. */
int audit_files(int dir, uint64_t **ret, size_t *ret_n);
