/* A fleet whose certificates are looked at for eight years, often when something changes: at no moment do two of its
 * parts, of which one has the newest files and the other those of before, refuse each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include "base/alloc.h"
#include "controller/fleet_keys.h"
#include "net/authority.h"

#define BEGIN ((int64_t)1800000000)
#define HOUR ((int64_t)3600)
#define DAY (24 * HOUR)
#define NAME "haptic-agent"

static void keys_copy(struct fleet_keys *to, const struct fleet_keys *from)
{
    fleet_keys_done(to);
    for (size_t i = 0; i < KEY_COUNT; i++)
        buf_add(&to->values[i], buf_str(&from->values[i]), from->values[i].length);
}

/* Would who has these authorities take that certificate? */
static bool takes(const struct fleet_keys *who, const struct fleet_keys *whose, enum fleet_key key, int64_t now_s)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    BIO *row = BIO_new_mem_buf(buf_str(&who->values[CA_CRT]), -1),
        *one = BIO_new_mem_buf(buf_str(&whose->values[key]), -1);
    X509 *c, *leaf = PEM_read_bio_X509(one, NULL, NULL, NULL);
    assert_non_null(leaf);
    while ((c = PEM_read_bio_X509(row, NULL, NULL, NULL))) {
        X509_STORE_add_cert(store, c);
        X509_free(c);
    }
    X509_STORE_CTX_init(ctx, store, leaf, NULL);
    X509_STORE_CTX_set_time(ctx, 0, (time_t)now_s);
    bool taken = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(leaf);
    BIO_free(row);
    BIO_free(one);
    return taken;
}

static void assert_know_each_other(const struct fleet_keys *a, const struct fleet_keys *b, int64_t now_s)
{
    static const enum fleet_key issued[] = {AGENT_CRT, CONTROLLER_CRT};
    for (size_t i = 0; i < 2; i++) {
        assert_true(takes(a, b, issued[i], now_s));
        assert_true(takes(b, a, issued[i], now_s));
    }
}

static size_t authorities(const struct fleet_keys *k)
{
    size_t count = 0, length;
    for (const char *row = buf_str(&k->values[CA_CRT]); (length = authority_first(row)) > 0; row += length)
        count++;
    return count;
}

static void one_authority_follows_another_unnoticed(void **state)
{
    struct fleet_keys now = {0}, before = {0};
    size_t steps = 0, follows = 0, most = 0;
    int64_t changed_s = BEGIN;
    (void)state;
    for (int64_t t = BEGIN; t < BEGIN + 8 * 365 * DAY; t += t - changed_s < 3 * DAY ? 8 * HOUR : 9 * DAY) {
        struct fleet_keys next = {0};
        const char *why = "";
        struct err err;
        int due = fleet_keys_next(&now, NAME, t, &next, &why, &err);
        assert_true(due >= 0);
        if (due > 0) {
            /* Whoever has older files than those of before has had them for long. */
            assert_true(steps == 0 || t - changed_s >= 8 * HOUR);
            follows += steps > 0 && strcmp(why, "the announced authority takes over") == 0;
            assert_string_not_equal(why, "the authority cannot be used");
            keys_copy(&before, steps ? &now : &next);
            keys_copy(&now, &next);
            changed_s = t;
            steps++;
            most = authorities(&now) > most ? authorities(&now) : most;
            assert_know_each_other(&now, &before, t);
            assert_know_each_other(&now, &before, t + 7 * HOUR);
        }
        fleet_keys_done(&next);
        assert_know_each_other(&now, &now, t);
    }
    assert_int_equal(follows, 1); /* after six years and eight months */
    assert_int_equal(most, 2);
    assert_int_equal(authorities(&now), 1);
    fleet_keys_done(&now);
    fleet_keys_done(&before);
}

static void step(struct fleet_keys *k, int64_t now_s, const char *wanted_why)
{
    struct fleet_keys next = {0};
    const char *why = "";
    struct err err;
    assert_int_equal(fleet_keys_next(k, NAME, now_s, &next, &why, &err), *wanted_why ? 1 : 0);
    assert_string_equal(why, wanted_why);
    if (*wanted_why)
        keys_copy(k, &next);
    fleet_keys_done(&next);
}

/* Without its key an authority cannot issue, and another one takes its place at once. What it has issued is trusted by
 * whoever has the new files already. */
static void the_authority_of_a_lost_key_is_trusted_for_a_while(void **state)
{
    struct fleet_keys k = {0}, before = {0};
    (void)state;
    step(&k, BEGIN, "there is none yet");
    keys_copy(&before, &k);
    buf_clear(&k.values[CA_KEY]);
    step(&k, BEGIN + HOUR, "the authority cannot be used");
    assert_true(takes(&k, &before, AGENT_CRT, BEGIN + HOUR));
    assert_true(takes(&k, &before, CONTROLLER_CRT, BEGIN + HOUR));
    assert_true(takes(&k, &k, AGENT_CRT, BEGIN + HOUR));
    step(&k, BEGIN + 2 * HOUR, "");
    step(&k, BEGIN + HOUR + DAY, "nobody needs the former authority any more");
    assert_int_equal(authorities(&k), 1);
    assert_false(takes(&k, &before, AGENT_CRT, BEGIN + 2 * DAY));
    step(&k, BEGIN + 2 * DAY, "");
    fleet_keys_done(&k);
    fleet_keys_done(&before);
}

static void what_was_damaged_is_issued_anew(void **state)
{
    struct fleet_keys k = {0};
    (void)state;
    step(&k, BEGIN, "there is none yet");
    CLEANUP(free_ptr) char *authority = xstrdup(buf_str(&k.values[CA_CRT]));
    buf_clear(&k.values[AGENT_CRT]);
    step(&k, BEGIN + HOUR, "a certificate or key cannot be read");
    assert_string_equal(buf_str(&k.values[CA_CRT]), authority);
    /* An announced one that is damaged is announced anew; the one that signs goes on. */
    int64_t old = BEGIN + 7 * 365 * DAY;
    step(&k, old, "two thirds of the authority's time have passed; another one is announced");
    buf_clear(&k.values[NEXT_KEY]);
    step(&k, old + HOUR, "two thirds of the authority's time have passed; another one is announced");
    fleet_keys_done(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_authority_follows_another_unnoticed),
        cmocka_unit_test(the_authority_of_a_lost_key_is_trusted_for_a_while),
        cmocka_unit_test(what_was_damaged_is_issued_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
