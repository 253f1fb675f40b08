# Tests. `make check` runs what is listed in TESTS: unit tests, lints, a short turn of each fuzz corpus.
# tests/integration needs root, FUSE and real servers; `./check` runs those.
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = /bin/sh
CMOCKA_MESSAGE_OUTPUT = stdout

# What nearly every test links. A test of a daemon puts its library before: libfoo.a $(UNIT_LINK).
UNIT_LINK = libcommon.a libproto.a $(COMMON_LIBS) $(CMOCKA_LIBS) -lpthread

# --- lints ---------------------------------------------------------------------------------------
TESTS += tests/lint/architecture.sh tests/lint/includes.sh tests/lint/man.sh tests/lint/scripts.sh tests/lint/units.sh
dist_check_SCRIPTS = tests/lint/architecture.sh tests/lint/includes.sh tests/lint/man.sh tests/lint/scripts.sh tests/lint/units.sh

# --- what ./check runs beside them -----------------------------------------------------------------
EXTRA_DIST += .ci/run setup/accounts setup/packages setup/wanted \
	tests/bench/api.py \
	tests/bench/bench.py \
	tests/bench/encrypted.py \
	tests/bench/get.lua \
	tests/bench/ground.py \
	tests/bench/limits.py \
	tests/bench/mounts.py \
	tests/bench/page_cache.py \
	tests/bench/processes.py \
	tests/bench/put.lua \
	tests/bench/put_signed.lua \
	tests/bench/rows.py \
	tests/bench/run \
	tests/bench/signed.py \
	tests/bench/systems.py \
	tests/bench/table.py \
	tests/bench/work.py \
	tests/integration/age_vectors \
	tests/integration/age_vectors.txt \
	tests/integration/cable.py \
	tests/integration/cloud_case.py \
	tests/integration/drive_case.py \
	tests/integration/fake_daemon.py \
	tests/integration/fault_case.py \
	tests/integration/fault_proxy.py \
	tests/integration/hesitant \
	tests/integration/killer.py \
	tests/integration/landfall_test.py \
	tests/integration/loop_disk.py \
	tests/integration/model.py \
	tests/integration/posix_case.py \
	tests/integration/posix_exclusions.py \
	tests/integration/posix_matrix.py \
	tests/integration/raw_s3.py \
	tests/integration/run_tests.py \
	tests/integration/test_age.py \
	tests/integration/test_agent_states.py \
	tests/integration/test_anchors.py \
	tests/integration/test_api_examples.py \
	tests/integration/test_audit.py \
	tests/integration/test_bad_disk.py \
	tests/integration/test_bad_input.py \
	tests/integration/test_browser.py \
	tests/integration/test_cache_limit.py \
	tests/integration/test_changes.py \
	tests/integration/test_copy.py \
	tests/integration/test_cli.py \
	tests/integration/test_cloud_api.py \
	tests/integration/test_cloud_conformance.py \
	tests/integration/test_conflicts.py \
	tests/integration/test_damage.py \
	tests/integration/test_drive_local.py \
	tests/integration/test_drive_s3.py \
	tests/integration/test_encrypt.py \
	tests/integration/test_endpoints.py \
	tests/integration/test_evil_frontd.py \
	tests/integration/test_exerciser.py \
	tests/integration/test_faults.py \
	tests/integration/test_floods.py \
	tests/integration/test_fresh_machine.py tests/integration/test_git_build_sqlite.py \
	tests/integration/test_full_disk.py \
	tests/integration/test_guard.py \
	tests/integration/test_http_guard.py \
	tests/integration/test_change_cache.py \
	tests/integration/test_keys.py \
	tests/integration/test_kills.py \
	tests/integration/test_local_files.py \
	tests/integration/test_make_offline.py \
	tests/integration/test_many_files.py \
	tests/integration/test_metrics.py \
	tests/integration/test_model.py \
	tests/integration/test_open.py \
	tests/integration/test_outlive.py \
	tests/integration/test_object_calls.py \
	tests/integration/test_objects.py \
	tests/integration/test_odd_keys.py \
	tests/integration/test_offline.py \
	tests/integration/test_openapi.py \
	tests/integration/test_passthrough.py \
	tests/integration/test_pjdfstest.py \
	tests/integration/test_old_kernel.py \
	tests/integration/test_pieces.py \
	tests/integration/test_port.py \
	tests/integration/test_posix.py \
	tests/integration/test_posix_bucket.py \
	tests/integration/test_power_cut.py \
	tests/integration/test_processes.py \
	tests/integration/test_quickstart.py \
	tests/integration/test_random_reads.py \
	tests/integration/test_remote_edits.py \
	tests/integration/test_rename.py \
	tests/integration/test_restart.py \
	tests/integration/test_secret_scan.py \
	tests/integration/test_statfs.py \
	tests/integration/test_supervisor.py \
	tests/integration/test_systemd.py \
	tests/integration/test_threats.py \
	tests/integration/test_transfers.py \
	tests/integration/test_two_agents.py \
	tests/integration/test_unlock.py \
	tests/integration/test_uploads.py \
	tests/integration/test_wait.py \
	tests/integration/test_websockets.py \
	tests/integration/twin.py \
	tests/integration/wire.py \
	tests/pjdfstest/excluded \
	tests/pjdfstest/exclusions.py \
	tests/pjdfstest/run \
	tests/pjdfstest/suite.py \
	tests/pjdfstest/tap.py


EXTRA_DIST += tests/fuzz/keep \
	tests/fuzz/corpora/age_header.tar.gz \
	tests/fuzz/corpora/anchors.tar.gz \
	tests/fuzz/corpora/cryptd_call.tar.gz \
	tests/fuzz/corpora/cryptd_form.tar.gz \
	tests/fuzz/corpora/form.tar.gz \
	tests/fuzz/corpora/http_head.tar.gz \
	tests/fuzz/corpora/ipc_packet.tar.gz \
	tests/fuzz/corpora/json_pb.tar.gz \
	tests/fuzz/corpora/name.tar.gz \
	tests/fuzz/corpora/path.tar.gz \
	tests/fuzz/corpora/route.tar.gz \
	tests/fuzz/corpora/s3_headers.tar.gz \
	tests/fuzz/corpora/s3_xml.tar.gz \
	tests/fuzz/corpora/sealed.tar.gz \
	tests/fuzz/corpora/service_url.tar.gz \
	tests/fuzz/corpora/websocket.tar.gz

