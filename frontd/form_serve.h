/* POST /cloud/upload_object_from_form: the row's handler, and what takes the body. */
#pragma once

#include <stdbool.h>

struct exchange;

void form_serve(struct exchange *x);
/* For http_request_take(). */
void form_serve_body(bool ended, void *exchange);
