/* The OpenAPI 3.1 document, made from the routes and the messages they name. */
#pragma once

#include "frontd/exchange.h"

/* The document; `url` is the address of the API. The caller's to json_object_put(). */
struct json_object *openapi_document(const char *url);

/* GET /openapi.json */
void openapi_serve(struct exchange *x);