EXTRA_DIST += tests/fuzz/seeds/cryptd_call/cache_key_make \
	tests/fuzz/seeds/cryptd_call/cache_key_make_many \
	tests/fuzz/seeds/cryptd_call/cache_key_renew \
	tests/fuzz/seeds/cryptd_call/crypt_zeros \
	tests/fuzz/seeds/cryptd_call/drive_keys_change_identity \
	tests/fuzz/seeds/cryptd_call/drive_keys_make_after \
	tests/fuzz/seeds/cryptd_call/crypt \
	tests/fuzz/seeds/cryptd_call/crypt_region \
	tests/fuzz/seeds/cryptd_call/drive_keys_change \
	tests/fuzz/seeds/cryptd_call/drive_keys_close \
	tests/fuzz/seeds/cryptd_call/drive_keys_export \
	tests/fuzz/seeds/cryptd_call/drive_keys_lend \
	tests/fuzz/seeds/cryptd_call/drive_keys_make \
	tests/fuzz/seeds/cryptd_call/drive_keys_open \
	tests/fuzz/seeds/cryptd_call/object_bind \
	tests/fuzz/seeds/cryptd_call/object_make \
	tests/fuzz/seeds/cryptd_call/object_open \
	tests/fuzz/seeds/cryptd_call/object_open_nothing \
	tests/fuzz/seeds/cryptd_call/worker_crypt \
	tests/fuzz/seeds/cryptd_call/worker_crypt_region
EXTRA_DIST += tests/fuzz/seeds/anchors/name tests/fuzz/seeds/anchors/segment
EXTRA_DIST += tests/fuzz/seeds/age_header/age tests/fuzz/seeds/age_header/escrow tests/fuzz/seeds/age_header/object \
	tests/fuzz/seeds/age_header/unknown \
	tests/fuzz/seeds/cryptd_form/blob tests/fuzz/seeds/cryptd_form/identity tests/fuzz/seeds/cryptd_form/record \
	tests/fuzz/seeds/cryptd_form/sealed tests/fuzz/seeds/cryptd_form/wrapped
EXTRA_DIST += tests/fuzz/seeds/form/two_parts tests/fuzz/seeds/form/type
EXTRA_DIST += tests/fuzz/seeds/http_head/chunked tests/fuzz/seeds/http_head/sized \
	tests/fuzz/seeds/json_pb/bytes tests/fuzz/seeds/json_pb/drive tests/fuzz/seeds/json_pb/objects \
	tests/fuzz/seeds/name/bytes tests/fuzz/seeds/name/cut tests/fuzz/seeds/name/dots tests/fuzz/seeds/name/long \
	tests/fuzz/seeds/path/cache tests/fuzz/seeds/path/dots tests/fuzz/seeds/path/letter tests/fuzz/seeds/path/link \
	tests/fuzz/seeds/sealed/entries tests/fuzz/seeds/sealed/head \
	tests/fuzz/seeds/route/path tests/fuzz/seeds/route/query tests/fuzz/seeds/route/range \
	tests/fuzz/seeds/websocket/long tests/fuzz/seeds/websocket/message tests/fuzz/seeds/websocket/ping_close

# --- unit tests: one block per program, alphabetical, in this pattern ------------------------------
#
# check_PROGRAMS += tests/unit/test_NAME
# TESTS += tests/unit/test_NAME
# tests_unit_test_NAME_SOURCES = tests/unit/test_NAME.c
# tests_unit_test_NAME_LDADD = libsyncd.a $(UNIT_LINK) $(SQLITE_LIBS)


# A client of frontd's WebSockets, and what it is tested against.
SOCKET_CLIENT = tests/unit/socket_client.c tests/unit/socket_client.h tests/unit/frontd_fixture.c \
	tests/unit/frontd_fixture.h tests/unit/http_client.c tests/unit/http_client.h

# A volume on the memory provider, and a worker that asks it.
VOLUME_FIXTURE = tests/unit/volume_fixture.c tests/unit/volume_fixture.h tests/unit/files.h tests/unit/patience.h

# A volume that a test can hold back, crash and read and write as a worker does.
VOLUME_RIG = tests/unit/volume_rig.c tests/unit/volume_rig_worker.c tests/unit/volume_rig.h tests/unit/files.h \
	tests/unit/patience.h

# The same with a folder in its cloud.
RIG_FOLDER = tests/unit/rig_folder.c tests/unit/rig_folder.h $(VOLUME_RIG)

# The same with keys, and a cryptd beside it.
SEALED_RIG = tests/unit/sealed_rig.c tests/unit/sealed_rig.h $(CRYPTD_PROCESS)

# A whole syncd with volumes that a test steers.
SYNCD_FIXTURE = tests/unit/fake_volume.c tests/unit/fake_volume.h tests/unit/syncd_fixture.c tests/unit/syncd_fixture.h \
	tests/unit/files.h

# A cryptd in the process of the test.
CRYPTD_FIXTURE = tests/unit/cryptd_fixture.c tests/unit/cryptd_fixture.h

# A cryptd in a process of its own.
CRYPTD_PROCESS = tests/unit/cryptd_process.c tests/unit/cryptd_process.h
check_PROGRAMS += tests/unit/cryptd_alone
tests_unit_cryptd_alone_SOURCES = tests/unit/cryptd_alone.c
tests_unit_cryptd_alone_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

# A worker whose files are sealed by a real cryptd.
WORKER_SEALED = tests/unit/sealed_bench.c tests/unit/sealed_bench.h tests/unit/worker_bench.c tests/unit/worker_bench.h \
	tests/unit/fake_syncd.c tests/unit/fake_syncd.h tests/unit/fake_seal.c tests/unit/fake_seal.h tests/unit/ipc_fixture.c \
	tests/unit/ipc_fixture.h $(CRYPTD_PROCESS)

# Calls that a sandbox must not let pass.
FORBIDDEN = tests/unit/forbidden.c tests/unit/forbidden.h

check_PROGRAMS += tests/unit/test_account
TESTS += tests/unit/test_account
tests_unit_test_account_SOURCES = tests/unit/test_account.c $(SYNCD_FIXTURE)
tests_unit_test_account_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_bucket_object
TESTS += tests/unit/test_bucket_object
tests_unit_test_bucket_object_SOURCES = tests/unit/test_bucket_object.c $(SYNCD_FIXTURE)
tests_unit_test_bucket_object_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_form
TESTS += tests/unit/test_form
tests_unit_test_form_SOURCES = tests/unit/test_form.c
tests_unit_test_form_LDADD = libfrontd.a $(UNIT_LINK)

