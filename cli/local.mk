# The command line, and the supervisor behind `landfall run`.
noinst_LIBRARIES += libcli.a
libcli_a_SOURCES = \
	cli/accept.c \
	cli/account.c \
	cli/account.h \
	cli/api.c \
	cli/api.h \
	cli/audit.c \
	cli/command.h \
	cli/commands.c \
	cli/config_list.c \
	cli/dir.c \
	cli/dir.h \
	cli/drive.c \
	cli/encrypt.c \
	cli/install.c \
	cli/instance.c \
	cli/instance.h \
	cli/key.c \
	cli/key_kit.c \
	cli/key_kit.h \
	cli/keys.c \
	cli/keys.h \
	cli/listing.c \
	cli/listing.h \
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
	cli/place.h \
	cli/secret_line.c \
	cli/secret_line.h \
	cli/stat.c \
	cli/status.c \
	cli/stop.c \
	cli/target.c \
	cli/target.h \
	cli/verb.c \
	cli/wait.c

bin_PROGRAMS += landfall
landfall_SOURCES = cli/main.c
landfall_LDADD = libcli.a libcommon.a libproto.a $(COMMON_LIBS)
