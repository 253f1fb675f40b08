/* The rows. Reading them from top to bottom is reading the architecture: edges run downhill from
 * frontd and the workers to mountd, syncd and cryptd; only events (no reply) travel back. */
#include "common/messages.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

#define F ROLE_BIT(ROLE_FRONTD)
#define S ROLE_BIT(ROLE_SYNCD)
#define M ROLE_BIT(ROLE_MOUNTD)
#define C ROLE_BIT(ROLE_CRYPTD)
#define W ROLE_BIT(ROLE_WORKER)

#define B(name) LF__ENVELOPE__BODY_##name
#define EVENT LF__ENVELOPE__BODY__NOT_SET
enum { REPEAT = true, ONCE = false };

static const struct message_row rows[] = {
    /* request or event       senders        receivers      reply          fds  back  after a restart */
    { B(HELLO),               F | S | M | W, S | M | C,     EVENT,               0, 0, ONCE },
    { B(SHUTDOWN),            F,             S | M | C,     B(DONE),             0, 0, ONCE },
    { B(METRICS_GET),         F,             S | M | C,     B(METRICS),          0, 0, REPEAT },

    { B(AGENT_STATUS_GET),    F,             S,             B(AGENT_STATUS),     0, 0, REPEAT },
    { B(AGENT_COMMAND),       F,             S,             B(DONE),             0, 0, REPEAT },
    { B(DRIVE_LIST),          F,             S,             B(DRIVE_LISTED),     0, 0, REPEAT },
    { B(DRIVE_EXISTS),        F,             S,             B(DRIVE_EXISTENCE),  0, 0, REPEAT },
    { B(DRIVE_INSERT),        F,             S,             B(DRIVE_STORED),     0, 0, ONCE },
    { B(DRIVE_UPDATE),        F,             S,             B(DRIVE_STORED),     0, 0, REPEAT },
    { B(DRIVE_CHANGE_CACHE),  F,             S,             B(DRIVE_STORED),     0, 0, REPEAT },
    { B(DRIVE_DELETE),        F,             S,             B(DONE),             0, 0, ONCE },
    { B(KEYS_LIST),           F,             S,             B(KEYS_LISTED),      0, 0, REPEAT },
    { B(KEYS_GET),            F,             S,             B(KEYS_FOUND),       0, 0, REPEAT },
    { B(KEYS_EXPORT),         F,             S,             B(KEYS_EXPORTED),    0, 0, REPEAT },
    { B(KEYS_IMPORT),         F,             S,             B(KEYS_FOUND),       0, 0, ONCE },
    { B(KEYS_ROTATE),         F,             S,             B(KEYS_FOUND),       0, 0, ONCE },
    { B(KEYS_ESCROW),         F,             S,             B(KEYS_FOUND),       0, 0, ONCE },
    { B(KEYS_DESTROY),        F,             S,             B(KEYS_DESTROYED),   0, 0, REPEAT },
    { B(ACCOUNT_LIST),        F,             S,             B(ACCOUNT_LISTED),   0, 0, REPEAT },
    { B(ACCOUNT_GET),         F,             S,             B(ACCOUNT_STORED),   0, 0, REPEAT },
    { B(ACCOUNT_INSERT),      F,             S,             B(ACCOUNT_STORED),   0, 0, ONCE },
    { B(ACCOUNT_DELETE),      F,             S,             B(ACCOUNT_DELETED),  0, 0, ONCE },
    { B(BUCKET_LIST),         F,             S,             B(BUCKET_LISTED),    0, 0, REPEAT },
    { B(CLOUD_OBJECT_LIST),   F,             S,             B(CLOUD_OBJECT_LISTED), 0, 0, REPEAT },
    { B(RENAME_STATUS_GET),   F,             S,             B(RENAME_STATUS),    0, 0, REPEAT },
    { B(OBJECT_STATUS_GET),   F,             S,             B(OBJECT_STATUS),    0, 0, REPEAT },
    { B(OBJECT_INFO_GET),     F,             S,             B(OBJECT_INFO_FOUND), 0, 0, REPEAT },
    { B(OBJECT_INFO_LIST),    F,             S,             B(OBJECT_INFO_LISTED), 0, 0, REPEAT },
    { B(OBJECT_EXPLAIN),      F,             S,             B(OBJECT_EXPLAINED), 0, 0, REPEAT },
    { B(OBJECT_AWAIT),        F,             S,             B(OBJECT_AWAITED),   0, 0, REPEAT },
    { B(OBJECT_MAKE_OFFLINE), F,             S,             B(DONE),             0, 0, REPEAT },
    { B(OBJECT_REMOVE_OFFLINE), F,           S,             B(DONE),             0, 0, REPEAT },
    { B(OBJECT_ACCEPT),       F,             S,             B(DONE),             0, 0, REPEAT },
    { B(OBJECT_ENCRYPT),      F,             S,             B(DONE),             0, 0, REPEAT },
    { B(OBJECT_ENCRYPT_STOP), F,             S,             B(DONE),             0, 0, REPEAT },
    { B(ENCRYPTION_GET),      F,             S,             B(ENCRYPTION_FOUND), 0, 0, REPEAT },
    { B(STREAM_OPEN),         F,             S,             B(STREAM_OPENED),    0, 1, REPEAT },
    { B(PRESIGN),             F,             S,             B(PRESIGNED),        0, 0, REPEAT },
    { B(AUDIT_CALL),          F,             S,             B(DONE),             0, 0, REPEAT },
    { B(AUDIT_RESULT),        F,             S,             B(DONE),             0, 0, REPEAT },
    { B(AUDIT_LIST),          F,             S,             B(AUDIT_LISTED),     0, 0, REPEAT },
    { B(AUDIT_VERIFY),        F,             S,             B(AUDIT_VERIFIED),   0, 0, REPEAT },
    { B(EVENTS_WATCH),        F,             S,             B(DONE),             0, 0, REPEAT },
    { B(MOUNT_POINT_LIST),    F,             S,             B(MOUNT_POINT_LISTED), 0, 0, REPEAT },
    { B(LETTER_LIST),         F,             S,             B(LETTER_LISTED),    0, 0, REPEAT },
    { B(DIRECTORY_LIST),      F,             S,             B(DIRECTORY_LISTED), 0, 0, REPEAT },
    { B(LOCAL_LIST),          F,             S,             B(LOCAL_LISTED),     0, 0, REPEAT },
    { B(DIRECTORY_MAKE),      F,             S,             B(DONE),             0, 0, ONCE },
    { B(OBJECT_DOWNLOAD),     F,             S,             B(DONE),             0, 0, REPEAT },
    { B(OBJECT_READ),         F,             S,             B(DONE),             0, 0, REPEAT },
    { B(OBJECT_EVICT),        F,             S,             B(DONE),             0, 0, REPEAT },
    { B(OBJECT_DELETE),       F,             S,             B(DONE),             0, 0, ONCE },
    { B(DRIVE_SYNC),          F,             S,             B(DONE),             0, 0, REPEAT },
    { B(DRIVE_SHOW),          F,             S,             B(DONE),             0, 0, ONCE },
    { B(PROGRESSED),          S,             F,             EVENT,               0, 0, ONCE },
    { B(STATE_CHANGED),       S,             F,             EVENT,               0, 0, ONCE },
    { B(NOTICED),             S,             F,             EVENT,               0, 0, ONCE },
    { B(EVENTS_MISSED),       S,             F,             EVENT,               0, 0, ONCE },
    { B(TRANSFER_LIST),       F,             S,             B(TRANSFER_LISTED),  0, 0, REPEAT },
    { B(TRANSFER_GET),        F,             S,             B(TRANSFER_FOUND),   0, 0, REPEAT },
    { B(TRANSFER_PAUSE),      F,             S,             B(DONE),             0, 0, REPEAT },
    { B(TRANSFER_RESUME),     F,             S,             B(DONE),             0, 0, REPEAT },
    { B(TRANSFER_CANCEL),     F,             S,             B(DONE),             0, 0, REPEAT },

    { B(DOWNLOAD_URL),        F,             S,             B(SIGNED_URL),       0, 0, REPEAT },
    { B(UPLOAD_URL),          F,             S,             B(SIGNED_URL),       0, 0, REPEAT },
    { B(CLOUD_OBJECT_DELETE), F,             S,             B(DONE),             0, 0, REPEAT },
    { B(CLOUD_FOLDER_CREATE), F,             S,             B(DONE),             0, 0, REPEAT },
    { B(CLOUD_UPLOAD),        F,             S,             B(TRANSFER_BEGUN),   0, 0, REPEAT },
    { B(CLOUD_DOWNLOAD),      F,             S,             B(TRANSFER_BEGUN),   0, 0, REPEAT },
    { B(FORM_OPEN),           F,             S,             B(FORM_OPENED),      0, 1, REPEAT },
    { B(FORM_DONE),           F,             S,             B(DONE),             0, 0, ONCE },

    { B(MOUNT_LIST),          M,             S,             B(MOUNT_LISTED),     0, 0, REPEAT },
    { B(MOUNTS_CHANGED),      S,             M,             EVENT,               0, 0, ONCE },
    { B(MOUNT_REPORT),        M,             S,             B(DONE),             0, 0, REPEAT },
    { B(WORKER_ATTACH),       M,             S,             B(DONE),             0, 2, ONCE },

    { B(WORKER_START),        M,             W,             EVENT,               2, 0, ONCE },
    { B(WORKER_CHANNEL),      M,             W,             EVENT,               2, 0, ONCE },
    { B(WORKER_READY),        W,             M,             EVENT,               0, 0, ONCE },
    { B(WORKER_DETACHED),     W,             M,             EVENT,               0, 0, ONCE },
    { B(BACKING_OPEN),        W,             M,             B(BACKING_OPENED),   1, 0, ONCE },
    { B(BACKING_CLOSE),       W,             M,             EVENT,               0, 0, ONCE },

    { B(FS_LOOKUP),           W,             S,             B(FS_ENTRY),         0, 0, REPEAT },
    { B(FS_GETATTR),          W,             S,             B(FS_ENTRY),         0, 0, REPEAT },
    { B(FS_SETATTR),          W,             S,             B(FS_ENTRY),         0, 0, REPEAT },
    { B(FS_OPENDIR),          W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_READDIR),          W,             S,             B(FS_LISTED),        0, 0, REPEAT },
    { B(FS_OPEN),             W,             S,             B(FS_OPENED),        0, 2, REPEAT },
    { B(FS_CREATE),           W,             S,             B(FS_OPENED),        0, 2, REPEAT },
    { B(FS_FETCH),            W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_DIRTY),            W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_FLUSH),            W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_RELEASE),          W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_COPY),             W,             S,             B(FS_COPIED),        0, 0, REPEAT },
    { B(FS_COPY_STOP),        W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_MKDIR),            W,             S,             B(FS_ENTRY),         0, 0, REPEAT },
    { B(FS_UNLINK),           W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_RMDIR),            W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_RENAME),           W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_MKNOD),            W,             S,             B(FS_ENTRY),         0, 0, REPEAT },
    { B(FS_SYMLINK),          W,             S,             B(FS_ENTRY),         0, 0, REPEAT },
    { B(FS_READLINK),         W,             S,             B(FS_TARGET),        0, 0, REPEAT },
    { B(FS_STATFS),           W,             S,             B(FS_SPACE),         0, 0, REPEAT },
    { B(FS_XATTR_GET),        W,             S,             B(FS_XATTR_VALUE),   0, 0, REPEAT },
    { B(FS_XATTR_SET),        W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_XATTR_LIST),       W,             S,             B(FS_XATTR_NAMES),   0, 0, REPEAT },
    { B(FS_XATTR_REMOVE),     W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_FORGET),           W,             S,             B(DONE),             0, 0, REPEAT },
    { B(FS_INVALIDATE),       S,             W,             EVENT,               0, 0, ONCE },
    { B(FS_CRYPTD),           S,             W,             EVENT,               1, 0, ONCE },

    { B(SEAL),                S,             C,             B(SEALED),           0, 0, REPEAT },
    { B(UNSEAL),              S,             C,             B(UNSEALED),         0, 0, REPEAT },
    { B(DRIVE_KEYS_MAKE),     S,             C,             B(DRIVE_KEYS_SEALED), 0, 0, REPEAT },
    { B(DRIVE_KEYS_OPEN),     S,             C,             B(DRIVE_KEYS_OPENED), 0, 0, REPEAT },
    { B(DRIVE_KEYS_CHANGE),   S,             C,             B(DRIVE_KEYS_SEALED), 0, 0, ONCE },
    { B(DRIVE_KEYS_EXPORT),   S,             C,             B(DRIVE_KEYS_EXPORTED), 0, 0, ONCE },
    { B(DRIVE_KEYS_CLOSE),    S,             C,             B(DONE),             0, 0, ONCE },
    { B(DRIVE_KEYS_LEND),     S,             C,             B(DONE),             1, 0, ONCE },
    { B(CACHE_KEY_MAKE),      S,             C,             B(CACHE_KEY),        0, 0, ONCE },
    { B(CACHE_KEY_RENEW),     S,             C,             B(CACHE_KEY),        0, 0, ONCE },
    { B(OBJECT_MAKE),         S,             C,             B(OBJECT_MADE),      0, 0, ONCE },
    { B(OBJECT_OPEN),         S,             C,             B(OBJECT_OPENED),    0, 0, ONCE },
    { B(OBJECT_BIND),         S,             C,             B(OBJECT_BOUND),     0, 0, ONCE },
    { B(CRYPT_REGION),        S | W,         C,             B(DONE),             1, 0, REPEAT },
    { B(CRYPT),               S | W,         C,             B(CRYPTED),          0, 0, REPEAT },
};

const struct message_row *message_rows(size_t *ret_n)
{
    *ret_n = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const struct message_row *message_row(Lf__Envelope__BodyCase body)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].body == body)
            return &rows[i];
    return NULL;
}

const char *role_name(enum role r)
{
    static const char *const names[ROLE_COUNT] = { "none", "frontd", "syncd", "mountd", "cryptd", "worker" };

    return r < ROLE_COUNT ? names[r] : "none";
}

const char *message_name(Lf__Envelope__BodyCase body)
{
    const ProtobufCFieldDescriptor *f;

    if (body == LF__ENVELOPE__BODY__NOT_SET)
        return "unset";
    f = protobuf_c_message_descriptor_get_field(&lf__envelope__descriptor, (unsigned)body);
    return f ? f->name : "unknown";
}

void *message_copy(const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *packed = xcalloc(1, n + 1);
    void *copy;

    (void)protobuf_c_message_pack(m, packed);
    copy = protobuf_c_message_unpack(m->descriptor, NULL, n, packed);
    explicit_bzero(packed, n);
    free(packed);
    if (!copy)
        abort();
    return copy;
}