HAUL_RIG = tests/unit/haul_rig.c tests/unit/haul_rig.h $(SYNCD_FIXTURE)

check_PROGRAMS += tests/unit/test_haul
TESTS += tests/unit/test_haul
tests_unit_test_haul_SOURCES = tests/unit/test_haul.c $(HAUL_RIG)
tests_unit_test_haul_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_haul_record
TESTS += tests/unit/test_haul_record
tests_unit_test_haul_record_SOURCES = tests/unit/test_haul_record.c $(HAUL_RIG)
tests_unit_test_haul_record_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_account_name
TESTS += tests/unit/test_account_name
tests_unit_test_account_name_SOURCES = tests/unit/test_account_name.c
tests_unit_test_account_name_LDADD = libcli.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_address
TESTS += tests/unit/test_address
tests_unit_test_address_SOURCES = tests/unit/test_address.c
tests_unit_test_address_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_age
TESTS += tests/unit/test_age
tests_unit_test_age_SOURCES = tests/unit/test_age.c
tests_unit_test_age_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_audit
TESTS += tests/unit/test_audit
tests_unit_test_audit_SOURCES = tests/unit/test_audit.c $(SYNCD_FIXTURE)
tests_unit_test_audit_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_agent
TESTS += tests/unit/test_agent
tests_unit_test_agent_SOURCES = tests/unit/test_agent.c $(SYNCD_FIXTURE)
tests_unit_test_agent_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_anchors
TESTS += tests/unit/test_anchors
tests_unit_test_anchors_SOURCES = tests/unit/test_anchors.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_anchors_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_backing
TESTS += tests/unit/test_backing
tests_unit_test_backing_SOURCES = tests/unit/test_backing.c
tests_unit_test_backing_LDADD = libmountd.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_cache
TESTS += tests/unit/test_cache
tests_unit_test_cache_SOURCES = tests/unit/test_cache.c $(VOLUME_RIG)
tests_unit_test_cache_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_cache_bad
TESTS += tests/unit/test_cache_bad
tests_unit_test_cache_bad_SOURCES = tests/unit/test_cache_bad.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_cache_bad_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)
tests_unit_test_cache_bad_LDFLAGS = -Wl,--wrap=pread,--wrap=copy_file_range

check_PROGRAMS += tests/unit/test_cache_chunk
TESTS += tests/unit/test_cache_chunk
tests_unit_test_cache_chunk_SOURCES = tests/unit/test_cache_chunk.c
tests_unit_test_cache_chunk_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_cloud_ops
TESTS += tests/unit/test_cloud_ops
tests_unit_test_cloud_ops_SOURCES = tests/unit/test_cloud_ops.c tests/unit/cloud_suite.c tests/unit/cloud_suite.h \
	tests/unit/files.h
tests_unit_test_cloud_ops_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_commands
TESTS += tests/unit/test_commands
tests_unit_test_commands_SOURCES = tests/unit/test_commands.c
tests_unit_test_commands_LDADD = libcli.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_config
TESTS += tests/unit/test_config
tests_unit_test_config_SOURCES = tests/unit/test_config.c
tests_unit_test_config_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_conflict
TESTS += tests/unit/test_conflict
tests_unit_test_conflict_SOURCES = tests/unit/test_conflict.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_conflict_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_conflict_moved
TESTS += tests/unit/test_conflict_moved
tests_unit_test_conflict_moved_SOURCES = tests/unit/test_conflict_moved.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_conflict_moved_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_conflict_none
TESTS += tests/unit/test_conflict_none
tests_unit_test_conflict_none_SOURCES = tests/unit/test_conflict_none.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_conflict_none_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_conflict_odd
TESTS += tests/unit/test_conflict_odd
tests_unit_test_conflict_odd_SOURCES = tests/unit/test_conflict_odd.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_conflict_odd_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_cryptd_bulk
TESTS += tests/unit/test_cryptd_bulk
tests_unit_test_cryptd_bulk_SOURCES = tests/unit/test_cryptd_bulk.c $(CRYPTD_FIXTURE)
tests_unit_test_cryptd_bulk_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_cryptd_hostile
TESTS += tests/unit/test_cryptd_hostile
tests_unit_test_cryptd_hostile_SOURCES = tests/unit/test_cryptd_hostile.c $(CRYPTD_FIXTURE)
tests_unit_test_cryptd_hostile_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_cryptd_sandbox
TESTS += tests/unit/test_cryptd_sandbox
tests_unit_test_cryptd_sandbox_SOURCES = tests/unit/test_cryptd_sandbox.c $(CRYPTD_FIXTURE) $(FORBIDDEN)
tests_unit_test_cryptd_sandbox_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_cryptd_seal
TESTS += tests/unit/test_cryptd_seal
tests_unit_test_cryptd_seal_SOURCES = tests/unit/test_cryptd_seal.c
tests_unit_test_cryptd_seal_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_cryptd_store
TESTS += tests/unit/test_cryptd_store
tests_unit_test_cryptd_store_SOURCES = tests/unit/test_cryptd_store.c
tests_unit_test_cryptd_store_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_change_cache
TESTS += tests/unit/test_change_cache
tests_unit_test_change_cache_SOURCES = tests/unit/test_change_cache.c $(SYNCD_FIXTURE) $(CRYPTD_PROCESS)
tests_unit_test_change_cache_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_convert
TESTS += tests/unit/test_convert
tests_unit_test_convert_SOURCES = tests/unit/test_convert.c tests/unit/sealed_cache.c tests/unit/sealed_cache.h \
	tests/unit/volume_rig_conflict.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_convert_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_cut
TESTS += tests/unit/test_cut
tests_unit_test_cut_SOURCES = tests/unit/test_cut.c tests/unit/sealed_cache.c tests/unit/sealed_cache.h \
	tests/unit/volume_rig_conflict.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_cut_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_key_stock
TESTS += tests/unit/test_key_stock
tests_unit_test_key_stock_SOURCES = tests/unit/test_key_stock.c tests/unit/sealed_cache.c tests/unit/sealed_cache.h \
	tests/unit/volume_rig_conflict.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_key_stock_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_convert_crash
