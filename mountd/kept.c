/* Packs, seals, stores and takes back what a mount needs to live on. Must not know what drives are
 * wanted. */
#include "mountd/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "mountd/mount.h"

enum { RECORD_MAX = 32 * 1024, PREFIX = 5, NAME_SIZE = ID_SIZE + 8 };
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

/* What is stored of a drive; the record last, by which the others are found again. */
enum { FUSE, OWED, INIT, PARTS };
static const char prefixes[PARTS][PREFIX + 1] = { "fuse-", "owed-", "init-" };

static const char *part_name(int part, const char *id, char out[NAME_SIZE])
{
    (void)snprintf(out, NAME_SIZE, "%s%s", prefixes[part], id);
    return out;
}

/* A sealed memfd with the packed record, or negative errno. */
static int seal(const Lf__KeptMount *record)
{
    uint8_t packed[RECORD_MAX];
    size_t n = lf__kept_mount__get_packed_size(record);
    CLEANUP_CLOSE int fd = -1;

    if (n > sizeof(packed))
        return -EMSGSIZE;
    (void)lf__kept_mount__pack(record, packed);
    fd = memfd_create("landfall-mount", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || write(fd, packed, n) != (ssize_t)n || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return -errno;
    return take_fd(&fd);
}

int kept_store(int fuse, int owed, const Lf__KeptMount *record)
{
    const char *id = record->mount->drive_id;
    CLEANUP_CLOSE int fd = seal(record);
    const int parts[PARTS] = { [FUSE] = fuse, [OWED] = owed, [INIT] = fd };
    char name[NAME_SIZE];
    int r = fd < 0 ? fd : 0;

    for (int i = 0; i < PARTS && r == 0; i++)
        r = daemon_store_fd(part_name(i, id, name), parts[i]);
    if (r < 0 && r != -ENOTCONN)
        kept_unstore(id);
    return r;
}

void kept_unstore(const char *drive_id)
{
    char name[NAME_SIZE];

    for (int i = 0; i < PARTS; i++)
        (void)daemon_unstore_fd(part_name(i, drive_id, name));
}

/* The record in `fd`, or NULL when it is none. */
static Lf__KeptMount *read_record(int fd, const char *id)
{
    uint8_t packed[RECORD_MAX];
    ssize_t n = pread(fd, packed, sizeof(packed), 0);
    Lf__KeptMount *record = n <= 0 ? NULL : lf__kept_mount__unpack(NULL, (size_t)n, packed);

    if (record && strcmp(record->mount->drive_id, id) == 0 && record->init.len <= MOUNT_INIT_MAX)
        return record;
    lf__kept_mount__free_unpacked(record, NULL);
    return NULL;
}

/* The drive id of the next stored record, whose descriptor goes into *ret. */
static bool next_record(struct daemon *d, char id[ID_SIZE], int *ret)
{
    for (size_t i = 0; i < d->n_sockets; i++) {
        const char *name = d->sockets[i].name;

        if (d->sockets[i].fd < 0 || strncmp(name, prefixes[INIT], PREFIX) != 0 || !id_valid(name + PREFIX))
            continue;
        (void)memcpy(id, name + PREFIX, ID_SIZE);
        *ret = daemon_take_socket(d, name);
        return true;
    }
    return false;
}

bool kept_take(struct daemon *d, struct kept *ret)
{
    char id[ID_SIZE], name[NAME_SIZE];
    int fd;

    while (next_record(d, id, &fd)) {
        *ret = (struct kept){
            .fuse = daemon_take_socket(d, part_name(FUSE, id, name)),
            .owed = daemon_take_socket(d, part_name(OWED, id, name)), .record = read_record(fd, id),
        };
        (void)close(fd);
        if (ret->fuse >= 0 && ret->record && mount_alive(ret->fuse))
            return true;
        LOG(LOG_NOTICE, "kept_mount_dropped", "drive=%s", id);
        cleanup_close(&ret->fuse);
        cleanup_close(&ret->owed);
        lf__kept_mount__free_unpacked(ret->record, NULL);
        kept_unstore(id);
    }
    return false;
}
