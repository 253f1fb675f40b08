/* Paths that people and programs name objects by, turned into a drive and a path in it.
 *
 * Accepted: absolute paths below a drive's mount point or its cache folder, and "G:\dir\file" or "G:/dir/file"
 * with the drive's letter in either case. The work is on the text alone: nothing is looked up on disk, so a
 * symbolic link cannot lead anywhere, and a drive's own mount is never waited for. */
#pragma once

#include <stdbool.h>

#include "common/error.h"

struct drive;
struct syncd;

/* 0 with the drive and the path relative to its root (owned by the caller; "" is the root; no empty and no "."
 * components); -EPERM for a "..", -ENOENT when no drive owns the path, each with a sentence. */
int path_resolve(struct syncd *d, const char *path, struct drive **ret, char **ret_relative, struct error *e);

/* The drive alone. 0 or as above. */
int path_owner(struct syncd *d, const char *path, struct drive **ret);

/* Whether an absolute path is `root` or below it. Text alone. */
bool path_below(const char *path, const char *root);

/* What the keys below a folder of a bucket begin with: "/photos/2026" -> "photos/2026/"; "/" and NULL -> "". Owned
 * by the caller. */
char *path_prefix(const char *folder);

/* The relative path cleaned up the same way, owned by the caller. 0, or -EPERM for a "..". */
int path_clean(const char *path, const char *separators, char **ret, struct error *e);
