# The mount daemon, and the worker that it starts for each drive.
noinst_LIBRARIES += libmountd.a libworker.a
pkglibexec_PROGRAMS += landfall-mountd landfall-worker

libmountd_a_SOURCES = \
	mountd/backing.c \
	mountd/child.c \
	mountd/control.h \
	mountd/desired.c \
	mountd/drive.c \
	mountd/filter.c \
	mountd/fuse_recent.h \
	mountd/fusermount.c \
	mountd/fusermount.h \
	mountd/kept.c \
	mountd/kept.h \
	mountd/metrics.c \
	mountd/mount.c \
	mountd/mount.h \
	mountd/mount_point.c \
	mountd/mount_point.h \
	mountd/mountd.c \
	mountd/mountd.h \
	mountd/mountd_internal.h \
	mountd/owed.c \
	mountd/owed.h \
	mountd/spawn.c \
	mountd/spawn.h

landfall_mountd_SOURCES = mountd/main.c
landfall_mountd_LDADD = libmountd.a libcommon.a libproto.a $(COMMON_LIBS) -lpthread

libworker_a_SOURCES = \
	mountd/worker.c \
	mountd/worker.h \
	mountd/worker_ahead.c \
	mountd/worker_attr.c \
	mountd/worker_copy.c \
	mountd/worker_data.c \
	mountd/worker_dir.c \
	mountd/worker_file.c \
	mountd/worker_file.h \
	mountd/worker_early.c \
	mountd/worker_filter.c \
	mountd/worker_internal.h \
	mountd/worker_kept.c \
	mountd/worker_meter.c \
	mountd/worker_mode.c \
	mountd/worker_names.c \
	mountd/worker_need.c \
	mountd/worker_notifier.c \
	mountd/worker_notifier.h \
	mountd/worker_notify.c \
	mountd/worker_op.c \
	mountd/worker_open.c \
	mountd/worker_owed.c \
	mountd/worker_push.c \
	mountd/worker_reseal.c \
	mountd/worker_sealed.c \
	mountd/worker_sealed.h \
	mountd/worker_session.c \
	mountd/worker_sync.c \
	mountd/worker_turn.c \
	mountd/worker_turn.h \
	mountd/worker_wait.c \
	mountd/worker_xattr.c
libworker_a_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE_CFLAGS)

landfall_worker_SOURCES = mountd/worker_main.c
landfall_worker_LDADD = libworker.a libcommon.a libproto.a $(FUSE_LIBS) $(COMMON_LIBS) -lpthread
