/* DIR, the directory of an instance: which one is meant, and whether it may be believed.
 *
 * Programs in DIR are started, and processes named in it are ended, with the rights of the caller. So every command
 * asks here before it reads or makes anything in DIR. The rule: nobody but root and the caller may be able to change
 * DIR or to put another directory in its place. That is
 *   - DIR is a directory, not a symbolic link, of root or the caller, and writable by its owner alone;
 *   - so is every directory above it, but that others may write to one where each can remove only his own (/tmp). */
#pragma once

#include <sys/types.h>

#include "common/error.h"

/* The absolute path of `given`, or of the default place when it is NULL: /var/lib/landfall-quickstart for root, else
 * landfall-quickstart in $XDG_DATA_HOME or ~/.local/share. The caller frees *ret. 0, or a negative errno with a
 * sentence: an empty `given` names nothing. */
int dir_resolve(const char *given, char **ret, struct error *e);

/* 0 when the rule holds; -ENOENT when there is no such directory; another negative errno with a sentence. */
int dir_check(const char *dir, struct error *e);

/* Makes DIR and what is missing above it, none of it before the rule holds for what it lies in. DIR has to belong to
 * the caller. As root it is opened for reading when it is empty, since the daemons' users have to reach what is
 * theirs below; one that is closed and holds something is refused. 0 or a
 * negative errno with a sentence. */
int dir_make(const char *dir, struct error *e);

/* Makes DIR/name for the caller, with this mode, in a DIR that was made. 0 or a negative errno with a sentence. */
int dir_make_below(const char *dir, const char *name, mode_t mode, struct error *e);
