/* Uploads and downloads beside the drives, for tests with a syncd_fixture whose cloud is a folder. */
#pragma once

#include "tests/unit/syncd_fixture.h"

/* DIR/NAME. The caller's. */
char *in(const char *dir, const char *name);
/* A file of that size there, full of the first letter of its name. Its path, the caller's. */
char *source(const char *dir, const char *name, size_t size);
void expect_content(const char *dir, const char *name, char letter, size_t size);

/* What syncd answers; the bucket is "bucket". */
struct answer upload(struct fixture *f, char *account, char *path, bool overwrite);
struct answer download(struct fixture *f, char *account, char *folder, const char *key, int type);

/* As a process ends whose threads are told to: what they work at stays with them. */
void hauls_end(struct fixture *f);
