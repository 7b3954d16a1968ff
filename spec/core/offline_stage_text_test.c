/* How haproxy.cfg is moved for the requests of a test. The texts are as the model writes them: only headers are not
 * indented. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "offline/stage_text.h"

/* Of the servers one shows a certificate of its own. */
static bool shows_own(void *ctx, const char *proxy, const char *server)
{
    (void)ctx;
    return strcmp(proxy, "backend own") == 0 && strcmp(server, "s") == 0;
}

static const struct stage_place place = {.folder = "/f", .port = 7000, .shows_own = shows_own};

static struct stage_text moved(const char *config)
{
    struct stage_text t;
    struct err err = {0};

    if (stage_text_make(config, &place, &t, &err) < 0)
        fail_msg("%s", err.text);
    return t;
}

static void becomes(const char *config, const char *expected)
{
    CLEANUP(stage_text_done) struct stage_text t = moved(config);
    assert_string_equal(buf_str(&t.text), expected);
}

#define ROUTE \
    "    http-after-response set-header haptic-test-route " \
    "\"%[fe_name]/%[be_name]/%[srv_name]/%[last_rule_line]\"\n"

static void listeners_become_sockets(void **state)
{
    (void)state;
    becomes(
        "frontend a from base\n    bind :80\n    bind [::]:443 v6only interface eth0 ssl crt \"my certs/a.pem\" alpn h2\n"
        "    bind 10.0.0.1:81 accept-proxy mss 1400 # note\n    mode http\n",
        "frontend a from base\n    bind unix@/f/l0 accept-proxy\n"
        "    bind unix@/f/l1 ssl crt \"my certs/a.pem\" alpn h2 accept-proxy\n"
        "    bind unix@/f/l2 accept-proxy\n    mode http\n" ROUTE);
    CLEANUP(stage_text_done)
    struct stage_text t = moved(
        "frontend a\n    bind :80\n    bind 10.0.0.1:443 ssl accept-proxy\nfrontend b\n    bind \"${X}/s\"\n");
    assert_int_equal(t.listeners.length, 3);
    assert_int_equal(t.listeners.items[0].port, 80);
    assert_false(t.listeners.items[0].tls);
    assert_int_equal(t.listeners.items[1].port, 443);
    assert_true(t.listeners.items[1].tls && t.listeners.items[1].own_proxy_protocol);
    assert_int_equal(t.listeners.items[2].port, 0);
    assert_string_equal(t.listeners.items[2].proxy, "frontend b");
}

static void datagrams_go(void **state)
{
    (void)state;
    becomes("frontend a\n    bind quic4@:443 ssl crt x\n", "frontend a\n#    bind quic4@:443 ssl crt x\n" ROUTE);
}

static void servers_are_told_apart(void **state)
{
    (void)state;
    becomes(
        "backend a\n    server one 10.0.0.1:80 weight 5 check port 8080 inter 1s\n"
        "    server two [fd00::1]:443 ssl verify required ca-file certs/ca.pem sni str(x) cookie c disabled\n"
        "    server-template t 3 app.example:80 resolvers dns proto h2\n    default-server check ssl inter 2s\n",
        "backend a\n    server one 127.64.0.0:7000 weight 5 check inter 1s verify none\n"
        "    server two 127.64.0.1:7000 ssl verify required ca-file certs/ca.pem sni str(x) cookie c disabled verify "
        "none\n    server-template t 3 127.64.0.2:7000 resolvers dns proto h2 verify none\n"
        "    default-server check ssl inter 2s\n");
    becomes(
        "backend own\n    server s 10.0.0.1:80 ssl verify required ca-file certs/ca.pem\n    server t 10.0.0.1:80\n",
        "backend own\n    server s 127.64.0.0:7000 ssl verify required ca-file certs/ca.pem\n"
        "    server t 127.64.0.1:7000\n");
    CLEANUP(stage_text_done)
    struct stage_text t = moved(
        "backend a\n    server one 10.0.0.1:80\nlisten b\n    server 'a b' x.example send-proxy-v2\n");
    assert_int_equal(t.servers.length, 2);
    assert_string_equal(t.servers.items[0].proxy, "backend a");
    assert_false(t.servers.items[0].sends_proxy);
    assert_string_equal(t.servers.items[1].name, "a b");
    assert_true(t.servers.items[1].sends_proxy);
}

