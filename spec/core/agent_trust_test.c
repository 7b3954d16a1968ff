/* Authorities and lists of revoked certificates go live by commands, whatever step of it fails: no transaction stays
 * open, and what is loaded in the end is what is wanted. HAProxy is real; somebody else comes between the steps.
 */
#include "agent_support.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "data/certificate.h"

#define AUTHORITIES "show ssl ca-file certs/a.ca.pem"
#define REVOCATIONS "show ssl crl-file certs/a.crl.pem"

/* ---- what is loaded ---- */

static char *authority_new(void)
{
    struct buf chain = {0}, key = {0};
    assert_int_equal(certificate_make_default(&chain, &key, NULL), 0);
    buf_done(&key);
    return buf_steal(&chain);
}

/* A list with so many serial numbers, from first on. */
static char *list_new(unsigned first, unsigned count)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_CRL *list = X509_CRL_new();
    X509_NAME *name = X509_NAME_new();
    ASN1_TIME *now = ASN1_TIME_set(NULL, 1700000000), *later = ASN1_TIME_set(NULL, 4000000000);
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes;

    assert_true(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"an authority", -1, -1, 0));
    assert_true(X509_CRL_set_version(list, 1) && X509_CRL_set_issuer_name(list, name) &&
                X509_CRL_set1_lastUpdate(list, now) && X509_CRL_set1_nextUpdate(list, later));
    for (unsigned i = 0; i < count; i++) {
        X509_REVOKED *one = X509_REVOKED_new();
        ASN1_INTEGER *serial = ASN1_INTEGER_new();
        assert_true(ASN1_INTEGER_set_uint64(serial, first + i) && X509_REVOKED_set_serialNumber(one, serial) &&
                    X509_REVOKED_set_revocationDate(one, now) && X509_CRL_add0_revoked(list, one));
        ASN1_INTEGER_free(serial);
    }
    assert_true(X509_CRL_sign(list, key, EVP_sha256()) > 0 && PEM_write_bio_X509_CRL(bio, list) == 1);
    long length = BIO_get_mem_data(bio, &bytes);
    char *text = xmemdup0(bytes, (size_t)length);
    BIO_free(bio);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_NAME_free(name);
    X509_CRL_free(list);
    EVP_PKEY_free(key);
    return text;
}

static char *fingerprint_of(const char *pem)
{
    char text[CERTIFICATE_FINGERPRINT_SIZE];
    assert_true(certificate_fingerprint(pem, strlen(pem), text));
    return xstrdup(text);
}

static void put_file(struct world *w, const char *name, const char *text)
{
    const struct emitted item[] = {{CONTRIBUTION_CERTIFICATE, name, "", text, 0, 0}};
    model_put(w->model, name, item, text ? 1 : 0);
    model_check(w->model, true);
}

static unsigned surprises(const struct world *w)
{
    CLEANUP(buf_done) struct buf text = {0};
    unsigned count = 0;
    metric_expose(w->metrics, &text);
    for (const char *at = buf_str(&text); (at = strstr(at, "\nhaptic_deployment_surprises_total{"));) {
        at = strchr(at, '}');
        count += (unsigned)strtoul(at + 1, NULL, 10);
    }
    return count;
}

static void assert_has(struct world *w, const char *pem)
{
    CLEANUP(free_ptr) char *wanted = fingerprint_of(pem);
    assert_true(world_shows(w, AUTHORITIES, wanted));
}

static void assert_no_transaction(struct world *w)
{
    assert_false(world_shows(w, "show ssl ca-file", "# transaction"));
    assert_false(world_shows(w, "show ssl crl-file", "# transaction"));
}

/* Before 3.2 sessions are taken up again that were begun under other authorities. */
static bool may_change(const char *series)
{
    return strcmp(series, "3.2") >= 0;
}

/* ---- come, change, go ---- */

static void lives(struct world *w, const char *series)
{
    CLEANUP(free_ptr) char *one = authority_new(), *two = authority_new(), *both = xasprintf("%s%s", two, one);
    int pid = world_worker_pid(w);

    put_file(w, "a.ca.pem", one);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_has(w, one);
    /* Nothing is left to do, also for who looks at everything. */
    world_apply(w, true);
    assert_false(w->reloaded);
    assert_int_equal(w->operations, 0);
    put_file(w, "a.ca.pem", both);
    world_apply(w, false);
    if (!may_change(series)) {
        assert_true(w->reloaded);
        assert_non_null(strstr(w->reason, "takes up sessions again"));
        return;
    }
    assert_false(w->reloaded);
    assert_has(w, one);
    assert_has(w, two);
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    put_file(w, "a.ca.pem", NULL);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_true(world_shows(w, AUTHORITIES, "Not found"));
    assert_int_equal(surprises(w), 0);
    assert_int_equal(world_worker_pid(w), pid);
}

