/* cryptd_alone SOCKET KEY: a cryptd without its daemon's surroundings, whose data key is a text of 32 characters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "cryptd/serve.h"

static int listen_at(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    (void)unlink(path);
    (void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    return bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 8) < 0 ? -1 : fd;
}

int main(int argc, char **argv)
{
    const struct ipc_peer_uid peers[] = { { ROLE_SYNCD, getuid() }, { ROLE_WORKER, getuid() } };
    struct serve s = { .loop = loop_new(1) };
    struct ipc_server_spec spec = {
        .role = ROLE_CRYPTD, .peers = peers, .n_peers = ARRAY_SIZE(peers), .max_connections = 16, .max_queue = 64,
        .peer_lost = serve_peer_lost, .arg = &s,
    };
    struct error e;

    log_init("cryptd", LOG_CRIT);
    if (argc != 3 || strlen(argv[2]) != KEY_SIZE || aead_begin(&e) < 0 || secret_new(&s.secret, &e) < 0 ||
        keyring_new(&s.ring, &e) < 0 || bulk_new(s.loop, 1, &s.bulk, &e) < 0)
        return EXIT_FAILURE;
    memcpy(s.secret->data_key, argv[2], KEY_SIZE);
    spec.handlers = serve_handlers(&spec.n_handlers);
    s.server = ipc_server_new(s.loop, &spec);
    return ipc_server_listen(s.server, listen_at(argv[1])) < 0 ? EXIT_FAILURE : loop_run(s.loop);
}