TESTS += tests/unit/test_convert_crash
tests_unit_test_convert_crash_SOURCES = tests/unit/test_convert_crash.c tests/unit/crash_rig.c tests/unit/crash_rig.h \
	tests/unit/crash_steps.c tests/unit/crash_steps.h tests/unit/sealed_cache.c tests/unit/sealed_cache.h \
	tests/unit/volume_rig_conflict.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_convert_crash_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_copy
TESTS += tests/unit/test_copy
tests_unit_test_copy_SOURCES = tests/unit/test_copy.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_copy_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_crash
TESTS += tests/unit/test_crash
tests_unit_test_crash_SOURCES = tests/unit/test_crash.c tests/unit/crash_rig.c tests/unit/crash_rig.h tests/unit/crash_steps.c \
	tests/unit/crash_steps.h tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_crash_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_daemon
TESTS += tests/unit/test_daemon
tests_unit_test_daemon_SOURCES = tests/unit/test_daemon.c
tests_unit_test_daemon_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_drive
TESTS += tests/unit/test_drive
tests_unit_test_drive_SOURCES = tests/unit/test_drive.c $(SYNCD_FIXTURE)
tests_unit_test_drive_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_drive_crash
TESTS += tests/unit/test_drive_crash
tests_unit_test_drive_crash_SOURCES = tests/unit/test_drive_crash.c tests/unit/crash_steps.c tests/unit/crash_steps.h \
	$(SYNCD_FIXTURE) $(CRYPTD_PROCESS)
tests_unit_test_drive_crash_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_drive_keys
TESTS += tests/unit/test_drive_keys
tests_unit_test_drive_keys_SOURCES = tests/unit/test_drive_keys.c
tests_unit_test_drive_keys_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

check_PROGRAMS += tests/unit/test_evict
TESTS += tests/unit/test_evict
tests_unit_test_evict_SOURCES = tests/unit/test_evict.c
tests_unit_test_evict_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_fetch
TESTS += tests/unit/test_fetch
tests_unit_test_fetch_SOURCES = tests/unit/test_fetch.c $(VOLUME_RIG)
tests_unit_test_fetch_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_fetch_check
TESTS += tests/unit/test_fetch_check
tests_unit_test_fetch_check_SOURCES = tests/unit/test_fetch_check.c $(VOLUME_RIG)
tests_unit_test_fetch_check_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_folder
TESTS += tests/unit/test_folder
tests_unit_test_folder_SOURCES = tests/unit/test_folder.c tests/unit/files.h
tests_unit_test_folder_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_feeds
TESTS += tests/unit/test_feeds
tests_unit_test_feeds_SOURCES = tests/unit/test_feeds.c $(SOCKET_CLIENT)
tests_unit_test_feeds_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_frontd
TESTS += tests/unit/test_frontd
tests_unit_test_frontd_SOURCES = tests/unit/test_frontd.c tests/unit/frontd_fixture.c tests/unit/frontd_fixture.h \
	tests/unit/http_client.c tests/unit/http_client.h
tests_unit_test_frontd_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_frontd_sandbox
TESTS += tests/unit/test_frontd_sandbox
tests_unit_test_frontd_sandbox_SOURCES = tests/unit/test_frontd_sandbox.c $(FORBIDDEN) tests/unit/frontd_fixture.c \
	tests/unit/frontd_fixture.h tests/unit/http_client.c tests/unit/http_client.h
