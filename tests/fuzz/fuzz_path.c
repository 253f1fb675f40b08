/* Any bytes as the path of an object, against a drive with a letter. What resolves stays below the drive: no
 * "..", nothing absolute, nothing empty in between. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "syncd/drive.h"
#include "syncd/path.h"
#include "syncd/syncd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One component after the other, slower and simpler than the code under test. */
static void check(const char *relative)
{
    while (*relative) {
        size_t n = strcspn(relative, "/");

        if (n == 0 || (n == 1 && relative[0] == '.') || (n == 2 && memcmp(relative, "..", 2) == 0))
            abort();
        if (relative[n] == '/' && !relative[n + 1])
            abort();
        relative += n + (relative[n] == '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Lf__CloudDrive model = LF__CLOUD_DRIVE__INIT;
    struct drive drive = { .model = &model, .phase = DRIVE_READY };
    struct syncd d = { .drives = &drive, .mount_root_real = (char *)"/r" };
    struct drive *owner = NULL;
    char *path = calloc(1, size + 1), *relative = NULL;
    struct error e;

    memcpy(path, data, size);
    model.name = (char *)"n";
    model.local_path = (char *)"/m/n";
    model.permanent_local_path = (char *)"/c";
    model.drive_name = (char *)"G";
    if (path_resolve(&d, path, &owner, &relative, &e) == 0) {
        if (owner != &drive)
            abort();
        check(relative);
        free(relative);
    }
    free(path);
    return 0;
}
