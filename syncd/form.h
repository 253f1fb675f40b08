/* Files that come as part of a form: through a pipe into a file of StateDir that has no name, so that nothing is left
 * of one that nobody finishes. Whoever sends it keeps his end of the pipe until the file has been taken over as an
 * upload; one that he closes before is forgotten. */
#pragma once

#include "common/ipc.h"

struct forms;
struct syncd;

struct forms *forms_new(struct syncd *d);
void forms_close(struct forms *all);   /* those that are still coming are given up */
void forms_free(struct forms *all);    /* NULL is fine */

ipc_handler_fn form_open, form_done;
