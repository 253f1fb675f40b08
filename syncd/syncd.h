/* The state of the process: what its parts share. Everything hangs off one struct syncd, which
 * main.c and the tests make; nothing is global. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/ipc.h"
#include "common/loop.h"
#include "syncd/subscribers.h"

struct account;
struct audit;
struct apart;
struct crypt;
struct drive;
struct events;
struct forms;
struct hauls;
struct local;
struct store;
struct transfers;

struct syncd {
    struct loop *loop;                      /* borrowed */
    const struct config *config;            /* borrowed */
    char *state_dir;                        /* without symbolic links, safe by folder_open() */
    char *home;                             /* of the served user; may be NULL */
    char *home_real;                        /* the same without symbolic links; NULL: as above or not there */
    char *mount_root;                       /* absolute, without a trailing slash */
    char *mount_root_real;                  /* the same without symbolic links; NULL: as above or not there yet */
    uint32_t uid, gid;                      /* the served user */
    struct store *store;
    struct ipc_client *cryptd;
    struct crypt *crypt;                    /* shared with it; NULL until there is a drive with keys */
    struct ipc_server *server;
    struct account *accounts;               /* those whose cloud is open; account.c */
    struct drive *drives;                   /* by rising id; drive.c */
    struct subscribers mountds;             /* that have asked for the list of mounts, and hear of changes */
    struct forms *forms;                    /* form.c */
    struct hauls *hauls;                    /* haul.c */
    struct audit *audit;                    /* audit.c */
    struct events *events;                  /* events.c */
    struct transfers *transfers;            /* transfer.c */
    int state;                              /* enum agent_state; agent.c, as the next two */
    bool changing;                          /* a command that needs time is being carried out */
    unsigned draining;                      /* waits for the end of uploads */
    struct apart *apart;                    /* for what may hang */
    struct local *local;                    /* local_api.c */
};

struct syncd_spec {
    struct loop *loop;
    const struct config *config;
    uint32_t uid, gid;
    const char *home;                       /* for a MountRoot that is not configured; may be NULL */
    const char *cryptd_path;                /* cryptd's socket */
    const struct ipc_peer_uid *peers;       /* borrowed */
    size_t n_peers;
};

/* Opens the store, brings up every drive it can and gets ready to serve; listening is the caller's
 * (ipc_server_listen on ->server). A drive that fails is logged and stays down; the others run. 0, or a negative
 * errno with a sentence: then the daemon cannot run. */
int syncd_new(const struct syncd_spec *spec, struct syncd **ret, struct error *e);
/* Ends what runs: drives, then the clouds they use. Requests under way fail. Twice is fine. */
void syncd_close(struct syncd *d);
/* Closes and frees. NULL is fine. */
void syncd_free(struct syncd *d);