static void test_lives(void **state)
{
    (void)state;
    each_series(lives, &(const struct agent_config){0});
}

static void revokes(struct world *w, const char *series)
{
    CLEANUP(free_ptr) char *one = list_new(1, 3), *two = list_new(200, 100), *huge = list_new(1, 600);

    put_file(w, "a.crl.pem", one);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_true(world_shows(w, REVOCATIONS, "Serial Number: 03"));
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    put_file(w, "a.crl.pem", two);
    world_apply(w, false);
    assert_int_equal(w->reloaded, !may_change(series));
    if (!may_change(series))
        return;
    assert_true(world_shows(w, REVOCATIONS, "Serial Number: C8"));
    assert_false(world_shows(w, REVOCATIONS, "Serial Number: 03\n"));
    assert_int_equal(surprises(w), 0);
    /* Longer than one command: HAProxy has no other one for lists. */
    put_file(w, "a.crl.pem", huge);
    world_apply(w, false);
    assert_true(w->reloaded);
    assert_non_null(strstr(w->reason, "longer than HAProxy takes in one command"));
}

static void test_revokes(void **state)
{
    (void)state;
    each_series(revokes, &(const struct agent_config){0});
}

/* ---- longer than one command ---- */

static void is_large(struct world *w, const char *series)
{
    CLEANUP(buf_done) struct buf text = {0};
    for (int i = 0; i < 40; i++) {
        CLEANUP(free_ptr) char *one = authority_new();
        buf_puts(&text, one);
    }
    assert_true(text.length > 20000);
    put_file(w, "a.ca.pem", buf_str(&text));
    world_apply(w, false);
    assert_int_equal(w->reloaded, strcmp(series, "2.6") == 0);
    if (w->reloaded)
        return;
    assert_true(world_shows(w, AUTHORITIES, "Certificate #40:"));
    assert_false(world_shows(w, AUTHORITIES, "Certificate #41:"));
    assert_no_transaction(w);
    assert_int_equal(surprises(w), 0);
}

static void test_large(void **state)
{
    (void)state;
    each_series(is_large, &(const struct agent_config){0});
}

/* ---- failures ---- */

static void answer_is(struct world *w, const char *command, const char *part)
{
    CLEANUP(free_ptr) char *answer = world_command(w, command);
    if (!strstr(answer, part))
        fail_msg("%.60s: %s", command, answer);
}

/* new fails: somebody has made it. What follows does not fail, and is found to be what is wanted. */
static void fails_at_new(struct world *w, const char *series)
{
    CLEANUP(free_ptr) char *one = authority_new();
    (void)series;
    answer_is(w, "new ssl ca-file certs/a.ca.pem", "New CA file created");
    put_file(w, "a.ca.pem", one);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_int_equal(surprises(w), 1);
    assert_has(w, one);
    assert_no_transaction(w);
}

/* set and commit fail: a transaction of somebody else's is open. It is aborted. */
static void fails_at_set(struct world *w, const char *series)
{
    CLEANUP(free_ptr)
    char *one = authority_new(), *other = authority_new(),
         *set = xasprintf("set ssl ca-file certs/b.ca.pem <<\n%s", other);
    answer_is(w, "new ssl ca-file certs/b.ca.pem", "New CA file created");
    answer_is(w, set, "transaction created for CA");
    put_file(w, "a.ca.pem", one);
    world_apply(w, false);
    assert_int_equal(surprises(w), 1);
    assert_no_transaction(w);
    assert_false(world_shows(w, "show ssl ca-file", "certs/b.ca.pem"));
    assert_int_equal(w->reloaded, !may_change(series)); /* it is there, empty */
    if (!w->reloaded)
        assert_has(w, one);
}