tests_unit_test_frontd_sandbox_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_random
TESTS += tests/unit/test_random
tests_unit_test_random_SOURCES = tests/unit/test_random.c
tests_unit_test_random_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_rate
TESTS += tests/unit/test_rate
tests_unit_test_rate_SOURCES = tests/unit/test_rate.c
tests_unit_test_rate_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_guard
TESTS += tests/unit/test_guard
tests_unit_test_guard_SOURCES = tests/unit/test_guard.c
tests_unit_test_guard_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_hostile_cloud
TESTS += tests/unit/test_hostile_cloud
tests_unit_test_hostile_cloud_SOURCES = tests/unit/test_hostile_cloud.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_hostile_cloud_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_hostile_worker
TESTS += tests/unit/test_hostile_worker
tests_unit_test_hostile_worker_SOURCES = tests/unit/test_hostile_worker.c $(VOLUME_RIG)
tests_unit_test_hostile_worker_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_http
TESTS += tests/unit/test_http
tests_unit_test_http_SOURCES = tests/unit/test_http.c tests/unit/http_client.c tests/unit/http_client.h
tests_unit_test_http_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_http_head
TESTS += tests/unit/test_http_head
tests_unit_test_http_head_SOURCES = tests/unit/test_http_head.c
tests_unit_test_http_head_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_index
TESTS += tests/unit/test_index
tests_unit_test_index_SOURCES = tests/unit/test_index.c
tests_unit_test_index_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_ipc_channel
TESTS += tests/unit/test_ipc_channel
tests_unit_test_ipc_channel_SOURCES = tests/unit/test_ipc_channel.c tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_ipc_channel_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_ipc_client
TESTS += tests/unit/test_ipc_client
tests_unit_test_ipc_client_SOURCES = tests/unit/test_ipc_client.c tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_ipc_client_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_ipc_server
TESTS += tests/unit/test_ipc_server
tests_unit_test_ipc_server_SOURCES = tests/unit/test_ipc_server.c tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_ipc_server_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_json_pb
TESTS += tests/unit/test_json_pb
tests_unit_test_json_pb_SOURCES = tests/unit/test_json_pb.c
tests_unit_test_json_pb_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_keys
TESTS += tests/unit/test_keys
tests_unit_test_keys_SOURCES = tests/unit/test_keys.c $(SYNCD_FIXTURE) $(CRYPTD_PROCESS)
tests_unit_test_keys_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_keys_kept
TESTS += tests/unit/test_keys_kept
tests_unit_test_keys_kept_SOURCES = tests/unit/test_keys_kept.c $(SYNCD_FIXTURE) $(CRYPTD_PROCESS)
tests_unit_test_keys_kept_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_large_index
TESTS += tests/unit/test_large_index
tests_unit_test_large_index_SOURCES = tests/unit/test_large_index.c $(VOLUME_FIXTURE)
tests_unit_test_large_index_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_listing
TESTS += tests/unit/test_listing
tests_unit_test_listing_SOURCES = tests/unit/test_listing.c $(VOLUME_FIXTURE)
tests_unit_test_listing_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_kept
TESTS += tests/unit/test_kept
tests_unit_test_kept_SOURCES = tests/unit/test_kept.c
tests_unit_test_kept_LDADD = libmountd.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_listing_large
TESTS += tests/unit/test_listing_large
tests_unit_test_listing_large_SOURCES = tests/unit/test_listing_large.c $(VOLUME_FIXTURE)
tests_unit_test_listing_large_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_log
TESTS += tests/unit/test_log
tests_unit_test_log_SOURCES = tests/unit/test_log.c
tests_unit_test_log_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_loop
TESTS += tests/unit/test_loop
tests_unit_test_loop_SOURCES = tests/unit/test_loop.c
tests_unit_test_loop_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_map_guard
TESTS += tests/unit/test_map_guard
tests_unit_test_map_guard_SOURCES = tests/unit/test_map_guard.c
tests_unit_test_map_guard_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_messages
TESTS += tests/unit/test_messages
tests_unit_test_messages_SOURCES = tests/unit/test_messages.c
tests_unit_test_messages_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_metrics
TESTS += tests/unit/test_metrics
tests_unit_test_metrics_SOURCES = tests/unit/test_metrics.c
tests_unit_test_metrics_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_name
TESTS += tests/unit/test_name
tests_unit_test_name_SOURCES = tests/unit/test_name.c
tests_unit_test_name_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_local
TESTS += tests/unit/test_local
tests_unit_test_local_SOURCES = tests/unit/test_local.c $(SYNCD_FIXTURE)
tests_unit_test_local_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_object_api
TESTS += tests/unit/test_object_api
tests_unit_test_object_api_SOURCES = tests/unit/test_object_api.c $(SYNCD_FIXTURE)
tests_unit_test_object_api_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_object_calls
TESTS += tests/unit/test_object_calls
tests_unit_test_object_calls_SOURCES = tests/unit/test_object_calls.c $(RIG_FOLDER)
tests_unit_test_object_calls_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_encrypt
TESTS += tests/unit/test_encrypt
tests_unit_test_encrypt_SOURCES = tests/unit/test_encrypt.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_encrypt_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_objects
TESTS += tests/unit/test_objects
tests_unit_test_objects_SOURCES = tests/unit/test_objects.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_objects_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_objects_changed
TESTS += tests/unit/test_objects_changed
tests_unit_test_objects_changed_SOURCES = tests/unit/test_objects_changed.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_objects_changed_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_objects_moved
TESTS += tests/unit/test_objects_moved
tests_unit_test_objects_moved_SOURCES = tests/unit/test_objects_moved.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_objects_moved_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_odd_names
TESTS += tests/unit/test_odd_names
tests_unit_test_odd_names_SOURCES = tests/unit/test_odd_names.c $(VOLUME_RIG)
tests_unit_test_odd_names_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_offline
TESTS += tests/unit/test_offline
tests_unit_test_offline_SOURCES = tests/unit/test_offline.c $(RIG_FOLDER)
tests_unit_test_offline_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_peer
TESTS += tests/unit/test_peer
tests_unit_test_peer_SOURCES = tests/unit/test_peer.c
tests_unit_test_peer_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_pin_many
TESTS += tests/unit/test_pin_many
tests_unit_test_pin_many_SOURCES = tests/unit/test_pin_many.c $(VOLUME_RIG)
tests_unit_test_pin_many_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_reach
TESTS += tests/unit/test_reach
tests_unit_test_reach_SOURCES = tests/unit/test_reach.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_reach_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_rename
TESTS += tests/unit/test_rename
tests_unit_test_rename_SOURCES = tests/unit/test_rename.c $(VOLUME_RIG)
tests_unit_test_rename_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_rename_model
TESTS += tests/unit/test_rename_model
tests_unit_test_rename_model_SOURCES = tests/unit/test_rename_model.c $(VOLUME_RIG)
tests_unit_test_rename_model_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_retry
TESTS += tests/unit/test_retry
tests_unit_test_retry_SOURCES = tests/unit/test_retry.c
tests_unit_test_retry_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_route
TESTS += tests/unit/test_route
tests_unit_test_route_SOURCES = tests/unit/test_route.c
tests_unit_test_route_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

check_PROGRAMS += tests/unit/test_mount_point
TESTS += tests/unit/test_mount_point
tests_unit_test_mount_point_SOURCES = tests/unit/test_mount_point.c
tests_unit_test_mount_point_LDADD = libmountd.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_mountd
TESTS += tests/unit/test_mountd
tests_unit_test_mountd_SOURCES = tests/unit/test_mountd.c tests/unit/fake_syncd.c tests/unit/fake_syncd.h \
	tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_mountd_LDADD = libmountd.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_run
TESTS += tests/unit/test_run
tests_unit_test_run_SOURCES = tests/unit/test_run.c
tests_unit_test_run_LDADD = libcli.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_s3
TESTS += tests/unit/test_s3
tests_unit_test_s3_SOURCES = tests/unit/test_s3.c tests/unit/cloud_suite.c tests/unit/cloud_suite.h \
	tests/unit/fake_server.c tests/unit/fake_server.h
tests_unit_test_s3_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_s3_parse
TESTS += tests/unit/test_s3_parse
tests_unit_test_s3_parse_SOURCES = tests/unit/test_s3_parse.c
tests_unit_test_s3_parse_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_sandbox
TESTS += tests/unit/test_sandbox
tests_unit_test_sandbox_SOURCES = tests/unit/test_sandbox.c
tests_unit_test_sandbox_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_scan
TESTS += tests/unit/test_scan
tests_unit_test_scan_SOURCES = tests/unit/test_scan.c $(VOLUME_RIG)
tests_unit_test_scan_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)
tests_unit_test_scan_LDFLAGS = -Wl,--wrap=loop_now_ns

check_PROGRAMS += tests/unit/test_sealed
TESTS += tests/unit/test_sealed
tests_unit_test_sealed_SOURCES = tests/unit/test_sealed.c $(CRYPTD_FIXTURE)
tests_unit_test_sealed_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)
tests_unit_test_sealed_LDFLAGS = -Wl,--wrap=pwrite

