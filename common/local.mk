noinst_LIBRARIES += libcommon.a
libcommon_a_SOURCES = \
	common/cleanup.h
