noinst_LIBRARIES += libfrontd.a
libfrontd_a_SOURCES = \
	frontd/agent.c \
	frontd/agent.h \
	frontd/audit.c \
	frontd/audit.h \
	frontd/call.c \
	frontd/call.h \
	frontd/exchange.c \
	frontd/exchange.h \
	frontd/feeds.c \
	frontd/feeds.h \
	frontd/filter.c \
	frontd/filter.h \
	frontd/form.c \
	frontd/form.h \
	frontd/form_serve.c \
	frontd/form_serve.h \
	frontd/frontd.c \
	frontd/frontd.h \
	frontd/guard.c \
	frontd/guard.h \
	frontd/http.c \
	frontd/http.h \
	frontd/http_body.c \
	frontd/http_body.h \
	frontd/http_conn.c \
	frontd/http_conn.h \
	frontd/http_head.c \
	frontd/http_head.h \
	frontd/http_reply.c \
	frontd/hub.c \
	frontd/hub.h \
	frontd/list.c \
	frontd/metrics.c \
	frontd/metrics.h \
	frontd/notify.c \
	frontd/notify.h \
	frontd/openapi.c \
	frontd/openapi.h \
	frontd/proof.c \
	frontd/proof.h \
	frontd/peer.c \
	frontd/peer.h \
	frontd/query.c \
	frontd/query.h \
	frontd/range.c \
	frontd/range.h \
	frontd/rate.c \
	frontd/rate.h \
	frontd/ring.c \
	frontd/ring.h \
	frontd/route.c \
	frontd/route.h \
	frontd/router.c \
	frontd/router.h \
	frontd/routes.c \
	frontd/sha1.c \
	frontd/sha1.h \
	frontd/stream.c \
	frontd/stream.h \
	frontd/upgrade.c \
	frontd/upgrade.h \
	frontd/websocket.c \
	frontd/websocket.h

pkglibexec_PROGRAMS += landfall-frontd
landfall_frontd_SOURCES = frontd/main.c frontd/wipe.c
landfall_frontd_LDADD = libfrontd.a libcommon.a libproto.a $(COMMON_LIBS) $(WSLAY_LIBS) -lpthread
