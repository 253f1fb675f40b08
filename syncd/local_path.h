/* Files and folders of this machine that a person names for an upload or a download: opened with the served user's
 * rights, which are this process's, through no symbolic link, and never anything but a regular file or a folder. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/error.h"

/* The absolute path in its plain form, "/a/b", for free(); `member` names it. 0; -EINVAL, or -EPERM for a "..", with a
 * sentence. Text alone. */
int local_path(const char *member, const char *given, char **ret, struct error *e);

/* These block. Paths are plain. A descriptor, or a negative errno with a sentence. */
int local_file_open(const char *path, struct stat *ret, struct error *e);   /* for reading */
int local_folder_open(const char *path, struct error *e);

/* The folder at `relative` below `dir`, made where it is not there; "" is `dir` itself. A descriptor or negative errno:
 * -ELOOP, -EXDEV or -ENOTDIR where something else stands in the way. */
int local_folder_make(int dir, const char *relative);

/* A new file in the folder, for its owner alone, with a name that no other one has. A descriptor, or negative errno. */
enum { LOCAL_NAME_SIZE = 256 };
int local_file_make(int dir, char ret_name[LOCAL_NAME_SIZE]);
/* Syncs it and gives it the name `want`, or "want (2).ext" and so on where there is one already: nothing is ever
 * replaced. `ret_name` is what it became. 0 or negative errno. */
int local_file_keep(int dir, int fd, const char *name, const char *want, char ret_name[LOCAL_NAME_SIZE]);
void local_file_remove(int dir, const char *name);
