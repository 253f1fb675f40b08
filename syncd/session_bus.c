/* Speaks D-Bus by sd-bus. The address is made from the uid alone: no environment is believed, and no name that a caller
 * chose is asked for. */
#include "syncd/session_bus.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>

#include "common/cleanup.h"
#include "common/text.h"

enum { CALL_SECONDS = 15, URI_MAX = 3 * PATH_MAX + 16 };

static const char FILE_MANAGER[] = "org.freedesktop.FileManager1";

static int no_session(const struct session_folder *f, struct error *e)
{
    return error_set(e, -EOPNOTSUPP, "There is no desktop session of user %u on this machine (no bus at "
                     "/run/user/%u/bus) that could show %.200s.", f->uid, f->uid, f->path);
}

/* Whose folder it is, his is the bus. */
static bool has_bus(uint32_t uid)
{
    char path[64];
    struct stat dir, bus;

    snprintf(path, sizeof(path), "/run/user/%u/", uid);
    if (lstat(path, &dir) < 0 || dir.st_uid != uid || dir.st_mode & (S_IWGRP | S_IWOTH))
        return false;
    snprintf(path, sizeof(path), "/run/user/%u/bus", uid);
    return lstat(path, &bus) == 0 && S_ISSOCK(bus.st_mode);
}

static int connect_to(const struct session_folder *f, sd_bus **ret, struct error *e)
{
    char address[64];
    int r;

    if (!has_bus(f->uid))
        return no_session(f, e);
    snprintf(address, sizeof(address), "unix:path=/run/user/%u/bus", f->uid);
    r = sd_bus_new(ret);
    if (r >= 0)
        r = sd_bus_set_address(*ret, address);
    if (r >= 0)
        r = sd_bus_set_bus_client(*ret, 1);
    if (r >= 0)
        r = sd_bus_set_method_call_timeout(*ret, CALL_SECONDS * UINT64_C(1000000));
    if (r >= 0)
        r = sd_bus_start(*ret);
    return r < 0 ? no_session(f, e) : 0;
}

static int refused(const struct session_folder *f, int code, const sd_bus_error *why, struct error *e)
{
    if (code == -ETIMEDOUT)
        return error_set(e, code, "The file manager of the session did not answer within %d seconds.", CALL_SECONDS);
    return error_set(e, -EOPNOTSUPP, "No file manager of the desktop session could show %.200s: %.200s", f->path,
                     why->message ? why->message : strerror(-code));
}

static int show(sd_bus *bus, const struct session_folder *f, const char *uri, struct error *e)
{
    CLEANUP(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    CLEANUP(sd_bus_error_free) sd_bus_error why = SD_BUS_ERROR_NULL;
    int r = sd_bus_message_new_method_call(bus, &m, FILE_MANAGER, "/org/freedesktop/FileManager1", FILE_MANAGER,
                                           "ShowFolders");

    if (r >= 0)
        r = sd_bus_message_append(m, "ass", 1, uri, "");
    if (r >= 0)
        r = sd_bus_call(bus, m, 0, &why, NULL);
    return r < 0 ? refused(f, r, &why, e) : 0;
}

void session_show_folder(void *folder)
{
    struct session_folder *f = folder;
    CLEANUP(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
    CLEANUP(text_free) struct text uri = TEXT_INIT(URI_MAX);

    text_puts(&uri, "file://");
    text_percent_encode(&uri, f->path, strlen(f->path), true);
    if (uri.error)
        (void)error_set(&f->error, -ENAMETOOLONG, "The path of the drive is too long to be shown.");
    else if (connect_to(f, &bus, &f->error) == 0)
        (void)show(bus, f, uri.data, &f->error);
}
