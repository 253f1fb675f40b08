/* The route table. A new endpoint is a message in proto/, a row here and a handler at the receiver.
 *
 * Rows of the contract that are not built yet stand at the end and answer 499 with a sentence. Of two
 * rows that fit a path the first counts, so literal paths stand before those with parameters. */
#include "frontd/agent.h"
#include "frontd/call.h"
#include "frontd/feeds.h"
#include "frontd/form_serve.h"
#include "frontd/metrics.h"
#include "frontd/notify.h"
#include "frontd/openapi.h"
#include "frontd/proof.h"
#include "frontd/route.h"
#include "frontd/stream.h"

#include "common/cleanup.h"

#define READS ROUTE_READS
#define CHANGES ROUTE_CHANGES
#define TOKEN ROUTE_TOKEN
#define LOCAL ROUTE_LOCAL
#define SOCKET ROUTE_SOCKET

/* One field of syncd's reply, or nothing, is the answer. */
#define ROW(method, path, policy, serve, request, query, body, view, summary) \
    { HTTP_##method, path, policy, summary, serve, ROLE_SYNCD, LF__ENVELOPE__BODY_##request, query, body, view, NULL, \
      NULL }

#define MISSING(method, path, policy, what) \
    { HTTP_##method, path, policy, NULL, missing_serve, ROLE_NONE, LF__ENVELOPE__BODY__NOT_SET, NULL, NULL, NULL, \
      what " not available in this version of Landfall.", NULL }

/* Answered by frontd alone. */
#define OWN(method, path, policy, serve, query, body, message, summary) \
    { HTTP_##method, path, policy, summary, serve, ROLE_NONE, LF__ENVELOPE__BODY__NOT_SET, query, body, NULL, NULL, \
      message }

#define BACKUPS "Folder backups are"
#define SMB "SMB mounts are"
#define NFS "NFS mounts are"
#define MAIL "No mail service is configured: sending URLs by mail is"
#define TRANSFERS "Transfers between Fastr servers are"
#define STORAGE "Storage hosted by the service is"
#define OAUTH "Sign-in to clouds with OAuth is"
#define UPDATES "Updating from inside is"

