# Units, users and directories for systemd. The services carry the path of the daemons.
UNIT_SERVICES = systemd/landfall-frontd@.service systemd/landfall-syncd@.service \
	systemd/landfall-mountd@.service systemd/landfall-cryptd@.service
UNITS = systemd/landfall@.target systemd/landfall-http@.socket systemd/landfall-api@.socket \
	systemd/landfall-syncd@.socket systemd/landfall-mountd@.socket systemd/landfall-cryptd@.socket

systemdunitdir = $(prefix)/lib/systemd/system
dist_systemdunit_DATA = $(UNITS)
nodist_systemdunit_DATA = $(UNIT_SERVICES)
EXTRA_DIST += $(UNIT_SERVICES:=.in) systemd/landfall.sysusers systemd/landfall.tmpfiles
CLEANFILES += $(UNIT_SERVICES)

$(UNIT_SERVICES): %: $(srcdir)/%.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && sed 's|@pkglibexecdir@|$(pkglibexecdir)|' $(srcdir)/$@.in >$@

install-data-local: install-systemd-data
install-systemd-data:
	$(MKDIR_P) $(DESTDIR)$(prefix)/lib/sysusers.d $(DESTDIR)$(prefix)/lib/tmpfiles.d
	$(INSTALL_DATA) $(srcdir)/systemd/landfall.sysusers $(DESTDIR)$(prefix)/lib/sysusers.d/landfall.conf
	$(INSTALL_DATA) $(srcdir)/systemd/landfall.tmpfiles $(DESTDIR)$(prefix)/lib/tmpfiles.d/landfall.conf
uninstall-local:
	rm -f $(DESTDIR)$(prefix)/lib/sysusers.d/landfall.conf $(DESTDIR)$(prefix)/lib/tmpfiles.d/landfall.conf
.PHONY: install-systemd-data
