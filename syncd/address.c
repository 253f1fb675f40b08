/* Classes of addresses. An IPv4 address that comes mapped into IPv6 is judged as IPv4. */
#include "syncd/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

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

/* The IPv4 address in host order that `a` is or carries. */
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

bool address_is_loopback(const struct sockaddr *a)
{
    const struct sockaddr_in6 *v6 = (const void *)a;
    uint32_t v4;

    if (as_v4(a, &v4))
        return v4 >> 24 == 127 || v4 == 0;   /* 0.0.0.0 connects to this machine, too */
    return a->sa_family == AF_INET6
        && (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) || IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr));
}

bool address_is_forbidden(const struct sockaddr *a)
{
    static const uint8_t ec2[16] = { 0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54 };
    const struct sockaddr_in6 *v6 = (const void *)a;
    uint32_t v4;

    if (as_v4(a, &v4))
        return v4 >> 16 == (169u << 8 | 254u);
    return a->sa_family == AF_INET6
        && (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) || memcmp(&v6->sin6_addr, ec2, sizeof(ec2)) == 0);
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

    return strcasecmp(host, "localhost") == 0 || (parse(host, &a) && address_is_loopback(&a.any));
}

bool address_host_is_forbidden(const char *host)
{
    union host_address a;

    return parse(host, &a) && address_is_forbidden(&a.any);
}
