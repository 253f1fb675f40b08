/* syncd/address: what is this machine, what no cloud may be, whichever way it is written. */
#include "syncd/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>

#include "common/cleanup.h"

static const struct {
    const char *text;
    bool loopback;      /* a connection may end on this machine */
    bool surely;        /* it cannot end elsewhere */
    bool forbidden;
} rows[] = {
    { "127.0.0.1", true, true, false },
    { "127.8.9.10", true, true, false },
    { "0.0.0.0", true, true, false },
    { "::1", true, true, false },
    { "::", true, true, false },
    { "::ffff:127.0.0.1", true, true, false },
    { "192.0.2.1", false, false, false },
    { "192.168.1.5", false, false, false },
    { "2001:db8::1", false, false, false },
    { "169.254.169.254", false, false, true },
    { "fe80::1", false, false, true },
    { "fd00:ec2::254", false, false, true },
    { "::ffff:169.254.169.254", false, false, true },
    /* IPv4-compatible */
    { "::169.254.169.254", false, false, true },
    { "::127.0.0.1", true, false, false },
    { "::192.0.2.1", false, false, false },
    /* NAT64 */
    { "64:ff9b::169.254.169.254", false, false, true },
    { "64:ff9b::127.0.0.1", true, false, false },
    { "64:ff9b::192.0.2.1", false, false, false },
    { "64:ff9a::169.254.169.254", false, false, false },
    { "64:ff9b::1:a9fe:a9fe", false, false, false },
    /* NAT64 of a network of its own, /96, /64, /56 and /48 (RFC 6052, 2.2) */
    { "64:ff9b:1::169.254.169.254", false, false, true },
    { "64:ff9b:1:2:3:4:a9fe:a9fe", false, false, true },
    { "64:ff9b:1:2:a9:fea9:fe00:0", false, false, true },
    { "64:ff9b:1:aa:fe:a9fe:0:0", false, false, false },
    { "64:ff9b:1:2a9:fe:a9fe:0:0", false, false, true },
    { "64:ff9b:1:a9fe:a9:fe00:0:0", false, false, true },
    { "64:ff9b:1:2:3:4:7f00:1", true, false, false },
    { "64:ff9b:1:7f00:0:100::", true, false, false },
    { "64:ff9b:1:c633:6401:c633:c633:6401", false, false, false },
    /* 6to4 */
    { "2002:a9fe:a9fe::1", false, false, true },
    { "2002:7f00:1::", true, false, false },
    { "2002:c000:201::1", false, false, false },
    { "2003:a9fe:a9fe::1", false, false, false },
};

static void addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
        bool is_v4 = inet_pton(AF_INET, rows[i].text, &v4.sin_addr) == 1;
        const struct sockaddr *a = is_v4 ? (const void *)&v4 : (const void *)&v6;

        assert_true(is_v4 || inet_pton(AF_INET6, rows[i].text, &v6.sin6_addr) == 1);
        if (address_is_loopback(a) != rows[i].loopback || address_is_forbidden(a) != rows[i].forbidden)
            fail_msg("%s: loopback %d, forbidden %d", rows[i].text, address_is_loopback(a), address_is_forbidden(a));
    }
}

static void hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (address_host_is_loopback(rows[i].text) != rows[i].surely
            || address_host_is_forbidden(rows[i].text) != rows[i].forbidden)
            fail_msg("%s", rows[i].text);
    assert_true(address_host_is_loopback("localhost"));
    assert_false(address_host_is_loopback("localhost.evil.test"));
    assert_false(address_host_is_loopback("0177.0.0.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(hosts),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
