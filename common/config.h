/* The configuration: appsettings.json, then --set Key=value, over built-in defaults.
 *
 * Every key, its type, its default and its sentence stand once, in CONFIG_KEYS below, which
 * `landfall config` prints. An unknown key, a wrong type or a value out of range is an error that
 * names the key and the file; the file is never written. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* X(field, "Key", type, default, least, most, "what it is")
 * TEXT: char *, "" when empty. NUMBER: int64_t. FLAG: bool. LIST: char ** ending in NULL. */
#define CONFIG_KEYS(X) \
    X(host_url, "HostUrl", TEXT, "http://localhost:29123", 0, 0, \
      "address and port of the API; only loopback is accepted") \
    X(cors_origins, "CorsOrigins", LIST, "", 0, 0, \
      "browser origins that may call the API, beside its own") \
    X(user, "User", TEXT, "", 0, 0, "the desktop user served; empty: whoever runs the process") \
    X(frontd_user, "FrontdUser", TEXT, "", 0, 0, "account frontd runs as; empty: the served user") \
    X(mountd_user, "MountdUser", TEXT, "", 0, 0, "account mountd runs as; empty: the served user") \
    X(cryptd_user, "CryptdUser", TEXT, "", 0, 0, "account cryptd runs as; empty: the served user") \
    X(worker_user, "WorkerUser", TEXT, "", 0, 0, \
      "account drive workers run as; empty: as mountd, which must not be root then") \
    X(state_dir, "StateDir", TEXT, "", 0, 0, "databases and caches of syncd") \
    X(key_dir, "KeyDir", TEXT, "", 0, 0, "sealed key store of cryptd") \
    X(key_file, "KeyFile", TEXT, "", 0, 0, \
      "file with the 32-byte root key; empty: the systemd credential landfall.key") \
    X(runtime_dir, "RuntimeDir", TEXT, "", 0, 0, "sockets between the processes") \
    X(mount_root, "MountRoot", TEXT, "", 0, 0, "drives are mounted below; empty: Landfall in the user's home") \
    X(boot_id, "BootId", TEXT, "", 0, 0, "tells this start of the machine from others; empty: the kernel's") \
    X(log_level, "LogLevel", NUMBER, 6, 0, 7, "least important syslog priority logged") \
    X(proxy, "Proxy", TEXT, "", 0, 0, "HTTP proxy for cloud traffic") \
    X(no_proxy, "NoProxy", TEXT, "", 0, 0, "hosts reached without it, comma separated") \
    X(ca_bundle, "CaBundle", TEXT, "", 0, 0, "certificate authorities; empty: the system's") \
    X(allow_plain_http, "AllowPlainHttp", FLAG, false, 0, 1, \
      "accept http:// endpoints that are not on this machine") \
    X(audit_file_bytes, "AuditFileBytes", NUMBER, 8388608, 4096, 1073741824, "a file of the audit log, about") \
    X(audit_files, "AuditFiles", NUMBER, 16, 2, 10000, "of them that are kept") \
    X(max_header_bytes, "MaxHeaderBytes", NUMBER, 16384, 1024, 1048576, "request line and headers") \
    X(max_body_bytes, "MaxBodyBytes", NUMBER, 1048576, 1024, 67108864, "request body") \
    X(max_form_bytes, "MaxFormBytes", NUMBER, 17179869184, 1024, 1099511627776, \
      "a form with a file; the file waits in StateDir until it has been uploaded") \
    X(max_reply_bytes, "MaxReplyBytes", NUMBER, 67108864, 65536, 1073741824, "JSON of one reply") \
    X(max_connections, "MaxConnections", NUMBER, 512, 4, 65536, "HTTP connections at once, of each user") \
    X(max_web_sockets, "MaxWebSockets", NUMBER, 4096, 1, 65536, "WebSockets at once, beside those") \
    X(web_socket_ping_seconds, "WebSocketPingSeconds", NUMBER, 30, 1, 3600, \
      "pause between pings; a client that answers nothing to two is dropped") \
    X(events_kept, "EventsKept", NUMBER, 8192, 16, 1048576, \
      "events kept for each WebSocket path, for clients that are slow or come back") \
    X(event_bytes_kept, "EventBytesKept", NUMBER, 4194304, 262144, 268435456, "bytes of them, for each path") \
    X(changes_per_second, "ChangesPerSecond", NUMBER, 1000, 0, 1000000, \
      "API calls of one user that can change something; four times as many at once; 0: any number") \
    X(http_timeout_seconds, "HttpTimeoutSeconds", NUMBER, 30, 1, 3600, "idle or slow HTTP peer") \
    X(ipc_timeout_seconds, "IpcTimeoutSeconds", NUMBER, 120, 1, 3600, \
      "how long the API waits for another process") \
    X(ipc_queue_length, "IpcQueueLength", NUMBER, 1024, 16, 65536, "unanswered requests per connection") \
    X(ipc_connections, "IpcConnections", NUMBER, 64, 4, 4096, \
      "connections per internal socket, a part of them for each role") \
    X(cloud_connections, "CloudConnections", NUMBER, 64, 1, 1024, "connections to all clouds") \
    X(cloud_connections_per_host, "CloudConnectionsPerHost", NUMBER, 16, 1, 256, "connections to one host") \
    X(cloud_connect_seconds, "CloudConnectSeconds", NUMBER, 10, 1, 300, \
      "time to reach a cloud host, or to hear from it again") \
    X(cloud_stall_seconds, "CloudStallSeconds", NUMBER, 30, 1, 3600, "transfer without a byte is cut") \
    X(cloud_retries, "CloudRetries", NUMBER, 5, 0, 100, "tries after a failure that may pass") \
    X(drain_seconds, "DrainSeconds", NUMBER, 10, 0, 60, \
      "for what is on its way to the clouds when the agent is told to exit; what is left goes on at the next start") \
    X(read_deadline_seconds, "ReadDeadlineSeconds", NUMBER, 30, 1, 3600, \
      "a read of absent data fails after") \
    X(settle_milliseconds, "SettleMilliseconds", NUMBER, 300, 0, 60000, \
      "pause between close and upload; ten times as long at most while changes go on") \
    X(quiet_milliseconds, "QuietMilliseconds", NUMBER, 5000, 0, 3600000, \
      "a file that stays open for writing is uploaded when nothing was written to it for") \
    X(upload_slots, "UploadSlots", NUMBER, 16, 1, 256, "cloud changes carried out at once, per drive") \
    X(recent_fuse, "RecentFuse", FLAG, true, 0, 1, \
      "use what FUSE has from Linux 6.9 on (false: drives mounted from then on behave as with an older kernel)") \
    X(cache_free_percent, "CacheFreePercent", NUMBER, 5, 0, 90, \
      "share of the cache's file system that caches leave free") \
    X(write_wait_seconds, "WriteWaitSeconds", NUMBER, 10, 0, 3600, \
      "a write into a cache full of unsent data waits, then fails with ENOSPC") \
    X(anchor_seconds, "AnchorSeconds", NUMBER, 10, 0, 3600, \
      "versions of encrypted objects that were put or removed are told to a drive's other agents after that long") \
    X(open_files, "OpenFiles", NUMBER, 65536, 64, 1048576, \
      "descriptors of syncd and of each worker; a file that programs have open takes two of syncd's") \
    X(pool_threads, "PoolThreads", NUMBER, 2, 1, 64, "threads for blocking work, in syncd, mountd and cryptd each")

