/* Classes of addresses. An IPv6 address that carries an IPv4 address is judged as that one as well: whoever
 * translates it (NAT64, 6to4) connects there. */
#include "syncd/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

union host_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool parse(const char *host, union host_address *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1)
        ret->any.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1)
        ret->any.sa_family = AF_INET6;
    return ret->any.sa_family != AF_UNSPEC;
}

/* The IPv4 address in host order that `a` is, perhaps mapped into IPv6. */
static bool as_v4(const struct sockaddr *a, uint32_t *ret)
{
    const struct sockaddr_in *v4 = (const void *)a;
    const struct sockaddr_in6 *v6 = (const void *)a;
    uint32_t be;

    if (a->sa_family == AF_INET)
        be = v4->sin_addr.s_addr;
    else if (a->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        memcpy(&be, v6->sin6_addr.s6_addr + 12, sizeof(be));
    else
        return false;
    *ret = ntohl(be);
    return true;
}

/* Where an IPv6 address holds the four bytes of an IPv4 address. RFC 4291, 2.5.5.1; RFC 6052, 2.1 and 2.2; RFC 8215:
 * how long the prefix is inside of 64:ff9b:1::/48 only its network knows, so every reading counts; RFC 3056, 2. */
static const struct carrier {
    uint8_t prefix[12];
    size_t prefix_len;
    uint8_t at[4];
} carriers[] = {
    { { 0 }, 12, { 12, 13, 14, 15 } },
    { { 0x00, 0x64, 0xff, 0x9b }, 12, { 12, 13, 14, 15 } },
    { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 6, { 12, 13, 14, 15 } },
    { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 6, { 9, 10, 11, 12 } },
    { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 6, { 7, 9, 10, 11 } },
    { { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 6, { 6, 7, 9, 10 } },
    { { 0x20, 0x02 }, 2, { 2, 3, 4, 5 } },
};

static bool carries(const struct sockaddr *a, bool (*is)(uint32_t v4))
{
    const uint8_t *bytes = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr;

    for (size_t i = 0; a->sa_family == AF_INET6 && i < ARRAY_SIZE(carriers); i++) {
        const struct carrier *c = &carriers[i];
        uint32_t v4 = 0;

        for (size_t n = 0; n < sizeof(c->at); n++)
            v4 = v4 << 8 | bytes[c->at[n]];
        if (memcmp(bytes, c->prefix, c->prefix_len) == 0 && is(v4))
            return true;
    }
    return false;
}

static bool is_loopback_v4(uint32_t v4)
{
    return v4 >> 24 == 127;
}

static bool is_link_local_v4(uint32_t v4)
{
    return v4 >> 16 == (169u << 8 | 254u);
}

/* What this machine itself takes for its own, without anybody who translates. */
static bool is_here(const struct sockaddr *a)
{
    const struct sockaddr_in6 *v6 = (const void *)a;
    uint32_t v4;

    if (as_v4(a, &v4))
        return is_loopback_v4(v4) || v4 == 0;   /* 0.0.0.0 connects to this machine, too */
    return a->sa_family == AF_INET6
        && (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr));
}

bool address_is_loopback(const struct sockaddr *a)
{
    return is_here(a) || carries(a, is_loopback_v4);
}

bool address_is_forbidden(const struct sockaddr *a)
{
    static const uint8_t ec2[16] = { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54 };
    const struct sockaddr_in6 *v6 = (const void *)a;
    uint32_t v4;

    if (as_v4(a, &v4))
        return is_link_local_v4(v4);
    return carries(a, is_link_local_v4) || (a->sa_family == AF_INET6
        && (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) || memcmp(&v6->sin6_addr, ec2, sizeof(ec2)) == 0));
}

uint16_t address_port(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
    return a->sa_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port) : 0;
}

bool address_host_is_literal(const char *host)
{
    union host_address a;

    return parse(host, &a);
}

bool address_host_is_loopback(const char *host)
{
    union host_address a;

    return strcasecmp(host, "localhost") == 0 || (parse(host, &a) && is_here(&a.any));
}

bool address_host_is_forbidden(const char *host)
{
    union host_address a;

    return parse(host, &a) && address_is_forbidden(&a.any);
}