check_PROGRAMS += tests/unit/test_serve
TESTS += tests/unit/test_serve
tests_unit_test_serve_SOURCES = tests/unit/test_serve.c
tests_unit_test_serve_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_service_url
TESTS += tests/unit/test_service_url
tests_unit_test_service_url_SOURCES = tests/unit/test_service_url.c
tests_unit_test_service_url_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_sigv4
TESTS += tests/unit/test_sigv4
tests_unit_test_sigv4_SOURCES = tests/unit/test_sigv4.c
tests_unit_test_sigv4_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_shown
TESTS += tests/unit/test_shown
tests_unit_test_shown_SOURCES = tests/unit/test_shown.c
tests_unit_test_shown_LDADD = libcli.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_space
TESTS += tests/unit/test_space
tests_unit_test_space_SOURCES = tests/unit/test_space.c $(VOLUME_RIG)
tests_unit_test_space_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_statfs
TESTS += tests/unit/test_statfs
tests_unit_test_statfs_SOURCES = tests/unit/test_statfs.c $(VOLUME_RIG)
tests_unit_test_statfs_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_store
TESTS += tests/unit/test_store
tests_unit_test_store_SOURCES = tests/unit/test_store.c tests/unit/files.h
tests_unit_test_store_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_stream
TESTS += tests/unit/test_stream
tests_unit_test_stream_SOURCES = tests/unit/test_stream.c $(VOLUME_RIG)
tests_unit_test_stream_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_text
TESTS += tests/unit/test_text
tests_unit_test_text_SOURCES = tests/unit/test_text.c
tests_unit_test_text_LDADD = $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_top
TESTS += tests/unit/test_top
tests_unit_test_top_SOURCES = tests/unit/test_top.c
tests_unit_test_top_LDADD = libcli.a $(UNIT_LINK)

check_PROGRAMS += tests/unit/test_transfer
TESTS += tests/unit/test_transfer
tests_unit_test_transfer_SOURCES = tests/unit/test_transfer.c $(SYNCD_FIXTURE)
tests_unit_test_transfer_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_map_lost
TESTS += tests/unit/test_map_lost
tests_unit_test_map_lost_SOURCES = tests/unit/test_map_lost.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_map_lost_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_unsynced
TESTS += tests/unit/test_unsynced
tests_unit_test_unsynced_SOURCES = tests/unit/test_unsynced.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_unsynced_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)
tests_unit_test_unsynced_LDFLAGS = -Wl,--wrap=fdatasync,--wrap=sync_file_range

check_PROGRAMS += tests/unit/test_upload
TESTS += tests/unit/test_upload
tests_unit_test_upload_SOURCES = tests/unit/test_upload.c $(VOLUME_RIG)
tests_unit_test_upload_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_upload_crash
TESTS += tests/unit/test_upload_crash
tests_unit_test_upload_crash_SOURCES = tests/unit/test_upload_crash.c $(VOLUME_RIG)
tests_unit_test_upload_crash_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_upload_crash_sealed
TESTS += tests/unit/test_upload_crash_sealed
tests_unit_test_upload_crash_sealed_SOURCES = tests/unit/test_upload_crash.c $(VOLUME_RIG) $(SEALED_RIG)
tests_unit_test_upload_crash_sealed_CPPFLAGS = $(AM_CPPFLAGS) -DSEALED_OBJECTS
tests_unit_test_upload_crash_sealed_LDADD = libcryptd.a $(SYNCD_LIBS) $(CRYPTO_FAST_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_upload_failures
TESTS += tests/unit/test_upload_failures
tests_unit_test_upload_failures_SOURCES = tests/unit/test_upload_failures.c $(VOLUME_RIG)
tests_unit_test_upload_failures_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_upload_folders
TESTS += tests/unit/test_upload_folders
tests_unit_test_upload_folders_SOURCES = tests/unit/test_upload_folders.c $(VOLUME_RIG)
tests_unit_test_upload_folders_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_upload_names
TESTS += tests/unit/test_upload_names
tests_unit_test_upload_names_SOURCES = tests/unit/test_upload_names.c $(VOLUME_RIG)
tests_unit_test_upload_names_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_hold
TESTS += tests/unit/test_hold
tests_unit_test_hold_SOURCES = tests/unit/test_hold.c $(VOLUME_RIG)
tests_unit_test_hold_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_upload_parts
TESTS += tests/unit/test_upload_parts
tests_unit_test_upload_parts_SOURCES = tests/unit/test_upload_parts.c tests/unit/volume_rig_conflict.c $(VOLUME_RIG)
tests_unit_test_upload_parts_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_volume_names
TESTS += tests/unit/test_volume_names
tests_unit_test_volume_names_SOURCES = tests/unit/test_volume_names.c $(VOLUME_FIXTURE)
tests_unit_test_volume_names_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_waits
TESTS += tests/unit/test_waits
tests_unit_test_waits_SOURCES = tests/unit/test_waits.c $(VOLUME_RIG)
tests_unit_test_waits_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_worker
TESTS += tests/unit/test_worker
tests_unit_test_worker_SOURCES = tests/unit/test_worker.c tests/unit/worker_bench.c tests/unit/worker_bench.h \
	tests/unit/fake_syncd.c tests/unit/fake_syncd.h tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_worker_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)
tests_unit_test_worker_LDFLAGS = -Wl,--wrap=pread,--wrap=pwrite

check_PROGRAMS += tests/unit/test_worker_copy
TESTS += tests/unit/test_worker_copy
tests_unit_test_worker_copy_SOURCES = tests/unit/test_worker_copy.c tests/unit/worker_bench.c \
	tests/unit/worker_bench.h tests/unit/fake_syncd.c tests/unit/fake_syncd.h tests/unit/ipc_fixture.c \
	tests/unit/ipc_fixture.h
tests_unit_test_worker_copy_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)

check_PROGRAMS += tests/unit/test_worker_disk
TESTS += tests/unit/test_worker_disk
tests_unit_test_worker_disk_SOURCES = tests/unit/test_worker_disk.c tests/unit/worker_bench.c \
	tests/unit/worker_bench.h tests/unit/fake_syncd.c tests/unit/fake_syncd.h tests/unit/ipc_fixture.c \
	tests/unit/ipc_fixture.h
tests_unit_test_worker_disk_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)
tests_unit_test_worker_disk_LDFLAGS = -Wl,--wrap=pread,--wrap=pwrite

check_PROGRAMS += tests/unit/test_worker_meter
TESTS += tests/unit/test_worker_meter
tests_unit_test_worker_meter_SOURCES = tests/unit/test_worker_meter.c tests/unit/worker_bench.c tests/unit/worker_bench.h \
	tests/unit/fake_syncd.c tests/unit/fake_syncd.h tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_worker_meter_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)

