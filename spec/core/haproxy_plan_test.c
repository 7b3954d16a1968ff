/* Plans: which commands, in which order, and when only a reload will do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "haproxy/plan.h"

static const struct haproxy_caps old = {.dynamic_servers = true};
static const struct haproxy_caps new = {.dynamic_servers = true, .dynamic_backends = true};

static char *describe(const struct plan *p)
{
    struct buf b = {0};
    if (p->reload)
        buf_printf(&b, "reload %s: %s\n", p->reload_class, p->reload);
    for (size_t stage = 0; !p->reload && stage < PLAN_STAGES; stage++)
        for (size_t i = 0; i < p->ops[stage].length; i++)
            buf_printf(&b, "%d %s\n", (int)stage - PLAN_APPEAR, p->ops[stage].items[i].command);
    return buf_steal(&b);
}

/* Texts of the section; NULL: it is not there. A live text may end a server line with "!" for one that leaves. */
static void assert_plan(const struct haproxy_caps *caps, const char *wanted, const char *live, const char *defaults,
                        const char *expected)
{
    struct cfg_backend w = {0}, l = {0};
    struct plan p = {0};
    CLEANUP(buf_done) struct buf words = {0};
    bool plain;
    size_t count;
    if (wanted)
        cfg_backend_parse(wanted, strlen(wanted), "base", &w);
    if (live)
        cfg_backend_parse(live, strlen(live), "base", &l);
    for (size_t i = 0; i < l.servers.length; i++)
        if (strcmp(l.servers.items[i]->name, "leaving") == 0) {
            l.servers.items[i]->leaving = true;
            l.servers.items[i]->admin = CFG_MAINT;
        }
    assert_int_equal(cfg_words(defaults, strlen(defaults), &words, &count, &plain, NULL), 0);
    plan_backend(&p, caps, "b", false, wanted ? &w : NULL, live ? &l : NULL, &words);
    CLEANUP(free_ptr) char *got = describe(&p);
    if (expected[0] == '~')
        assert_non_null(strstr(got, expected + 1));
    else
        assert_string_equal(got, expected);
    plan_done(&p);
    cfg_backend_done(&w);
    cfg_backend_done(&l);
}

