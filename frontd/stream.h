/* GET /management/get_object_stream: the bytes of an object, through a pipe that syncd fills. */
#pragma once

#include "frontd/exchange.h"

/* 200 for the whole object, 206 for a span given by start and end (inclusive) or by a Range field, 416
 * past its end. The query counts before the field; with If-Range the field is not heeded, since
 * the object's ETag is known only once it is open. */
void stream_serve(struct exchange *x);