check_PROGRAMS += tests/unit/test_worker_sealed
TESTS += tests/unit/test_worker_sealed
tests_unit_test_worker_sealed_SOURCES = tests/unit/test_worker_sealed.c $(WORKER_SEALED)
tests_unit_test_worker_sealed_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE_CFLAGS)
tests_unit_test_worker_sealed_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)

check_PROGRAMS += tests/unit/test_worker_sealed_model
TESTS += tests/unit/test_worker_sealed_model
tests_unit_test_worker_sealed_model_SOURCES = tests/unit/test_worker_sealed_model.c $(WORKER_SEALED)
tests_unit_test_worker_sealed_model_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)

check_PROGRAMS += tests/unit/test_worker_wait
TESTS += tests/unit/test_worker_wait
tests_unit_test_worker_wait_SOURCES = tests/unit/test_worker_wait.c
tests_unit_test_worker_wait_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE_CFLAGS)
tests_unit_test_worker_wait_LDADD = libworker.a $(UNIT_LINK) $(FUSE_LIBS)
tests_unit_test_worker_wait_LDFLAGS = -Wl,--wrap=loop_now_ns,--wrap=fuse_session_receive_buf

check_PROGRAMS += tests/unit/test_worker_file
TESTS += tests/unit/test_worker_file
tests_unit_test_worker_file_SOURCES = tests/unit/test_worker_file.c
tests_unit_test_worker_file_LDADD = libworker.a $(UNIT_LINK) $(FUSE_LIBS)

check_PROGRAMS += tests/unit/test_worker_mode
TESTS += tests/unit/test_worker_mode
tests_unit_test_worker_mode_SOURCES = tests/unit/test_worker_mode.c tests/unit/worker_bench.c tests/unit/worker_bench.h \
	tests/unit/fake_syncd.c tests/unit/fake_syncd.h tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_worker_mode_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)

check_PROGRAMS += tests/unit/test_worker_owed
TESTS += tests/unit/test_worker_owed
tests_unit_test_worker_owed_SOURCES = tests/unit/test_worker_owed.c tests/unit/worker_bench.c tests/unit/worker_bench.h \
	tests/unit/fake_syncd.c tests/unit/fake_syncd.h tests/unit/ipc_fixture.c tests/unit/ipc_fixture.h
tests_unit_test_worker_owed_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)
tests_unit_test_worker_owed_LDFLAGS = -Wl,--wrap=write

check_PROGRAMS += tests/unit/test_worker_sandbox
TESTS += tests/unit/test_worker_sandbox
tests_unit_test_worker_sandbox_SOURCES = tests/unit/test_worker_sandbox.c
tests_unit_test_worker_sandbox_LDADD = libworker.a libmountd.a $(UNIT_LINK) $(FUSE_LIBS)

# --- for tests/integration -----------------------------------------------------------------------
check_PROGRAMS += tests/integration/age_pipe
tests_integration_age_pipe_SOURCES = tests/integration/age_pipe.c
tests_integration_age_pipe_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

noinst_PROGRAMS += tests/integration/bad_disk
tests_integration_bad_disk_SOURCES = tests/integration/bad_disk.c
tests_integration_bad_disk_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE_CFLAGS)
tests_integration_bad_disk_LDADD = $(FUSE_LIBS)

noinst_PROGRAMS += tests/integration/file_exerciser
tests_integration_file_exerciser_SOURCES = tests/integration/file_exerciser.c

check_PROGRAMS += tests/integration/cloud_conformance
tests_integration_cloud_conformance_SOURCES = tests/integration/cloud_conformance.c tests/unit/cloud_suite.c \
	tests/unit/cloud_suite.h