static const struct route table[] = {
    OWN(GET, "/openapi.json", READS, openapi_serve, NULL, NULL, NULL, "This document"),
    OWN(GET, "/metrics", READS, metrics_serve, NULL, NULL, NULL,
        "What all processes count, in Prometheus' text format"),
    OWN(GET, "/notification", READS | SOCKET, notification_serve, "since", NULL, NULL,
        "A WebSocket: progress of transfers, notices, and calls that others made"),
    OWN(GET, "/statechange", READS | SOCKET, statechange_serve, "since", NULL, NULL,
        "A WebSocket: states of objects as they change"),
    OWN(POST, "/management/notify", CHANGES, notify_serve, NULL, "*", &lf__notify_request__descriptor,
        "Tells all who listen at /notification that the application ends (1) or that an endpoint was called (2)"),

    OWN(GET, "/management/proof", READS, proof_serve, "nonce", NULL, &lf__proof_request__descriptor,
        "A random text for a nonce, the same over the Unix socket, where it is to be asked first, and the port"),

    ROW(GET, "/management/agent_status", READS, call_serve, AGENT_STATUS_GET, NULL, NULL, "status",
        "State of the agent: 0 Created, 1 Started, 2 Stopped, 4 Paused, 8 Disposed"),
    ROW(POST, "/management/command/{cmd}", CHANGES | TOKEN, command_serve, AGENT_COMMAND, NULL, NULL, NULL,
        "Tells the agent to Start (0), Dispose (1), Pause (2), Resume (4) or Exit (8)"),

    ROW(GET, "/management/clouddrive", READS, list_serve, DRIVE_LIST, "path", NULL, "drives",
        "All drives, or the one that owns a path"),
    ROW(POST, "/management/clouddrive", CHANGES, call_serve, DRIVE_INSERT, NULL, "drive", "drive", "Creates a drive"),
    ROW(PUT, "/management/clouddrive/{id}", CHANGES, call_serve, DRIVE_UPDATE, NULL, "drive", "drive",
        "Replaces the configuration of a drive"),
    ROW(PUT, "/management/clouddrive_change_cache/{id}", CHANGES, call_serve, DRIVE_CHANGE_CACHE, NULL, "drive",
        "drive", "Moves the cache of a drive that is in use, encrypts it, or sets its limits"),
    ROW(DELETE, "/management/clouddrive/{id}", CHANGES, call_serve, DRIVE_DELETE, "force", NULL, NULL,
        "Removes a drive and its cache, not what is in the cloud"),
    ROW(GET, "/management/clouddrive/sync/{id}", CHANGES, call_serve, DRIVE_SYNC, "path", NULL, NULL,
        "Begins to look into the bucket of a drive, and to send what it has, at once"),
    ROW(POST, "/management/clouddrive_open/{id}", CHANGES, call_serve, DRIVE_SHOW, NULL, NULL, NULL,
        "Has the file manager of the user's desktop session show the drive"),
    ROW(GET, "/management/exist_clouddrive", READS, call_serve, DRIVE_EXISTS, "path", NULL, "exists",
        "\"1\" if a drive owns the path, else \"0\""),

    ROW(GET, "/management/drive_keys", READS, list_serve, KEYS_LIST, NULL, NULL, "keys",
        "The keys of all drives that encrypt, and those that are kept of drives that were deleted"),
    ROW(GET, "/management/drive_keys/{id}", READS, call_serve, KEYS_GET, NULL, NULL, "keys",
        "The keys of a drive that encrypts: recipient, epochs, escrow recipients"),
    ROW(POST, "/management/drive_keys_export/{id}", CHANGES | LOCAL, call_serve, KEYS_EXPORT, NULL, NULL, "kit",
        "The identities that the drive's objects can be read with. Over the Unix socket alone"),
    ROW(POST, "/management/drive_keys_import/{id}", CHANGES | LOCAL, call_serve, KEYS_IMPORT, NULL, "identity", "keys",
        "Makes an exported identity the drive's newest one. Over the Unix socket alone"),
    ROW(POST, "/management/drive_keys_rotate/{id}", CHANGES, call_serve, KEYS_ROTATE, "newIdentity forgetOld", NULL,
        "keys", "Gives the drive a new key for what is made from now on, or gives up old ones"),
    ROW(POST, "/management/drive_keys_escrow/{id}", CHANGES, call_serve, KEYS_ESCROW, NULL, "escrow", "keys",
        "Adds and removes recipients that can read new objects as well"),
    ROW(POST, "/management/drive_keys_destroy/{id}", CHANGES | LOCAL, call_serve, KEYS_DESTROY, "confirmed", NULL,
        "said", "Removes the keys, so that nobody can read the drive's cache. Over the Unix socket alone"),

    ROW(GET, "/management/object_status", READS, call_serve, OBJECT_STATUS_GET, "path", NULL, "state",
        "State of an object"),
    ROW(GET, "/management/object_info", READS, call_serve, OBJECT_INFO_GET, "path", NULL, "info", "One object"),
    ROW(GET, "/management/object_explain", READS, call_serve, OBJECT_EXPLAIN, "path", NULL, "explanation",
        "How one object stands with the cloud and the cache, and what it waits for"),
    ROW(GET, "/management/object_wait", READS, call_serve, OBJECT_AWAIT, "path id seconds", NULL, "arrival",
        "Answers when an object, or everything below a directory, is in the cloud"),
    ROW(GET, "/management/object_make_offline", CHANGES, call_serve, OBJECT_MAKE_OFFLINE, "path", NULL, NULL,
        "Keeps an object, or all that is and will be below a directory, on this machine"),
    ROW(POST, "/management/object_remove_offline", CHANGES, call_serve, OBJECT_REMOVE_OFFLINE, "path", NULL, NULL,
        "Ends that, for all that is below, and gives up what of it is on this machine and in the cloud"),
    ROW(GET, "/management/object_download", CHANGES, call_serve, OBJECT_DOWNLOAD, "path", NULL, NULL,
        "Queues that an object, or all that is below a directory, is fetched into the cache once"),
    ROW(POST, "/management/read_object", CHANGES, call_serve, OBJECT_READ, "path seconds", NULL, NULL,
        "Fetches an object, or all that is below a directory, and answers when it is here, or after so many seconds"),
    ROW(POST, "/management/object_remove_from_cache", CHANGES, call_serve, OBJECT_EVICT, "path", NULL, NULL,
        "Gives up what is on this machine and in the cloud of an object, or of all that is below a directory"),
    ROW(POST, "/management/object_delete", CHANGES, call_serve, OBJECT_DELETE, "path", NULL, NULL,
        "Deletes an object, or a directory with all that is below it, where the drive allows that"),
    ROW(POST, "/management/object_accept", CHANGES, call_serve, OBJECT_ACCEPT, "path", NULL, NULL,
        "Takes an object that is refused as older than one that was seen for one that was restored on purpose"),
    ROW(POST, "/management/object_encrypt", CHANGES, call_serve, OBJECT_ENCRYPT, "path", NULL, NULL,
        "Has what the cloud has in plain of an object, or of all that is below a directory, encrypted, behind"),
    ROW(POST, "/management/object_encrypt_stop", CHANGES, call_serve, OBJECT_ENCRYPT_STOP, "path", NULL, NULL,
        "Ends that, for all that is below and was not encrypted yet"),
    ROW(GET, "/management/object_encrypt_status", READS, call_serve, ENCRYPTION_GET, "path seconds", NULL, "progress",
        "How far that is on the drive that owns the path: answers when nothing is left, or after so many seconds"),
    ROW(GET, "/management/objects_info", READS, list_serve, OBJECT_INFO_LIST, "path", NULL, "objects",
        "The objects of a directory"),
    ROW(GET, "/management/get_directory_rename_status", READS, call_serve, RENAME_STATUS_GET, "path", NULL, "finished",
        "Whether the cloud has nothing left under the old name of a renamed directory"),
    ROW(GET, "/management/get_object_stream", READS, stream_serve, STREAM_OPEN, "path start end", NULL, NULL,
        "The bytes of an object, or a span of them"),
    ROW(POST, "/management/generate_presigned_urls", CHANGES, call_serve, PRESIGN, NULL, "*", "urls",
        "URLs to download and upload an object without further credentials"),

    ROW(GET, "/management/list_drives", READS, list_serve, MOUNT_POINT_LIST, NULL, NULL, "drives",
        "Where file systems of this machine, and the agent's drives, are mounted"),
    ROW(GET, "/management/list_available_drives", READS, call_serve, LETTER_LIST, NULL, NULL, "letters",
        "Letters from C to Z that no drive has"),
    ROW(GET, "/management/list_directories", READS, list_serve, DIRECTORY_LIST, "path", NULL, "directories",
        "The folders in a folder of this machine; without a path, or with \"/\", in the user's home"),
    ROW(GET, "/management/list_files_directories", READS, list_serve, LOCAL_LIST, "path", NULL, "objects",
        "All that is in a folder of this machine; without a path, or with \"/\", in the user's home"),
    ROW(POST, "/management/make_directory", CHANGES, call_serve, DIRECTORY_MAKE, NULL, "*", NULL,
        "Makes a folder in a folder of this machine, for the user alone"),

    ROW(GET, "/cloud/accounts", READS | TOKEN, list_serve, ACCOUNT_LIST, NULL, NULL, "accounts", "All cloud accounts"),
    ROW(GET, "/cloud/account", READS | TOKEN, call_serve, ACCOUNT_GET, "id", NULL, "account", "One cloud account"),
    ROW(POST, "/cloud/insert_account", CHANGES | TOKEN, call_serve, ACCOUNT_INSERT, NULL, "account", "account",
        "Stores a cloud account after trying its credentials"),
    ROW(DELETE, "/cloud/delete", CHANGES | TOKEN, call_serve, ACCOUNT_DELETE, "id", NULL, "deleted",
        "Removes a cloud account"),
    ROW(POST, "/cloud/list_buckets", READS | TOKEN, list_serve, BUCKET_LIST, "includeRegion", "account", "collection",
        "The buckets of a cloud account"),
    ROW(POST, "/cloud/list_objects", READS | TOKEN, call_serve, CLOUD_OBJECT_LIST, NULL, "*", "collection",
        "The objects in a folder of a bucket"),
    ROW(POST, "/cloud/generate_download_url", CHANGES | TOKEN, call_serve, DOWNLOAD_URL, NULL, "*", "url",
        "A URL to download an object without further credentials"),
    ROW(POST, "/cloud/generate_upload_url", CHANGES | TOKEN, call_serve, UPLOAD_URL, NULL, "*", "url",
        "A URL to upload an object without further credentials"),
    ROW(POST, "/cloud/delete_object", CHANGES | TOKEN, call_serve, CLOUD_OBJECT_DELETE, NULL, "*", NULL,
        "Deletes one object of a bucket; of a folder, its marker alone"),
    ROW(POST, "/cloud/create_folder", CHANGES | TOKEN, call_serve, CLOUD_FOLDER_CREATE, NULL, "*", NULL,
        "Makes a folder in a bucket: the marker that other programs show it by"),
    ROW(POST, "/cloud/upload_object", CHANGES | TOKEN, call_serve, CLOUD_UPLOAD, NULL, "*", "transfer",
        "Uploads a file of this machine into a bucket, behind; what is there is replaced only with overwrite"),
    ROW(POST, "/cloud/download_object", CHANGES | TOKEN, call_serve, CLOUD_DOWNLOAD, NULL, "*", "transfer",
        "Downloads an object, or all below a prefix, into a folder of this machine, behind; replaces nothing"),
    OWN(POST, "/cloud/upload_object_from_form", CHANGES | ROUTE_FORM, form_serve, NULL, "*",
        &lf__upload_form__descriptor, "Uploads the file of a form into a bucket, behind"),

    ROW(GET, "/management/audit", READS | LOCAL, list_serve, AUDIT_LIST, "since", NULL, "records",
        "The audit log behind a line: who made calls that can change something, and what came of them"),
    ROW(GET, "/management/audit_verify", READS | LOCAL, call_serve, AUDIT_VERIFY, NULL, NULL, "verdict",
        "Whether the audit log is as it was written"),

    ROW(GET, "/cloud/client_transfer/all", READS | TOKEN, list_serve, TRANSFER_LIST, NULL, NULL, "transfers",
        "The transfers of this run of the agent, those of drives among them; of those that have ended the last ones"),
    ROW(GET, "/cloud/client_transfer/{transferId}/status", READS | TOKEN, call_serve, TRANSFER_GET, NULL, NULL,
        "transfer", "How far one is"),
    ROW(POST, "/cloud/client_transfer/{transferId}/pause", CHANGES | TOKEN, call_serve, TRANSFER_PAUSE, NULL, NULL,
        NULL, "Has one wait, one of a drive as well; what a program reads comes all the same"),
    ROW(POST, "/cloud/client_transfer/{transferId}/resume", CHANGES | TOKEN, call_serve, TRANSFER_RESUME, NULL, NULL,
        NULL, "Has it go on"),
    ROW(POST, "/cloud/client_transfer/{transferId}/cancel", CHANGES | TOKEN, call_serve, TRANSFER_CANCEL, NULL, NULL,
        NULL, "Ends one. What a drive was sending stays here, and is sent when it is written again or synchronised"),

    /* --- not built yet --- */

    MISSING(GET, "/management/cloudbackup", READS, BACKUPS),
    MISSING(POST, "/management/cloudbackup", CHANGES, BACKUPS),
    MISSING(PUT, "/management/cloudbackup/{id}", CHANGES, BACKUPS),
    MISSING(DELETE, "/management/cloudbackup/{id}", CHANGES, BACKUPS),
    MISSING(POST, "/management/cloudbackup_open/{id}", CHANGES, BACKUPS),
    MISSING(POST, "/management/sync_shareddrive", CHANGES, "Drives shared between users are"),
    MISSING(GET, "/management/smbclient", READS, SMB),
    MISSING(POST, "/management/smbclient", CHANGES, SMB),
    MISSING(PUT, "/management/smbclient/{id}", CHANGES, SMB),
    MISSING(DELETE, "/management/smbclient/{id}", CHANGES, SMB),
    MISSING(GET, "/management/nfsclient", READS, NFS),
    MISSING(POST, "/management/nfsclient", CHANGES, NFS),
    MISSING(PUT, "/management/nfsclient/{id}", CHANGES, NFS),
    MISSING(DELETE, "/management/nfsclient/{id}", CHANGES, NFS),
    MISSING(GET, "/management/check_update", READS, UPDATES),
    MISSING(POST, "/management/update", CHANGES, UPDATES),

    MISSING(PUT, "/cloud/manage_share", CHANGES | TOKEN, "Sharing of cloud accounts between users is"),
    MISSING(POST, "/cloud/send_download_url", CHANGES | TOKEN, MAIL),
    MISSING(POST, "/cloud/add_storage", CHANGES | TOKEN, STORAGE),
    MISSING(DELETE, "/cloud/delete_storage", CHANGES | TOKEN, STORAGE),
    MISSING(POST, "/cloud/create_bucket", CHANGES | TOKEN, STORAGE),
    MISSING(DELETE, "/cloud/delete_bucket", CHANGES | TOKEN, STORAGE),
    MISSING(GET, "/cloud/get_bucket_info", READS | TOKEN, STORAGE),
    MISSING(GET, "/cloud/get_cloud_info", READS | TOKEN, STORAGE),
    MISSING(POST, "/cloud/idrive_add_storage", CHANGES | TOKEN, STORAGE),
    MISSING(DELETE, "/cloud/idrive_delete_storage", CHANGES | TOKEN, STORAGE),
    MISSING(POST, "/cloud/idrive_create_bucket", CHANGES | TOKEN, STORAGE),
    MISSING(DELETE, "/cloud/idrive_delete_bucket", CHANGES | TOKEN, STORAGE),
    MISSING(GET, "/cloud/idrive_regions", READS | TOKEN, STORAGE),
    MISSING(GET, "/cloud/idrive_get_daily_usage", READS | TOKEN, STORAGE),
    MISSING(GET, "/cloud/idrive_get_usage", READS | TOKEN, STORAGE),
    MISSING(POST, "/cloud/generate_dropbox_authorization_url", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/dropbox_authorization_callback", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/generate_box_authorization_url", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/box_authorization_callback", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/generate_onedrive_authorization_url", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/onedrive_authorization_callback", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/generate_googledrive_authorization_url", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/googledrive_authorization_callback", CHANGES | TOKEN, OAUTH),
    MISSING(POST, "/cloud/server_transfer/initiate", CHANGES | TOKEN, TRANSFERS),
    MISSING(GET, "/cloud/server_transfer/all", READS | TOKEN, TRANSFERS),
    MISSING(GET, "/cloud/server_transfer/{transferId}/status", READS | TOKEN, TRANSFERS),
    MISSING(DELETE, "/cloud/server_transfer/{transferId}", CHANGES | TOKEN, TRANSFERS),
    MISSING(POST, "/cloud/p2p_transfer/initiate", CHANGES | TOKEN, TRANSFERS),
    MISSING(GET, "/cloud/p2p_transfer/all", READS | TOKEN, TRANSFERS),
    MISSING(GET, "/cloud/p2p_transfer/{transferId}/status", READS | TOKEN, TRANSFERS),
    MISSING(POST, "/cloud/p2p_transfer/{transferId}/cancel", CHANGES | TOKEN, TRANSFERS),
    MISSING(POST, "/cloud/p2p_transfer/{transferId}/pause", CHANGES | TOKEN, TRANSFERS),
    MISSING(POST, "/cloud/p2p_transfer/{transferId}/resume", CHANGES | TOKEN, TRANSFERS),
};

const struct route *routes(size_t *ret_n)
{
    *ret_n = ARRAY_SIZE(table);
    return table;
}
