/* See haul_rig.h. */
#include "tests/unit/haul_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/haul.h"

char *in(const char *dir, const char *name)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    return path;
}

char *source(const char *dir, const char *name, size_t size)
{
    char *path = in(dir, name);
    CLEANUP_FREE char *bytes = xcalloc(1, size + 1);
    CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    memset(bytes, name[0], size);
    assert_int_equal(write(fd, bytes, size), size);
    return path;
}

void expect_content(const char *dir, const char *name, char letter, size_t size)
{
    CLEANUP_FREE char *path = in(dir, name), *bytes = xcalloc(1, size + 1);
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, size + 1), size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], letter);
}

struct answer upload(struct fixture *f, char *account, char *path, bool overwrite)
{
    Lf__CloudUpload msg = LF__CLOUD_UPLOAD__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CLOUD_UPLOAD, cloud_upload, &msg);

    msg.cloud_account_id = account;
    msg.storage_name = (char *)"bucket";
    msg.local_file_path = path;
    msg.has_overwrite = msg.overwrite = overwrite;
    return fixture_ask(f, &env);
}

struct answer download(struct fixture *f, char *account, char *folder, const char *key, int type)
{
    Lf__CloudDownload msg = LF__CLOUD_DOWNLOAD__INIT;
    Lf__Envelope env = IPC_ENVELOPE(CLOUD_DOWNLOAD, cloud_download, &msg);

    msg.cloud_account_id = account;
    msg.storage_name = (char *)"bucket";
    msg.download_path = folder;
    msg.object_key = (char *)(uintptr_t)key;
    msg.has_object_type = true;
    msg.object_type = type;
    return fixture_ask(f, &env);
}

void hauls_end(struct fixture *f)
{
    syncd_close(f->syncd);
    while (loop_working(f->loop) || hauls_working(f->syncd->hauls))
        fixture_turn(f);
}
