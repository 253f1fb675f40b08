/* Owns how a component of a key (what stands between two slashes) and the name of a file stand for each other.
 *
 * A component that can be a name is one. Where it cannot, U+241B SYMBOL FOR ESCAPE, here ^, says so:
 *
 *   ^^        U+241B itself
 *   ^XX       a byte, in upper-case hex: each that is not part of valid UTF-8, and the first '.' of "." and ".."
 *   ^         alone: the empty component (a directory: "a//b" is "b" in "^" in "a")
 *   NAME^     the object "NAME" beside a directory "NAME/", which has the name
 *   HEAD^~HEX a component whose name would be too long: the beginning of that name, and 128 bits of the component's
 *             SHA-256. Nobody can tell the component from it; whoever shows it remembers it.
 *
 * Each component has one name, and each name at most one component: what is written otherwise ("^41" for "A", "^"
 * before anything else) denotes nothing. Must not know what is in the index (store_index.c keeps components beside
 * names). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { NAME_BYTES_MAX = 255, NAME_SIZE = NAME_BYTES_MAX + 1 };

/* Neither components nor names have a '/' in them; that is for others to see to. */

/* The name of the component; `beside`: of the object beside the directory of that name. */
void name_of_key(const char *component, bool beside, char out[NAME_SIZE]);

/* The component that a name denotes, in *ret, owned by the caller, and whether it is the object beside a directory.
 * `known` is the component that a shortened name may stand for; NULL: none. 0, -EINVAL: the name denotes none,
 * -ENAMETOOLONG, or -EILSEQ: not UTF-8. */
int name_to_key(const char *name, size_t len, const char *known, char **ret, bool *ret_beside);

/* The name with nothing in it that needs an escape, for names made from it. Owned by the caller. */
char *name_plain(const char *name);
