/* A syncd for the tests of mountd and its worker: one drive, kept in memory. Names are nodes of an
 * array, contents are real cache files with real maps in memfds, and "the cloud" is a copy of the
 * bytes that FsFetch fills in. It counts what it is asked and can hold answers back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/chunk_map.h"
#include "common/ipc.h"
#include "common/meter.h"
#include "common/sealed.h"

enum { FAKE_NODES_MAX = 512, FAKE_HELD_MAX = 64, FAKE_XATTR_MAX = 64, FAKE_BODIES = 512, FAKE_GRANT = 1 << 20 };

struct fake_node {
    uint64_t parent;             /* 0: free or an orphan */
    char name[256];
    uint32_t mode, uid, gid, nlink;
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
    char *target;
    char *cloud;                 /* bytes that a fetch fills in, or NULL */
    int data, map_fd;            /* -1: no regular file */
    struct sealed sealed;        /* map NULL: `data` is in clear */
    struct chunk_map *map;
    unsigned opens[2];           /* for reading, for writing */
    char xattr[FAKE_XATTR_MAX], value[FAKE_XATTR_MAX];
    bool unsettled;
    bool whole;                  /* an open for reading says so */
};

struct fake_syncd {
    struct loop *loop;
    struct ipc_server *server;
    struct ipc_peer *worker;     /* the last channel made */
    struct ipc_peer *mountd;
    int meter;                   /* the descriptor that a worker gets with its channel */
    struct meter *counted;       /* what is counted there */
    uint64_t waited_us;          /* it says that it waited so long for the cloud before it answered FsFetch */
    uint32_t uid, gid;
    const struct sealed_io *sealing;          /* files that are made are sealed ones, with this; NULL: in clear */
    const uint8_t *(*sealed_key)(void *arg);  /* the key of one; arg: */
    void *sealed_arg;
    size_t sealing_now;                       /* jobs under way */
    struct fake_node nodes[FAKE_NODES_MAX];   /* by inode number; 1 is the root */
    uint64_t last;
    unsigned asked[FAKE_BODIES]; /* how often, by body case */
    uint64_t origin;             /* of the last request */
    unsigned unreadable;         /* FsFetch that said so */
    uint64_t copied;             /* what FsCopy answers, unless FsCopyStop came; 0: EOPNOTSUPP */
    unsigned copies_last;        /* after it has said so often that it goes on */
    bool copy_stopped;
    Lf__FsCopy copy;             /* the last one */
    Lf__Envelope__BodyCase hold; /* requests of this kind are not answered for now */
    struct { struct ipc_request *req; Lf__Envelope *env; } held[FAKE_HELD_MAX];
    size_t n_held;
    int fail;                    /* negative errno: what `hold` names is refused with it instead */
    /* the drive list */
    const char *drive_id, *mount_point;   /* mount_point NULL: nothing is to be mounted */
    bool read_only;
    unsigned reports;
    bool mounted;
    int failure;
    char failure_text[256];
};

/* A drive with an empty root that belongs to uid/gid. */
struct fake_syncd *fake_new(struct loop *l, uint32_t uid, uint32_t gid);
void fake_free(struct fake_syncd *f);

/* A server on a socket at `path`; without it only channels. */
void fake_listen(struct fake_syncd *f, const char *path);
/* The far end of a new channel for a worker. */
int fake_channel(struct fake_syncd *f);
/* As if syncd had been killed and started again: connections are lost, nothing is open, held requests are gone. */
void fake_restart(struct fake_syncd *f, const char *path);

struct fake_node *fake_node(struct fake_syncd *f, uint64_t ino);
/* A file whose bytes are in the cloud only. Its inode number. */
uint64_t fake_add_file(struct fake_syncd *f, uint64_t parent, const char *name, const void *bytes, size_t size);
uint64_t fake_find(struct fake_syncd *f, uint64_t parent, const char *name);

/* Gives the worker a channel to cryptd (owned from here on). */
void fake_cryptd(struct fake_syncd *f, int fd);
/* The cloud has got what the file contains, these bytes, and they are on the disk: it is clean. */
void fake_uploaded(struct fake_syncd *f, uint64_t ino, const void *bytes, size_t size);
/* Chunks of a clean sealed file are given up as syncd does it. False: somebody writes them. */
bool fake_evict(struct fake_syncd *f, uint64_t ino, uint64_t first, uint64_t n);

/* Answers what was held back. */
void fake_resume(struct fake_syncd *f);
/* The cloud has a new version of the file. */
void fake_new_version(struct fake_syncd *f, uint64_t ino, const void *bytes, size_t size);
void fake_invalidate(struct fake_syncd *f, uint64_t ino, const char *name, bool data);
void fake_mounts_changed(struct fake_syncd *f);
