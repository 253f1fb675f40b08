/* Which folders of the machine a person may name: as a LocalFolder, or as a drive's cache. Text and the mount table
 * only; nothing here touches the folder itself, which may be dead, slow, or served by this very process. */
#pragma once

#include <stdbool.h>

#include "common/error.h"

struct syncd;

/* A folder whose sub-folders are buckets. 0, or -EINVAL with a sentence: it is no user's data, it overlaps a folder of
 * Landfall's own or a drive's cache, it is the home directory or above it, it is a hidden folder (".ssh")
 * or lies in one, or it lies on a drive. "cloud" beside StateDir, the quickstart's, may lie in hidden folders. */
int place_check_data(const struct syncd *d, const char *path, struct error *e);
/* A file or folder of this machine that a person has uploaded, or downloaded into, by an absolute path without symbolic
 * links. 0, or -EINVAL with a sentence: it lies in a folder of Landfall's own or in a drive's cache. */
int place_check_local(const struct syncd *d, const char *path, struct error *e);
/* Beside that, once: -EINVAL when it lies on a drive, whose bytes only this very process has; for a folder to `write`
 * into also when it is a hidden one or lies in one. */
int place_check_haul(const struct syncd *d, const char *path, bool write, struct error *e);
/* A cache folder that the client names: not in a folder of Landfall's own, apart from every LocalFolder account. */
int place_check_cache(const struct syncd *d, const char *path, struct error *e);
