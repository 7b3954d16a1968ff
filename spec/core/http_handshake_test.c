/* What a stranger may make the server compute before it is known that he is one. */
#include "api_world.h"

#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>

#define CURVES "NORMAL:-VERS-ALL:+VERS-TLS1.3"

/* One end of a connection; it ends with the world. */
struct end {
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    int result; /* of the handshake: GNUTLS_E_AGAIN while it goes on */
};

static struct identity *served;

static int serve(gnutls_session_t session, const gnutls_datum_t *names, int count,
                 const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **ret_chain,
                 unsigned *ret_length, gnutls_privkey_t *ret_key)
{
    (void)names;
    (void)count;
    (void)algorithms;
    (void)algorithm_count;
    return identity_serve(served, session, ret_chain, ret_length, ret_key);
}

static void end_begin(struct end *e, unsigned flags, const char *priorities, int fd)
{
    e->result = GNUTLS_E_AGAIN;
    assert_int_equal(gnutls_init(&e->session, flags | GNUTLS_NONBLOCK), 0);
    assert_int_equal(gnutls_priority_set_direct(e->session, priorities, NULL), 0);
    assert_int_equal(gnutls_credentials_set(e->session, GNUTLS_CRD_CERTIFICATE, e->credentials), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    gnutls_transport_set_int(e->session, fd);
}

static void end_done(struct end *e, int fd)
{
    gnutls_deinit(e->session);
    gnutls_certificate_free_credentials(e->credentials);
    close(fd);
}

static void go_on(struct end *e)
{
    if (e->result == 0 || gnutls_error_is_fatal(e->result))
        return;
    e->result = gnutls_handshake(e->session);
}

/* A client that shows the certificate and signs with the key, whether they fit or not. */
static void client_begin(struct end *e, const struct buf *certificate, const struct buf *key, const char *priorities,
                         int fd)
{
    const gnutls_datum_t chain_pem = {(unsigned char *)certificate->data, (unsigned)certificate->length},
                         key_pem = {(unsigned char *)key->data, (unsigned)key->length};
    gnutls_pcert_st chain;
    gnutls_privkey_t private;
    assert_int_equal(gnutls_pcert_import_x509_raw(&chain, &chain_pem, GNUTLS_X509_FMT_PEM, 0), 0);
    assert_int_equal(gnutls_privkey_init(&private), 0);
    assert_int_equal(gnutls_privkey_import_x509_raw(private, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0), 0);
    assert_int_equal(gnutls_certificate_allocate_credentials(&e->credentials), 0);
    gnutls_certificate_set_flags(e->credentials, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
    assert_true(gnutls_certificate_set_key(e->credentials, NULL, 0, &chain, 1, private) >= 0);
    end_begin(e, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT, priorities, fd);
}

/* How the server's handshake ends with such a client. */
static int result_of(const struct buf *certificate, const struct buf *key)
{
    struct end server = {0}, client = {0};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(gnutls_certificate_allocate_credentials(&server.credentials), 0);
    gnutls_certificate_set_retrieve_function2(server.credentials, serve);
    end_begin(&server, GNUTLS_SERVER, CURVES, fds[0]);
    client_begin(&client, certificate, key, CURVES, fds[1]);
    while (server.result != 0 && !gnutls_error_is_fatal(server.result)) {
        go_on(&client);
        go_on(&server);
    }
    end_done(&client, fds[1]);
    end_done(&server, fds[0]);
    return server.result;
}

/* The size of such a key is the client's choice, and so is the work of checking a signature with it. */
static void the_key_of_a_stranger_is_not_used(void **state)
{
    struct api_world w;
    struct buf authority = {0}, authority_key = {0}, stranger[2] = {0};
    struct err err;
    (void)state;
    api_world_begin(&w);
    served = w.identity;
    assert_int_equal(authority_make(time(NULL), &authority, &authority_key, &err), 0);
    assert_int_equal(authority_issue(buf_str(&authority), buf_str(&authority_key), AUTHORITY_CONTROLLER, "haptic-agent",
                                     time(NULL), 3600, &stranger[0], &stranger[1], &err),
                     0);
    assert_int_equal(result_of(&w.theirs[0], &w.theirs[1]), 0);
    assert_int_equal(result_of(&stranger[0], &stranger[1]), GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR);
    /* A wrong signature, too: that of our own client is checked, the stranger's is not. */
    assert_int_equal(result_of(&w.theirs[0], &stranger[1]), GNUTLS_E_PK_SIG_VERIFY_FAILED);
    assert_int_equal(result_of(&stranger[0], &w.theirs[1]), GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR);
    buf_done(&authority);
    buf_done(&authority_key);
    buf_done(&stranger[0]);
    buf_done(&stranger[1]);
    api_world_end(&w);
}

static int result_with_group(struct api_world *w, const char *group)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(api_server_port(w->server))};
    CLEANUP(buf_done) struct buf priorities = {0};
    struct end client = {0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    buf_printf(&priorities, CURVES ":-GROUP-ALL:+GROUP-%s", group);
    client_begin(&client, &w->theirs[0], &w->theirs[1], buf_str(&priorities), fd);
    while (client.result != 0 && !gnutls_error_is_fatal(client.result)) {
        go_on(&client);
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    end_done(&client, fd);
    return client.result;
}

/* One key exchange of the largest finite field takes as long as two hundred of a curve. */
static void keys_are_exchanged_on_curves_only(void **state)
{
    struct api_world w;
    (void)state;
    api_world_begin(&w);
    assert_int_equal(result_with_group(&w, "X25519"), 0);
    assert_int_equal(result_with_group(&w, "SECP256R1"), 0);
    assert_int_equal(result_with_group(&w, "SECP384R1"), 0);
    assert_int_not_equal(result_with_group(&w, "FFDHE2048"), 0);
    assert_int_not_equal(result_with_group(&w, "FFDHE8192"), 0);
    api_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_of_a_stranger_is_not_used),
        cmocka_unit_test(keys_are_exchanged_on_curves_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