/* The agent ends between set and commit: the next comparison of everything aborts what it left, of each kind. */
static void ends_before_commit(struct world *w, const char *series)
{
    CLEANUP(free_ptr)
    char *one = authority_new(), *two = authority_new(), *list = list_new(1, 1),
         *set = xasprintf("set ssl ca-file certs/a.ca.pem <<\n%s", two),
         *set_list = xasprintf("set ssl crl-file certs/b.crl.pem <<\n%s", list);
    (void)series;
    put_file(w, "a.ca.pem", one);
    world_apply(w, false);
    answer_is(w, set, "transaction created for CA");
    if (strcmp(series, "2.6") != 0) { /* it has one transaction for both */
        answer_is(w, "abort ssl ca-file certs/a.ca.pem", "Transaction aborted");
        answer_is(w, "new ssl crl-file certs/b.crl.pem", "New CRL file created");
        answer_is(w, set_list, "transaction created for CRL");
        world_apply(w, true);
        assert_no_transaction(w);
        answer_is(w, set, "transaction created for CA");
    }
    world_apply(w, true);
    assert_no_transaction(w);
    assert_has(w, one);
    assert_false(w->reloaded);
    assert_false(world_shows(w, "show ssl crl-file", "certs/b.crl.pem"));
}

/* Somebody commits something else: it is seen, and put right. */
static void is_replaced(struct world *w, const char *series)
{
    CLEANUP(free_ptr)
    char *one = authority_new(), *two = authority_new(), *set = xasprintf("set ssl ca-file certs/a.ca.pem <<\n%s", two);
    put_file(w, "a.ca.pem", one);
    world_apply(w, false);
    world_apply(w, true);
    answer_is(w, set, "transaction created for CA");
    answer_is(w, "commit ssl ca-file certs/a.ca.pem", "Success!");
    world_apply(w, true);
    assert_int_equal(drift_repairs(w), 1);
    assert_int_equal(w->reloaded, !may_change(series));
    if (!w->reloaded)
        assert_has(w, one);
}

/* An apply was broken off after its commands had been carried out: the next one goes on from there. Without that, one
 * that takes longer than its time would begin anew for ever. */
static void is_broken_off(struct world *w, const char *series)
{
    CLEANUP(free_ptr)
    char *one = authority_new(), *two = authority_new(), *set = xasprintf("set ssl ca-file certs/a.ca.pem <<\n%s", two);
    (void)series;
    put_file(w, "a.ca.pem", one);
    world_apply(w, false);
    answer_is(w, set, "transaction created for CA");
    answer_is(w, "commit ssl ca-file certs/a.ca.pem", "Success!");
    put_file(w, "a.ca.pem", two);
    struct model_changes none = {0}; /* a comparison of everything passes news over */
    model_take_changes(w->model, &none);
    model_changes_done(&none);
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    assert_false(w->reloaded);
    assert_has(w, two);
    world_apply(w, true);
    assert_int_equal(w->operations, 0);
    put_file(w, "a.ca.pem", NULL);
    world_apply(w, false);
    assert_false(w->reloaded);
}

/* del fails: a server uses it. It stays, and goes when nothing uses it any more. */
static void is_in_use(struct world *w, const char *series)
{
    CLEANUP(free_ptr)
    char *one = authority_new(), *line = server_line("s1", 0, "check inter 500ms weight 10"), *second = NULL;
    struct buf chain = {0}, key = {0};
    if (strcmp(series, "3.2") < 0)
        return; /* before, HAProxy does not count servers without a certificate */
    assert_int_equal(certificate_make_default(&chain, &key, NULL), 0);
    second = xasprintf("%s%s", buf_str(&chain), buf_str(&key));
    buf_done(&chain);
    buf_done(&key);
    put_file(w, "a.ca.pem", one);
    put_file(w, "own.pem", second);
    CLEANUP(free_ptr)
    char *with = xasprintf("%s%s", line,
                           "server s9 127.0.0.1:9 ssl verify required ca-file certs/a.ca.pem crt "
                           "certs/own.pem disabled\n");
    edit(w, "a.example", "app", with);
    world_apply(w, true);
    put_file(w, "a.ca.pem", NULL);
    world_apply(w, false);
    assert_false(w->reloaded);
    assert_has(w, one);
    assert_int_equal(surprises(w), 0);
    edit(w, "a.example", "app", line);
    world_apply(w, false);
    WORLD_UNTIL(w, (world_apply(w, true), world_shows(w, AUTHORITIES, "Not found")));
}

static void test_failures(void **state)
{
    (void)state;
    each_series(fails_at_new, &(const struct agent_config){0});
    each_series(fails_at_set, &(const struct agent_config){0});
    each_series(ends_before_commit, &(const struct agent_config){0});
    each_series(is_replaced, &(const struct agent_config){0});
    each_series(is_broken_off, &(const struct agent_config){0});
    each_series(is_in_use, &(const struct agent_config){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),
        cmocka_unit_test(test_revokes),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