static void test_servers(void **state)
{
    (void)state;
    static const char one[] = "server a 192.0.2.1:80 check";
    assert_plan(&old, one, one, "", "");
    assert_plan(&old, "server a 192.0.2.2:81 weight 5 check disabled", one, "",
                "0 set server b/a addr 192.0.2.2 port 81\n0 set server b/a weight 5\n0 set server b/a state maint\n");
    assert_plan(&old, "server a [2001:db8::1]:80 check", one, "", "0 set server b/a addr 2001:db8::1 port 80\n");
    assert_plan(&old, "server a 192.0.2.1:80 check\nserver c [2001:db8::2]:8080 check weight 3", one, "",
                "0 add server b/c [2001:db8::2]:8080 check weight 3\n0 enable server b/c\n0 enable health b/c\n");
    assert_plan(&old, "server c 192.0.2.3:80", one, "",
                "0 add server b/c 192.0.2.3:80 weight 1\n0 enable server b/c\n"
                "3 set server b/a state maint\n3 del server b/a\n");
    /* a server that goes where another one serves: nobody waits for a second write */
    assert_plan(&old, "server c 192.0.2.3:80\nserver z 192.0.2.9:80",
                "server a 192.0.2.1:80 check\nserver z 192.0.2.9:80", "",
                "0 add server b/c 192.0.2.3:80 weight 1\n0 enable server b/c\n"
                "0 set server b/a state maint\n0 del server b/a\n");
    assert_plan(&old, "server z 192.0.2.9:80", "server a 192.0.2.1:80\nserver z 192.0.2.9:80", "",
                "0 set server b/a state maint\n0 del server b/a\n");
    /* but not where that one drains, has no weight, or changes itself */
    assert_plan(&old, "server z 192.0.2.9:80 disabled", "server a 192.0.2.1:80\nserver z 192.0.2.9:80", "",
                "0 set server b/z state maint\n3 set server b/a state maint\n3 del server b/a\n");
    assert_plan(&old, "server z 192.0.2.9:80 weight 0", "server a 192.0.2.1:80\nserver z 192.0.2.9:80 weight 0", "",
                "3 set server b/a state maint\n3 del server b/a\n");
    assert_plan(&old, "server z 192.0.2.8:80", "server a 192.0.2.1:80\nserver z 192.0.2.9:80", "",
                "0 set server b/z addr 192.0.2.8 port 80\n3 set server b/a state maint\n3 del server b/a\n");
    assert_plan(&old, "server z 192.0.2.9:80",
                "server leaving 192.0.2.1:80\nserver a 192.0.2.2:80\nserver z 192.0.2.9:80", "",
                "0 set server b/a state maint\n0 del server b/a\n");
    /* nor where its health is HAProxy's to find out */
    assert_plan(&old, "server z 192.0.2.9:80 check", "server a 192.0.2.1:80\nserver z 192.0.2.9:80 check", "",
                "3 set server b/a state maint\n3 del server b/a\n");
    assert_plan(&old, "server z 192.0.2.9:80", "server a 192.0.2.1:80\nserver z 192.0.2.9:80", "check inter 2s",
                "3 set server b/a state maint\n3 del server b/a\n");
    assert_plan(&old, "default-server agent-check agent-port 1\nserver z 192.0.2.9:80",
                "default-server agent-check agent-port 1\nserver a 192.0.2.1:80\nserver z 192.0.2.9:80", "",
                "3 set server b/a state maint\n3 del server b/a\n");
    assert_plan(&old, "server a 192.0.2.1:80\nserver z 192.0.2.9:80 check",
                "server a 192.0.2.1:80 check\nserver z 192.0.2.9:80 check", "",
                "~reload server: backend b: server a changes more");
    /* words of default-server are not inherited by a command: they are written out, the general ones first */
    assert_plan(&old, "server a 192.0.2.1:80 check\nserver c 192.0.2.3:80 disabled init-addr last,none inter 5s", one,
                "check inter 2s",
                "0 add server b/c 192.0.2.3:80 check inter 2s inter 5s weight 1\n0 enable health b/c\n");
    /* one that leaves comes back */
    assert_plan(&old, "server a 192.0.2.1:80 check\nserver leaving 192.0.2.7:80",
                "server a 192.0.2.1:80 check\nserver leaving 192.0.2.7:80", "", "0 set server b/leaving state ready\n");
    assert_plan(&old, one, "server a 192.0.2.1:80 check\nserver leaving 192.0.2.7:80", "", "");
    /* other words: replaced if somebody else can serve */
    assert_plan(&old, "server a 192.0.2.1:80", one, "", "~reload server: backend b: server a changes more");
    assert_plan(&old, "server a 192.0.2.1:80\nserver z 192.0.2.9:80",
                "server a 192.0.2.1:80 check\nserver z 192.0.2.9:80", "",
                "0 set server b/a state maint\n0 del server b/a\n"
                "0 add server b/a 192.0.2.1:80 weight 1\n0 enable server b/a\n");
    assert_plan(&old, "server a example.com:80 check", one, "", "~reload server");
    assert_plan(&old, "server a 192.0.2.1:80 check\nserver c 192.0.2.3:80 send-proxy \"${X}\"", one, "",
                "~reload server");
}

static void test_backends(void **state)
{
    (void)state;
    assert_plan(&old, "server a 192.0.2.1:80", NULL, "", "~reload backend: backend b is new");
    assert_plan(&new, "server a 192.0.2.1:80", NULL, "",
                "0 add backend b from base\n"
                "0 add server b/a 192.0.2.1:80 weight 1\n0 enable server b/a\n0 publish backend b\n");
    assert_plan(&new, "balance random\nserver a 192.0.2.1:80", NULL, "",
                "~reload backend: backend b is new and consists of more");
    assert_plan(&new, NULL, "server a 192.0.2.1:80", "",
                "3 unpublish backend b\n3 set server b/a state maint\n3 del server b/a\n3 del backend b\n");
    assert_plan(&old, NULL, "server a 192.0.2.1:80", "", "3 set server b/a state maint\n3 del server b/a\n");
    assert_plan(&new, "balance random\nserver a 192.0.2.1:80", "server a 192.0.2.1:80", "",
                "~reload backend: backend b changed");
    assert_plan(&new, "server-template a 3 192.0.2.1:80", "server-template a 3 192.0.2.1:80", "", "");
}

