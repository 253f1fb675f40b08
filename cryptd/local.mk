noinst_LIBRARIES += libcryptd.a
libcryptd_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS)
libcryptd_a_SOURCES = \
	cryptd/aead.c \
	cryptd/aead.h \
	cryptd/filter.c \
	cryptd/filter.h \
	cryptd/key_store.c \
	cryptd/key_store.h \
	cryptd/root_key.c \
	cryptd/root_key.h \
	cryptd/seal.c \
	cryptd/seal.h \
	cryptd/secret.c \
	cryptd/secret.h \
	cryptd/serve.c \
	cryptd/serve.h

pkglibexec_PROGRAMS += landfall-cryptd
landfall_cryptd_SOURCES = cryptd/main.c
landfall_cryptd_LDADD = libcryptd.a libcommon.a libproto.a $(COMMON_LIBS) $(CRYPTO_LIBS) -lpthread
