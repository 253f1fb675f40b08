# The schema, compiled. Generated code is not held to our warnings.
PROTO_FILES = proto/api.proto proto/ipc.proto
PROTO_SOURCES = proto/api.pb-c.c proto/api.pb-c.h proto/ipc.pb-c.c proto/ipc.pb-c.h

noinst_LIBRARIES += libproto.a
nodist_libproto_a_SOURCES = $(PROTO_SOURCES)
libproto_a_CFLAGS = -std=gnu17 -w $(HARDENING) $(SANITIZE)

BUILT_SOURCES += $(PROTO_SOURCES)
CLEANFILES += $(PROTO_SOURCES)
EXTRA_DIST += $(PROTO_FILES)

proto/api.pb-c.c: $(srcdir)/proto/api.proto
	$(AM_V_GEN)$(MKDIR_P) proto && $(PROTOC_C) -I$(srcdir) --c_out=. $<
proto/ipc.pb-c.c: $(srcdir)/proto/ipc.proto $(srcdir)/proto/api.proto
	$(AM_V_GEN)$(MKDIR_P) proto && $(PROTOC_C) -I$(srcdir) --c_out=. $<
proto/api.pb-c.h: proto/api.pb-c.c
proto/ipc.pb-c.h: proto/ipc.pb-c.c