static void test_maps(void **state)
{
    (void)state;
    struct plan p = {0};
    plan_map_entry(&p, "maps/m", "gone", NULL, "b");
    plan_map_entry(&p, "maps/m", "new", "b", NULL);
    plan_map_entry(&p, "maps/m", "same", "b", "b");
    plan_map_entry(&p, "maps/m", "other", "c d;e\\f", "b");
    plan_map_duplicate(&p, "maps/m", "0x1");
    CLEANUP(free_ptr) char *got = describe(&p);
    assert_string_equal(got, "1 add map maps/m new b\n1 set map maps/m other c\\ d\\;e\\\\f\n"
                             "2 del map maps/m gone\n2 del map maps/m #0x1\n");
    plan_map_entry(&p, "maps/m", "k", "two\nlines", NULL);
    assert_string_equal(p.reload_class, "map");
    plan_done(&p);
    CLEANUP(free_ptr) char *long_value = xmalloc(20000);
    memset(long_value, 'x', 19999);
    long_value[19999] = '\0';
    plan_map_entry(&p, "maps/m", "k", long_value, NULL);
    assert_string_equal(p.reload_class, "command");
    plan_done(&p);
}

/* What the command line would take for something else than a word of this entry. */
static void test_hostile_map_entries(void **state)
{
    (void)state;
    static const struct {
        const char *key, *wanted, *live;
    } cases[] = {
        {"k", "<<", NULL},  {"k", "<<end", "b"}, {"k", "a <<end", "b"},   {"k", "a <<", NULL}, {"<<end", NULL, "b"},
        {"<<", NULL, "b"},  {"#0x1", NULL, "b"}, {"#0x1", "a", "b"},      {"k", "a\nb", "b"},  {"k", "a\r", "b"},
        {"k\t", NULL, "b"}, {"k", "", "b"},      {"k", "a\x1b[2J", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct plan p = {0};
        plan_map_entry(&p, "maps/m", cases[i].key, cases[i].wanted, cases[i].live);
        if (!p.reload || plan_count(&p))
            fail_msg("case %zu became a command", i);
        assert_string_equal(p.reload_class, "map");
        plan_done(&p);
    }
    struct plan p = {0};
    plan_map_entry(&p, "maps/m", "a<<b", "-f;@1 help", NULL);
    CLEANUP(free_ptr) char *got = describe(&p);
    assert_string_equal(got, "1 add map maps/m a<<b -f\\;@1\\ help\n");
    plan_done(&p);
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        enum plan_op_type type;
        const char *answer;
        enum plan_verdict verdict;
    } cases[] = {
        {PLAN_SERVER_ADD, "New server registered.", PLAN_OK},
        {PLAN_SERVER_ADD, "Already exists a server with the same name in backend.", PLAN_SURPRISE},
        {PLAN_SERVER_ADDRESS, "IP changed from '1.1.1.1' to '1.1.1.2' by 'stats socket command'", PLAN_OK},
        {PLAN_SERVER_ADDRESS, "no need to change the addr, no need to change the port by 'stats socket command'",
         PLAN_OK},
        {PLAN_SERVER_ADDRESS, "Invalid addr 'x'", PLAN_SURPRISE},
        {PLAN_SERVER_STATE, "", PLAN_OK},
        {PLAN_SERVER_STATE, "No such server.", PLAN_SURPRISE},
        {PLAN_SERVER_WEIGHT, "Absolute weight can only be between 0 and 256 inclusive.", PLAN_SURPRISE},
        {PLAN_SERVER_DEL, "Server b/a is going DOWN for maintenance.\nServer deleted.", PLAN_OK},
        {PLAN_SERVER_DEL, "No such server.", PLAN_OK},
        {PLAN_SERVER_DEL, "Server still has connections attached to it, cannot remove it.", PLAN_LATER},
        {PLAN_SERVER_REPLACE, "Server still has connections attached to it, cannot remove it.", PLAN_SURPRISE},
        {PLAN_BACKEND_ADD, "Cannot find default proxy 'x'.", PLAN_SURPRISE},
        {PLAN_BACKEND_DEL, "Only a backend without server can be deleted.", PLAN_LATER},
        {PLAN_MAP_SET, "entry not found.", PLAN_SURPRISE},
        {PLAN_MAP_DEL, "Key not found.", PLAN_OK},
        {PLAN_CERTIFICATE_NEW, "New empty certificate store 'certs/a.pem'!", PLAN_OK},
        {PLAN_CERTIFICATE_NEW, "Certificate 'certs/a.pem' already exists!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_SET, "Transaction created for certificate certs/a.pem!", PLAN_OK},
        /* 2.6, while a transaction of another certificate is open: that one would get it. */
        {PLAN_CERTIFICATE_SET, "Transaction updated for certificate certs/b.pem!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_SET, "The ongoing transaction is about 'certs/b.pem' but you are trying to set 'certs/a.pem'",
         PLAN_SURPRISE},
        {PLAN_CERTIFICATE_SET,
         "unable to load certificate from file 'certs/a.pem'.\nCan't load the payload\n"
         "Can't update certs/a.pem!",
         PLAN_SURPRISE},
        {PLAN_CERTIFICATE_COMMIT, "Committing certs/a.pem...\nSuccess!", PLAN_OK},
        {PLAN_CERTIFICATE_COMMIT, "No ongoing transaction! !\nCan't commit certs/a.pem!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_ABORT, "Transaction aborted for certificate 'certs/a.pem'!", PLAN_OK},
        {PLAN_CERTIFICATE_ABORT, "No ongoing transaction!", PLAN_OK},
        {PLAN_CERTIFICATE_DEL, "Certificate 'certs/a.pem' deleted!", PLAN_OK},
        {PLAN_CERTIFICATE_DEL, "Can't remove the certificate: certificate 'certs/a.pem' in use, can't be deleted!",
         PLAN_LATER},
        {PLAN_LIST_ADD, "Inserting certificate 'certs/a.pem' in crt-list 'certs/x.list'.\nSuccess!", PLAN_OK},
        {PLAN_LIST_ADD, "Can't edit the crt-list: certificate 'certs/a.pem' does not exist!", PLAN_SURPRISE},
        {PLAN_LIST_DEL, "Entry 'certs/a.pem' deleted in crtlist 'certs/x.list'!", PLAN_OK},
        {PLAN_LIST_DEL,
         "Can't delete the entry: certificate 'certs/a.pem' cannot be deleted, it is used as default "
         "certificate by the following frontends:",
         PLAN_SURPRISE},
        {PLAN_MAP_ADD, "Unknown map identifier. Please use #<id> or <file>.", PLAN_SURPRISE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(plan_judge(cases[i].type, cases[i].answer), cases[i].verdict);
}

static void test_certificates(void **state)
{
    (void)state;
    const struct haproxy_caps caps = {.dynamic_servers = true};
    struct plan p = {0};
    plan_list_remove(&p, "certs/x.list", "certs/b.pem", 3);
    plan_certificate_abort(&p, SSL_CERTIFICATE, "certs/z.pem");
    plan_certificate(&p, &caps, SSL_CERTIFICATE, "certs/a.pem", "A\nB\n", true);
    plan_certificate(&p, &caps, SSL_CERTIFICATE, "certs/n.pem", "N\n", false);
    plan_list_add(&p, "certs/x.list", "certs/n.pem n.example\ncerts/other", 22);
    plan_certificate_remove(&p, SSL_CERTIFICATE, "certs/b.pem");
    CLEANUP(free_ptr) char *got = describe(&p);
    /* Certificates before anything is routed, and lines before what they name goes. */
    assert_string_equal(got, "-1 abort ssl cert certs/z.pem\n-1 set ssl cert certs/a.pem <<\nA\nB\n\n"
                             "-1 commit ssl cert certs/a.pem\n-1 new ssl cert certs/n.pem\n"
                             "-1 set ssl cert certs/n.pem <<\nN\n\n-1 commit ssl cert certs/n.pem\n"
                             "-1 add ssl crt-list certs/x.list <<\ncerts/n.pem n.example\n\n"
                             "2 del ssl crt-list certs/x.list certs/b.pem:3\n3 del ssl cert certs/b.pem\n");
    plan_done(&p);
    CLEANUP(free_ptr) char *long_one = xmalloc(13002);
    memset(long_one, 'a', 13001);
    long_one[13001] = '\0';
    plan_certificate(&p, &caps, SSL_CERTIFICATE, "certs/a.pem", long_one, true);
    assert_string_equal(p.reload_class, "certificate");
    assert_int_equal(plan_count(&p), 0);
    plan_done(&p);
}

/* Blocks of so many bytes each. */
static char *blocks(size_t count, size_t bytes)
{
    struct buf out = {0};
    for (size_t i = 0; i < count; i++) {
        buf_puts(&out, "-----BEGIN CERTIFICATE-----\n");
        for (size_t k = 0; k < bytes; k++)
            buf_putc(&out, 'a');
        buf_puts(&out, "\n-----END CERTIFICATE-----\n");
    }
    return buf_steal(&out);
}

static void test_long_authorities(void **state)
{
    (void)state;
    const struct haproxy_caps none = {0}, caps = {.authorities_in_parts = true};
    CLEANUP(free_ptr) char *five = blocks(5, 5000), *huge = blocks(1, 13000), *mixed = xasprintf("%s%s", five, huge);
    static const char *const wanted[] = {"new ssl ca-file certs/a.ca.pem", "set ssl ca-file certs/a.ca.pem <<\n",
                                         "add ssl ca-file certs/a.ca.pem <<\n", "add ssl ca-file certs/a.ca.pem <<\n",
                                         "commit ssl ca-file certs/a.ca.pem"};
    struct plan p = {0};

    plan_certificate(&p, &caps, SSL_AUTHORITIES, "certs/a.ca.pem", five, false);
    assert_null(p.reload);
    assert_int_equal(p.ops[PLAN_CERTIFY].length, ARRAY_LEN(wanted));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        assert_int_equal(strncmp(p.ops[PLAN_CERTIFY].items[i].command, wanted[i], strlen(wanted[i])), 0);
    plan_done(&p);
    const struct {
        const struct haproxy_caps *caps;
        enum ssl_file_kind kind;
        const char *pem;
    } refused[] = {{&none, SSL_AUTHORITIES, five},
                   {&caps, SSL_CERTIFICATE, five},
                   {&caps, SSL_REVOCATIONS, five},
                   {&caps, SSL_AUTHORITIES, huge},
                   {&caps, SSL_AUTHORITIES, mixed}};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        plan_certificate(&p, refused[i].caps, refused[i].kind, "certs/a.ca.pem", refused[i].pem, true);
        assert_string_equal(p.reload_class, "certificate");
        assert_int_equal(plan_count(&p), 0); /* nothing of it */
        plan_done(&p);
    }
}

static void test_answers_about_authorities(void **state)
{
    (void)state;
    static const struct {
        enum plan_op_type type;
        const char *answer;
        enum plan_verdict verdict;
    } cases[] = {
        {PLAN_CERTIFICATE_NEW, "New CA file created 'certs/a.ca.pem'!", PLAN_OK},
        {PLAN_CERTIFICATE_NEW, "CA file 'certs/a.ca.pem' already exists!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_NEW, "New CRL file created 'certs/a.crl.pem'!", PLAN_OK},
        {PLAN_CERTIFICATE_SET, "transaction created for CA certs/a.ca.pem!", PLAN_OK},
        {PLAN_CERTIFICATE_SET, "transaction updated for CA certs/a.ca.pem!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_SET, "transaction created for CRL certs/a.crl.pem!", PLAN_OK},
        {PLAN_CERTIFICATE_SET, "Invalid payload\nCan't update certs/a.ca.pem!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_ADD, "transaction updated for CA certs/a.ca.pem!", PLAN_OK},
        {PLAN_CERTIFICATE_ADD, "transaction created for CA certs/a.ca.pem!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_COMMIT, "Committing certs/a.ca.pem.\nSuccess!", PLAN_OK},
        {PLAN_CERTIFICATE_COMMIT, "No ongoing transaction! !\nCan't commit certs/a.ca.pem!", PLAN_SURPRISE},
        {PLAN_CERTIFICATE_ABORT, "Transaction aborted for certificate 'certs/a.ca.pem'!", PLAN_OK},
        {PLAN_CERTIFICATE_ABORT, "No ongoing transaction!", PLAN_OK},
        {PLAN_CERTIFICATE_DEL, "CA file 'certs/a.ca.pem' deleted!", PLAN_OK},
        {PLAN_CERTIFICATE_DEL, "Can't remove the CA file: CA file 'certs/a.ca.pem' in use, can't be deleted!",
         PLAN_LATER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(plan_judge(cases[i].type, cases[i].answer), cases[i].verdict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_authorities),
        cmocka_unit_test(test_answers_about_authorities),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_backends),
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_hostile_map_entries),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