tests_integration_cloud_conformance_LDADD = $(SYNCD_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_websocket
TESTS += tests/unit/test_websocket
tests_unit_test_websocket_SOURCES = tests/unit/test_websocket.c $(SOCKET_CLIENT)
tests_unit_test_websocket_LDADD = libfrontd.a $(UNIT_LINK) $(WSLAY_LIBS)

# --- fuzz targets: configure --enable-fuzzing CC=clang ----------------------------------------------
#
# noinst_PROGRAMS += tests/fuzz/fuzz_NAME
# tests_fuzz_fuzz_NAME_SOURCES = tests/fuzz/fuzz_NAME.c
# tests_fuzz_fuzz_NAME_LDADD = libsyncd.a $(FUZZ_LINK)
# tests_fuzz_fuzz_NAME_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
#
# Seeds stand in tests/fuzz/seeds/NAME, or a program tests/fuzz/seeds_NAME writes them into a directory.
check_PROGRAMS += tests/fuzz/seeds_ipc_packet
TESTS += tests/fuzz/seeds_ipc_packet
tests_fuzz_seeds_ipc_packet_SOURCES = tests/fuzz/seeds_ipc_packet.c
tests_fuzz_seeds_ipc_packet_LDADD = $(FUZZ_LINK)

FUZZ_LINK = libcommon.a libproto.a $(COMMON_LIBS) -lpthread
LIBFUZZER = -fsanitize=fuzzer
if FUZZING

noinst_PROGRAMS += tests/fuzz/fuzz_age_header
tests_fuzz_fuzz_age_header_SOURCES = tests/fuzz/fuzz_age_header.c
tests_fuzz_fuzz_age_header_LDADD = libcryptd.a $(FUZZ_LINK) $(CRYPTD_LIBS)
tests_fuzz_fuzz_age_header_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_anchors
tests_fuzz_fuzz_anchors_SOURCES = tests/fuzz/fuzz_anchors.c
tests_fuzz_fuzz_anchors_LDADD = libsyncd.a $(FUZZ_LINK)
tests_fuzz_fuzz_anchors_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_cryptd_call
tests_fuzz_fuzz_cryptd_call_SOURCES = tests/fuzz/fuzz_cryptd_call.c $(CRYPTD_FIXTURE)
tests_fuzz_fuzz_cryptd_call_LDADD = libcryptd.a $(FUZZ_LINK) $(CRYPTD_LIBS)
tests_fuzz_fuzz_cryptd_call_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_cryptd_form
tests_fuzz_fuzz_cryptd_form_SOURCES = tests/fuzz/fuzz_cryptd_form.c
tests_fuzz_fuzz_cryptd_form_LDADD = libcryptd.a $(FUZZ_LINK) $(CRYPTD_LIBS)
tests_fuzz_fuzz_cryptd_form_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_form
tests_fuzz_fuzz_form_SOURCES = tests/fuzz/fuzz_form.c
tests_fuzz_fuzz_form_LDADD = libfrontd.a $(FUZZ_LINK)
tests_fuzz_fuzz_form_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_http_head
tests_fuzz_fuzz_http_head_SOURCES = tests/fuzz/fuzz_http_head.c
tests_fuzz_fuzz_http_head_LDADD = libfrontd.a $(FUZZ_LINK) $(WSLAY_LIBS)
tests_fuzz_fuzz_http_head_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_ipc_packet
tests_fuzz_fuzz_ipc_packet_SOURCES = tests/fuzz/fuzz_ipc_packet.c
tests_fuzz_fuzz_ipc_packet_LDADD = $(FUZZ_LINK)
tests_fuzz_fuzz_ipc_packet_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_json_pb
tests_fuzz_fuzz_json_pb_SOURCES = tests/fuzz/fuzz_json_pb.c
tests_fuzz_fuzz_json_pb_LDADD = $(FUZZ_LINK)
tests_fuzz_fuzz_json_pb_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_name
tests_fuzz_fuzz_name_SOURCES = tests/fuzz/fuzz_name.c
tests_fuzz_fuzz_name_LDADD = $(SYNCD_LIBS)
tests_fuzz_fuzz_name_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_path
tests_fuzz_fuzz_path_SOURCES = tests/fuzz/fuzz_path.c
tests_fuzz_fuzz_path_LDADD = libsyncd.a $(FUZZ_LINK)
tests_fuzz_fuzz_path_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_route
tests_fuzz_fuzz_route_SOURCES = tests/fuzz/fuzz_route.c
tests_fuzz_fuzz_route_LDADD = libfrontd.a $(FUZZ_LINK) $(WSLAY_LIBS)
tests_fuzz_fuzz_route_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_s3_headers
tests_fuzz_fuzz_s3_headers_SOURCES = tests/fuzz/fuzz_s3_headers.c
tests_fuzz_fuzz_s3_headers_LDADD = $(SYNCD_LIBS)
tests_fuzz_fuzz_s3_headers_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_s3_xml
tests_fuzz_fuzz_s3_xml_SOURCES = tests/fuzz/fuzz_s3_xml.c
tests_fuzz_fuzz_s3_xml_LDADD = $(SYNCD_LIBS)
tests_fuzz_fuzz_s3_xml_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_sealed
tests_fuzz_fuzz_sealed_SOURCES = tests/fuzz/fuzz_sealed.c
tests_fuzz_fuzz_sealed_LDADD = $(SYNCD_LIBS)
tests_fuzz_fuzz_sealed_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_service_url
tests_fuzz_fuzz_service_url_SOURCES = tests/fuzz/fuzz_service_url.c
tests_fuzz_fuzz_service_url_LDADD = $(SYNCD_LIBS)
tests_fuzz_fuzz_service_url_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)

noinst_PROGRAMS += tests/fuzz/fuzz_websocket
tests_fuzz_fuzz_websocket_SOURCES = tests/fuzz/fuzz_websocket.c
tests_fuzz_fuzz_websocket_LDADD = libfrontd.a $(FUZZ_LINK) $(WSLAY_LIBS)
tests_fuzz_fuzz_websocket_LDFLAGS = $(AM_LDFLAGS) $(LIBFUZZER)
endif

# --- long turns ------------------------------------------------------------------------------------
# SOAK: seconds for each test that takes turns, and of an outage. SEED: what the dice say. SOAKED: which modules. In test_kills each
# daemon is killed LANDFALL_KILLS times, 20 if nobody says otherwise, however long that takes.
SOAK = 300
SEED = 1
SOAKED = test_exerciser test_faults test_kills test_model test_offline test_posix test_power_cut test_remote_edits test_two_agents
.PHONY: soak
soak: all
	LANDFALL_SOAK=$(SOAK) LANDFALL_SEED=$(SEED) LANDFALL_BUILD=$(abs_builddir) \
		/usr/bin/python3 -B $(srcdir)/tests/integration/run_tests.py $(SOAKED)

# The same modules, or others, with daemons that hesitate: whatever the order of events is, all has to pass.
EXTRA_PROGRAMS += tests/integration/hesitate.so
tests_integration_hesitate_so_SOURCES = tests/integration/hesitate.c
tests_integration_hesitate_so_CFLAGS = $(AM_CFLAGS) -fPIC
tests_integration_hesitate_so_LDFLAGS = -shared
HESITANT = $(SOAKED)
.PHONY: hesitant
hesitant: all tests/integration/hesitate.so
	LANDFALL_BUILD=$(abs_builddir) $(srcdir)/tests/integration/hesitant tests/integration/hesitate.so \
		/usr/bin/python3 -B $(srcdir)/tests/integration/run_tests.py $(HESITANT)

# --- measurements ----------------------------------------------------------------------------------
EXTRA_PROGRAMS += tests/bench/cryptd_bench tests/bench/hello tests/bench/random_read
tests_bench_hello_SOURCES = tests/bench/hello.c
tests_bench_hello_LDADD = $(COMMON_LIBS)
tests_bench_random_read_SOURCES = tests/bench/random_read.c
tests_bench_cryptd_bench_SOURCES = tests/bench/cryptd_bench.c $(CRYPTD_FIXTURE)
tests_bench_cryptd_bench_LDADD = libcryptd.a $(UNIT_LINK) $(CRYPTD_LIBS)

.PHONY: bench-cryptd
bench-cryptd: tests/bench/cryptd_bench
	tests/bench/cryptd_bench

# BENCHFLAGS: the options of tests/bench/run
.PHONY: bench
bench: all tests/bench/cryptd_bench tests/bench/hello tests/bench/random_read
	$(srcdir)/tests/bench/run --build $(abs_builddir) $(BENCHFLAGS)

# --- a suite of others -------------------------------------------------------------------------------
# PJDFSTEST: a built tree of it; docs/CONFORMANCE.md says where to get it. PJDFSTESTFLAGS: the options of tests/pjdfstest/run
.PHONY: pjdfstest
pjdfstest: all
	$(srcdir)/tests/pjdfstest/run --build $(abs_builddir) --tree "$(PJDFSTEST)" $(PJDFSTESTFLAGS)