/* From one frontend to another one of the same file. */
static void inner_ways_stay(void **state)
{
    static const char *const ways[][2] = {{"127.0.0.1:8443", ":8443"},         {"127.0.0.1:8443", "127.0.0.1:8443"},
                                          {"/run/a.sock", "unix@/run/a.sock"}, {"abns@x", "abns@x"},
                                          {"[::1]:8443", "[::]:8443"},         {"unix@\"${D}/x\"", "unix@\"${D}/x\""}};
    (void)state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        CLEANUP(free_ptr)
        char *config = xasprintf(
            "backend a\n    server s %s send-proxy-v2 ssl verify none\nfrontend b\n    bind %s accept-proxy ssl\n",
            ways[i][0], ways[i][1]);
        becomes(config, "backend a\n    server s unix@/f/i0 send-proxy-v2 ssl verify none\nfrontend b\n"
                        "    bind unix@/f/l0 accept-proxy ssl\n    bind unix@/f/i0 accept-proxy ssl\n" ROUTE);
    }
    CLEANUP(stage_text_done)
    struct stage_text t = moved("frontend b\n    bind 10.0.0.1:80\nbackend a\n    server s 10.0.0.2:80\n");
    assert_int_equal(t.servers.length, 1);
    assert_false(t.listeners.items[0].internal);
}

static void nothing_happens_outside(void **state)
{
    (void)state;
    becomes(
        "global\n    daemon\n    user haproxy\n    chroot /var/empty\n    pidfile /run/h.pid\n    log 10.0.0.1:514 local0\n"
        "    log stdout format raw local0\n    stats socket /run/h.sock user root level admin expose-fd listeners\n    nbthread 2\n",
        "global\n#    daemon\n#    user haproxy\n#    chroot /var/empty\n#    pidfile /run/h.pid\n    log stderr local0\n"
        "    log stdout format raw local0\n    stats socket unix@/f/a0 mode 600 level admin expose-fd listeners\n    nbthread 2\n");
    becomes("defaults d\n    log 10.0.0.1:514 local0\n    source 10.0.0.9\n",
            "defaults d\n    log stderr local0\n#    source 10.0.0.9\n");
    becomes("peers p\n    peer me 10.0.0.1:1024\n    table t type ip size 1k\n",
            "peers p\n    peer me unix@/f/p0\n    table t type ip size 1k\n");
    becomes("acme a\n    directory https://a.example/\n",
            "global\n    acme.scheduler off\nacme a\n    directory https://a.example/\n");
    becomes("userlist u\n    user bind password x\n", "userlist u\n    user bind password x\n");
}

static void lines_are_known(void **state)
{
    static const size_t expected[] = {1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 8};
    (void)state;
    CLEANUP(stage_text_done)
    struct stage_text t = moved(
        "global\n    daemon\n\nfrontend a\n    bind :80\nbackend b\n    server s 127.0.0.1:80\nfrontend c\n");
    assert_int_equal(t.lines.length, sizeof(expected) / sizeof(expected[0]));
    for (size_t i = 0; i < t.lines.length; i++)
        assert_int_equal(t.lines.items[i], expected[i]);
}

static void an_open_quote_is_an_error(void **state)
{
    struct stage_text t;
    struct err err = {0};
    (void)state;
    assert_int_equal(stage_text_make("frontend a\n    bind \":80\n", &place, &t, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_string_equal(err.text, "haproxy.cfg:2: a quote is not closed");
    stage_text_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listeners_become_sockets),  cmocka_unit_test(datagrams_go),
        cmocka_unit_test(servers_are_told_apart),    cmocka_unit_test(inner_ways_stay),
        cmocka_unit_test(nothing_happens_outside),   cmocka_unit_test(lines_are_known),
        cmocka_unit_test(an_open_quote_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
