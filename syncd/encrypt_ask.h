/* Who waits for what is to be encrypted on a drive. For encrypt.c alone. */
#pragma once

#include "syncd/volume_internal.h"

/* Something may have come to its end: who waits for all of it is answered when nothing is left. */
void encrypt_asked_look(struct volume *v);
/* The drive is being closed. */
void encrypt_asked_end(struct volume *v);
