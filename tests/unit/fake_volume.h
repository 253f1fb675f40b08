/* A volume that a test steers, in the place of the real one: link fake_volume.c and the objects of
 * syncd/volume.c stay out. */
#pragma once

#include "syncd/volume.h"

struct volume {
    struct volume *next;
    char id[64];
    struct volume_spec spec;
    bool paused, read_only;
    uint64_t pending;
    size_t *ended;             /* counts volume_end_uploads(); NULL: nobody looks */
    uint64_t offline;          /* the inode made so last; 0: none, or removed */
    uint64_t keys_left;        /* what volume_keys_left() says */
    size_t keys_back;          /* times volume_keys_back() ran */
    const char *trouble;       /* what volume_trouble() says; NULL: nothing */
    char synced[64];           /* the path that volume_sync() was called with; "": it was not */
    size_t told;               /* times volume_tell() ran */
    size_t configured;         /* times volume_configure() ran */
    struct ipc_peer *worker;   /* last attached; NULL once lost */
};

/* The open volume of a drive, NULL when there is none. */
struct volume *fake_volume(const char *drive_id);
size_t fake_volumes(void);

/* Opening a drive of this name fails, as with a corrupt index; NULL: none. */
extern const char *fake_volume_bad;
/* One of this name has a change when it is opened. */
extern const char *fake_volume_changed;
