# The command line, and the supervisor behind `landfall run`.
noinst_LIBRARIES += libcli.a
libcli_a_SOURCES = \
	cli/account.c \
	cli/account.h \
	cli/agent.c \
	cli/api.c \
	cli/api.h \
	cli/audit.c \
	cli/bucket.c \
	cli/command.h \
	cli/commands.c \
	cli/completion.c \
	cli/config_list.c \
	cli/config_list.h \
	cli/copy.c \
	cli/copy.h \
	cli/copy_cloud.c \
	cli/copy_drive.c \
	cli/dir.c \
	cli/dir.h \
	cli/doctor.c \
	cli/doctor.h \
	cli/doctor_instance.c \
	cli/doctor_machine.c \
	cli/doctor_port.c \
	cli/drive.c \
	cli/encrypt.c \
	cli/install.c \
	cli/instance.c \
	cli/instance.h \
	cli/key.c \
	cli/key_kit.c \
	cli/key_kit.h \
	cli/interrupt.c \
	cli/interrupt.h \
	cli/keys.c \
	cli/keys.h \
	cli/landing.c \
	cli/landing.h \
	cli/listing.c \
	cli/listing.h \
	cli/ls.c \
	cli/objects.c \
	cli/run.c \
	cli/run.h \
	cli/run_dirs.c \
	cli/run_instance.c \
	cli/run_kept.c \
	cli/run_limits.c \
	cli/run_mounts.c \
	cli/run_notify.c \
	cli/run_passphrase.c \
	cli/run_plan.c \
	cli/run_process.c \
	cli/run_sockets.c \
	cli/run_spawn.c \
	cli/place.c \
	cli/progress.c \
	cli/progress.h \
	cli/place.h \
	cli/secret_line.c \
	cli/secret_line.h \
	cli/share.c \
	cli/shown.c \
	cli/shown.h \
	cli/stat.c \
	cli/states.c \
	cli/states.h \
	cli/status.c \
	cli/status.h \
	cli/stop.c \
	cli/target.c \
	cli/target.h \
	cli/top.c \
	cli/top.h \
	cli/top_table.c \
	cli/transfer.c \
	cli/verb.c \
	cli/wait.c \
	cli/wait.h \
	cli/watch.c \
	cli/watch.h \
	cli/watch_print.c \
	cli/websocket.c \
	cli/websocket.h

dist_man_MANS = docs/man/landfall.1

bin_PROGRAMS += landfall
landfall_SOURCES = cli/main.c
landfall_LDADD = libcli.a libcommon.a libproto.a $(COMMON_LIBS) $(WSLAY_LIBS)
