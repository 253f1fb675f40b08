/* Which handler answers which message. Who may send it stands in common/messages.c. */
#include "syncd/serve.h"

#include <assert.h>
#include <string.h>

#include "common/cleanup.h"
#include "syncd/account.h"
#include "syncd/agent.h"
#include "syncd/audit.h"
#include "syncd/bucket.h"
#include "syncd/drive.h"
#include "syncd/events.h"
#include "syncd/form.h"
#include "syncd/keys_api.h"
#include "syncd/keys_kept.h"
#include "syncd/local_api.h"
#include "syncd/metrics.h"
#include "syncd/mounts.h"
#include "syncd/object_api.h"
#include "syncd/presign.h"
#include "syncd/transfer.h"
#include "syncd/volume.h"

#define ROW(name) LF__ENVELOPE__BODY_##name

static const struct ipc_handler HANDLERS[] = {
    { ROW(SHUTDOWN), agent_shutdown },
    { ROW(METRICS_GET), metrics_get },
    { ROW(AGENT_STATUS_GET), agent_status },
    { ROW(AGENT_COMMAND), agent_command },

    { ROW(DRIVE_LIST), drive_list },
    { ROW(DRIVE_EXISTS), drive_exists },
    { ROW(DRIVE_INSERT), drive_insert },
    { ROW(DRIVE_UPDATE), drive_update },
    { ROW(DRIVE_CHANGE_CACHE), drive_change_cache },
    { ROW(DRIVE_DELETE), drive_delete },
    { ROW(DRIVE_SYNC), drive_sync },
    { ROW(DRIVE_SHOW), drive_show },

    { ROW(KEYS_LIST), keys_kept_list },
    { ROW(KEYS_GET), keys_api_get },
    { ROW(KEYS_EXPORT), keys_api_export },
    { ROW(KEYS_IMPORT), keys_api_import },
    { ROW(KEYS_ROTATE), keys_api_rotate },
    { ROW(KEYS_ESCROW), keys_api_escrow },
    { ROW(KEYS_DESTROY), keys_api_destroy },

    { ROW(ACCOUNT_LIST), account_list },
    { ROW(ACCOUNT_GET), account_get },
    { ROW(ACCOUNT_INSERT), account_insert },
    { ROW(ACCOUNT_DELETE), account_delete },
    { ROW(BUCKET_LIST), bucket_list },
    { ROW(CLOUD_OBJECT_LIST), bucket_list_objects },
    { ROW(DOWNLOAD_URL), bucket_download_url },
    { ROW(UPLOAD_URL), bucket_upload_url },
    { ROW(CLOUD_OBJECT_DELETE), bucket_delete_object },
    { ROW(CLOUD_FOLDER_CREATE), bucket_create_folder },
    { ROW(CLOUD_UPLOAD), bucket_upload_object },
    { ROW(CLOUD_DOWNLOAD), bucket_download_object },
    { ROW(FORM_OPEN), form_open },
    { ROW(FORM_DONE), form_done },

    { ROW(RENAME_STATUS_GET), object_api_rename_status },
    { ROW(OBJECT_STATUS_GET), object_api_status },
    { ROW(OBJECT_INFO_GET), object_api_info },
    { ROW(OBJECT_INFO_LIST), object_api_list },
    { ROW(OBJECT_EXPLAIN), object_api_explain },
    { ROW(OBJECT_AWAIT), object_api_await },
    { ROW(OBJECT_MAKE_OFFLINE), object_api_make_offline },
    { ROW(OBJECT_REMOVE_OFFLINE), object_api_remove_offline },
    { ROW(OBJECT_ACCEPT), object_api_accept },
    { ROW(OBJECT_ENCRYPT), object_api_encrypt },
    { ROW(OBJECT_ENCRYPT_STOP), object_api_encrypt_stop },
    { ROW(ENCRYPTION_GET), object_api_encryption },
    { ROW(OBJECT_DOWNLOAD), object_api_download },
    { ROW(OBJECT_READ), object_api_read },
    { ROW(OBJECT_EVICT), object_api_evict },
    { ROW(OBJECT_DELETE), object_api_delete },
    { ROW(STREAM_OPEN), object_api_stream },
    { ROW(PRESIGN), presign_urls },

    { ROW(AUDIT_CALL), audit_call },
    { ROW(AUDIT_RESULT), audit_result },
    { ROW(AUDIT_LIST), audit_list },
    { ROW(AUDIT_VERIFY), audit_verify },
    { ROW(EVENTS_WATCH), events_watch },
    { ROW(TRANSFER_LIST), transfer_list },
    { ROW(TRANSFER_GET), transfer_get },
    { ROW(TRANSFER_PAUSE), transfer_pause },
    { ROW(TRANSFER_RESUME), transfer_resume },
    { ROW(TRANSFER_CANCEL), transfer_cancel },

    { ROW(MOUNT_POINT_LIST), local_api_points },
    { ROW(LETTER_LIST), local_api_letters },
    { ROW(DIRECTORY_LIST), local_api_directories },
    { ROW(LOCAL_LIST), local_api_objects },
    { ROW(DIRECTORY_MAKE), local_api_make },

    { ROW(MOUNT_LIST), mounts_list },
    { ROW(MOUNT_REPORT), mounts_report },
    { ROW(WORKER_ATTACH), mounts_attach },
};

enum { ROWS_MOST = 160 };

const struct ipc_handler *serve_handlers(size_t *ret_n)
{
    static struct ipc_handler all[ROWS_MOST];

    *ret_n = ARRAY_SIZE(HANDLERS) + volume_fs_handlers_n;
    assert(*ret_n <= ROWS_MOST);
    memcpy(all, HANDLERS, sizeof(HANDLERS));
    memcpy(all + ARRAY_SIZE(HANDLERS), volume_fs_handlers, volume_fs_handlers_n * sizeof(all[0]));
    return all;
}
