/* GET /metrics: what all processes count, for Prometheus. */
#pragma once

#include "frontd/exchange.h"

void metrics_serve(struct exchange *x);