#define CONFIG_C_TEXT char *
#define CONFIG_C_NUMBER int64_t
#define CONFIG_C_FLAG bool
#define CONFIG_C_LIST char **

struct config {
#define X(field, key, type, def, least, most, doc) CONFIG_C_##type field;
    CONFIG_KEYS(X)
#undef X
};

/* Reads `path` (NULL: no file; a missing file at an explicit path is an error) and then the
 * `sets` ("Key=value"; lists are comma separated; key case does not matter), n of them.
 * Returns 0 and a configuration to be freed with config_free(), or -ENOENT, -EINVAL, -EUCLEAN
 * (not JSON), -ENOMEM with a sentence in *e. */
int config_load(const char *path, const char *const *sets, size_t n, struct config **ret, struct error *e);

/* NULL is fine. Use as CLEANUP(config_freep). */
void config_free(struct config *c);
void config_freep(struct config **c);

/* The port of HostUrl and whether its host is loopback. 0 or -EINVAL. */
int config_host_port(const struct config *c, uint16_t *ret_port, struct error *e);

/* All keys as rows for printing. */
struct config_key {
    const char *key, *type, *default_text, *doc;
};
const struct config_key *config_keys(size_t *ret_n);

/* The value of key number `i` of that table as text, lists comma separated. The caller frees it; NULL without
 * memory. */
char *config_value(const struct config *c, size_t i);
