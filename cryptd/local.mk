noinst_LIBRARIES += libcryptd.a
libcryptd_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
libcryptd_a_SOURCES = \
	cryptd/aead.c \
	cryptd/aead.h \
	cryptd/age_header.c \
	cryptd/age_header.h \
	cryptd/age_key.c \
	cryptd/age_key.h \
	cryptd/age_object.c \
	cryptd/age_object.h \
	cryptd/age_stream.c \
	cryptd/age_stream.h \
	cryptd/bech32.c \
	cryptd/bech32.h \
	cryptd/bulk.c \
	cryptd/bulk.h \
	cryptd/cache_chunk.c \
	cryptd/cache_chunk.h \
	cryptd/drive_keys.c \
	cryptd/drive_keys.h \
	cryptd/file_keys.c \
	cryptd/file_keys.h \
	cryptd/filter.c \
	cryptd/filter.h \
	cryptd/gcm.c \
	cryptd/gcm.h \
	cryptd/hedge.c \
	cryptd/hedge.h \
	cryptd/key_store.c \
	cryptd/key_store.h \
	cryptd/keyring.c \
	cryptd/keyring.h \
	cryptd/passphrase.c \
	cryptd/passphrase.h \
	cryptd/region.c \
	cryptd/region.h \
	cryptd/root_key.c \
	cryptd/root_key.h \
	cryptd/seal.c \
	cryptd/seal.h \
	cryptd/secret.c \
	cryptd/secret.h \
	cryptd/serve.c \
	cryptd/serve.h \
	cryptd/serve_bulk.c \
	cryptd/serve_drive.c \
	cryptd/serve_file.c \
	cryptd/wrapped_key.c \
	cryptd/wrapped_key.h \
	cryptd/x25519.c \
	cryptd/x25519.h

pkglibexec_PROGRAMS += landfall-cryptd
landfall_cryptd_SOURCES = cryptd/main.c
CRYPTD_LIBS = $(CRYPTO_LIBS) $(CRYPTO_FAST_LIBS)
landfall_cryptd_LDADD = libcryptd.a libcommon.a libproto.a $(COMMON_LIBS) $(CRYPTD_LIBS) -lpthread
