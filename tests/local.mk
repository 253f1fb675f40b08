# Tests. `make check` runs what is listed in TESTS: unit tests, lints, a short turn of each fuzz corpus.
# tests/integration needs root, FUSE and real servers; `./check` runs those.
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = /bin/sh
CMOCKA_MESSAGE_OUTPUT = stdout

# What nearly every test links. A test of a daemon puts its library before: libfoo.a $(UNIT_LINK).
UNIT_LINK = libcommon.a libproto.a $(COMMON_LIBS) $(CMOCKA_LIBS) -lpthread

# --- lints ---------------------------------------------------------------------------------------
TESTS += tests/lint/includes.sh
dist_check_SCRIPTS = tests/lint/includes.sh

# --- unit tests: one block per program, alphabetical, in this pattern ------------------------------
#
# check_PROGRAMS += tests/unit/test_NAME
# TESTS += tests/unit/test_NAME
# tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
# tests_unit_test_NAME_LDADD = libsyncd.a $(UNIT_LINK) $(SQLITE_LIBS)


check_PROGRAMS += tests/unit/test_config
TESTS += tests/unit/test_config
tests_unit_test_config_SOURCES = tests/unit/test_config.c
tests_unit_test_config_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_log
TESTS += tests/unit/test_log
tests_unit_test_log_SOURCES = tests/unit/test_log.c
tests_unit_test_log_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_messages
TESTS += tests/unit/test_messages
tests_unit_test_messages_SOURCES = tests/unit/test_messages.c
tests_unit_test_messages_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_text
TESTS += tests/unit/test_text
tests_unit_test_text_SOURCES = tests/unit/test_text.c
tests_unit_test_text_LDADD = $(UNIT_LINK)

# --- fuzz targets: configure --enable-fuzzing CC=clang ----------------------------------------------
#
# noinst_PROGRAMS += tests/fuzz/fuzz_NAME
# tests_fuzz_fuzz_NAME_SOURCES = tests/fuzz/fuzz_NAME.c
# tests_fuzz_fuzz_NAME_LDADD = libsyncd.a $(FUZZ_LINK)
# tests_fuzz_fuzz_NAME_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
FUZZ_LINK = libcommon.a libproto.a $(COMMON_LIBS) -lpthread
LIBFUZZER = -fsanitize=fuzzer
if FUZZING

endif
