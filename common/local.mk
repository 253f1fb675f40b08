noinst_LIBRARIES += libcommon.a
libcommon_a_SOURCES = \
	common/base64.c \
	common/base64.h \
	common/chunk_map.h \
	common/cleanup.h \
	common/config.c \
	common/config.h \
	common/daemon.c \
	common/daemon.h \
	common/error.c \
	common/error.h \
	common/ipc.h \
	common/ipc_call.c \
	common/ipc_call.h \
	common/ipc_client.c \
	common/ipc_conn.c \
	common/ipc_conn.h \
	common/ipc_packet.c \
	common/ipc_packet.h \
	common/ipc_peer.c \
	common/ipc_peer.h \
	common/ipc_server.c \
	common/json_pb.c \
	common/json_pb.h \
	common/json_pb_write.c \
	common/log.c \
	common/log.h \
	common/loop.c \
	common/loop.h \
	common/messages.c \
	common/messages.h \
	common/notify.c \
	common/notify.h \
	common/sandbox.c \
	common/sandbox.h \
	common/text.c \
	common/text.h
