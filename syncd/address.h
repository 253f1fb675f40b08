/* Where a connection leads: what is this machine, what is a network's own metadata service. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* "localhost", 127.0.0.0/8 as a plain dotted quad, "::1", 0.0.0.0 and the like: names that cannot lead elsewhere.
 * `host` comes without brackets; odd spellings of an address (octal, one number) do not count. */
bool address_host_is_loopback(const char *host);

/* A literal address, IPv4 or IPv6. */
bool address_host_is_literal(const char *host);

/* What a cloud may never be: link-local and the metadata services of cloud machines
 * (169.254.0.0/16, fe80::/10, fd00:ec2::254), and what a translator (NAT64, 6to4) would make one of them. */
bool address_is_forbidden(const struct sockaddr *a);
bool address_host_is_forbidden(const char *host);

/* Whether a connection may end on this machine, by way of a translator too. */
bool address_is_loopback(const struct sockaddr *a);
/* 0 for other families. */
uint16_t address_port(const struct sockaddr *a);
