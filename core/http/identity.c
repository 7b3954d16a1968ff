/* One generation of credentials is in force. A handshake that began with an older one may still need it: those are kept
 * until the process ends or eight newer ones have come, and a handshake takes at most fifteen seconds.
 */
#include "http/identity.h"

#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define LOOK_NS NS_PER_S
#define CHAIN_MAX 16
#define GENERATIONS 8
#define WARN_NS (60 * NS_PER_S)

struct stamp {
    struct timespec changed;
    ino_t inode;
    off_t size;
};

struct generation {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned chain_length;
    gnutls_privkey_t key;
    gnutls_x509_trust_list_t trust;
};

struct identity {
    struct identity_files files;
    struct stamp stamps[3];
    struct generation *generations[GENERATIONS]; /* the newest first */
    int64_t looked_ns;
    struct log_limit limit;
};

static struct generation *generation_free(struct generation *g)
{
    if (!g)
        return NULL;
    for (unsigned i = 0; i < g->chain_length; i++)
        gnutls_pcert_deinit(&g->chain[i]);
    if (g->key)
        gnutls_privkey_deinit(g->key);
    if (g->trust)
        gnutls_x509_trust_list_deinit(g->trust, 1);
    free(g);
    return NULL;
}

static int fail(struct err *err, const char *file, int code)
{
    return err_set(err, ERR_INVALID, "%s: %s", file, gnutls_strerror(code));
}

static void wipe(gnutls_datum_t *d)
{
    if (d->data)
        explicit_bzero(d->data, d->size);
    gnutls_free(d->data);
    d->data = NULL;
}

/* file: for messages. */
static int take_chain(struct generation *g, const gnutls_datum_t *pem, const char *file, struct err *err)
{
    g->chain_length = CHAIN_MAX;
    int code = gnutls_pcert_list_import_x509_raw(g->chain, &g->chain_length, pem, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0)
        g->chain_length = 0;
    return code < 0 ? fail(err, file, code) : 0;
}

static int take_key(struct generation *g, const gnutls_datum_t *pem, const char *file, struct err *err)
{
    (void)gnutls_privkey_init(&g->key);
    int code = gnutls_privkey_import_x509_raw(g->key, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    return code < 0 ? fail(err, file, code) : 0;
}

static int load_chain(struct generation *g, const char *file, struct err *err)
{
    gnutls_datum_t pem = {0};
    int code = gnutls_load_file(file, &pem);
    if (code < 0)
        return fail(err, file, code);
    int result = take_chain(g, &pem, file, err);
    wipe(&pem);
    return result;
}

static int load_key(struct generation *g, const char *file, struct err *err)
{
    gnutls_datum_t pem = {0};
    int code = gnutls_load_file(file, &pem);
    if (code < 0)
        return fail(err, file, code);
    int result = take_key(g, &pem, file, err);
    wipe(&pem);
    return result;
}

static int load_trust(struct generation *g, const char *file, struct err *err)
{
    (void)gnutls_x509_trust_list_init(&g->trust, 0);
    int code = gnutls_x509_trust_list_add_trust_file(g->trust, file, NULL, GNUTLS_X509_FMT_PEM, 0, 0);
    if (code < 0)
        return fail(err, file, code);
    return code == 0 ? err_set(err, ERR_INVALID, "%s: there is no certificate in it", file) : 0;
}

static int key_fits(const struct generation *g, const struct identity_files *files, struct err *err)
{
    unsigned char of_key[64], of_chain[64];
    size_t key_size = sizeof(of_key), chain_size = sizeof(of_chain);
    gnutls_pubkey_t public;
    (void)gnutls_pubkey_init(&public);
    int code = gnutls_pubkey_import_privkey(public, g->key, 0, 0);
    if (code == 0)
        code = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &key_size);
    if (code == 0)
        code = gnutls_pubkey_get_key_id(g->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_chain, &chain_size);
    gnutls_pubkey_deinit(public);
    if (code < 0)
        return fail(err, files->key, code);
    if (key_size != chain_size || memcmp(of_key, of_chain, key_size) != 0)
        return err_set(err, ERR_INVALID, "%s is not the key of the certificate in %s", files->key, files->certificate);
    return 0;
}

static int load(const struct identity_files *files, struct generation **ret_generation, struct err *err)
{
    struct generation *g = xcalloc(1, sizeof(*g));
    if (load_chain(g, files->certificate, err) < 0 || load_key(g, files->key, err) < 0 || key_fits(g, files, err) < 0 ||
        (files->client_authority && load_trust(g, files->client_authority, err) < 0)) {
        generation_free(g);
        return -1;
    }
    *ret_generation = g;
    return 0;
}

/* Has a file changed since it was looked at last? */
static bool look(struct identity *i)
{
    const char *const files[] = {i->files.certificate, i->files.key, i->files.client_authority};
    bool changed = false;
    for (size_t k = 0; k < ARRAY_LEN(files); k++) {
        struct stat st = {0};
        if (files[k])
            (void)!stat(files[k], &st);
        const struct stamp now = {.changed = st.st_mtim, .inode = st.st_ino, .size = st.st_size};
        changed = changed || now.changed.tv_sec != i->stamps[k].changed.tv_sec ||
                  now.changed.tv_nsec != i->stamps[k].changed.tv_nsec || now.inode != i->stamps[k].inode ||
                  now.size != i->stamps[k].size;
        i->stamps[k] = now;
    }
    return changed;
}

static void put_in_force(struct identity *i, struct generation *g)
{
    generation_free(i->generations[GENERATIONS - 1]);
    memmove(i->generations + 1, i->generations, (GENERATIONS - 1) * sizeof(*i->generations));
    i->generations[0] = g;
}

static void refresh(struct identity *i)
{
    struct generation *g;
    struct err err;
    uint64_t similar;
    if (!i->files.certificate || clock_now_ns() - i->looked_ns < LOOK_NS)
        return;
    i->looked_ns = clock_now_ns();
    if (!look(i))
        return;
    if (load(&i->files, &g, &err) == 0) {
        put_in_force(i, g);
        log_info("The certificates were read again", "certificate", i->files.certificate);
        return;
    }
    i->stamps[0] = (struct stamp){0}; /* look again: the files may be written one after the other */
    if (log_limit_pass(&i->limit, WARN_NS, &similar))
        log_warn("The changed certificates cannot be used; the previous ones stay in use", "error", err.text, "similar",
                 log_int((int64_t)similar));
}

int identity_new(const struct identity_files *files, struct identity **ret_identity, struct err *err)
{
    struct generation *g;
    struct identity *i = xcalloc(1, sizeof(*i));
    i->files = *files;
    if (!files->certificate) {
        *ret_identity = i;
        return 0;
    }
    (void)look(i);
    if (load(files, &g, err) < 0) {
        free(i);
        return -1;
    }
    put_in_force(i, g);
    *ret_identity = i;
    return 0;
}

int identity_put(struct identity *i, const char *certificate, const char *key, struct err *err)
{
    const struct identity_files names = {.certificate = "the certificate", .key = "the key"};
    const gnutls_datum_t chain_pem = {(unsigned char *)(uintptr_t)certificate, (unsigned)strlen(certificate)},
                         key_pem = {(unsigned char *)(uintptr_t)key, (unsigned)strlen(key)};
    struct generation *g = xcalloc(1, sizeof(*g));
    if (take_chain(g, &chain_pem, names.certificate, err) < 0 || take_key(g, &key_pem, names.key, err) < 0 ||
        key_fits(g, &names, err) < 0) {
        generation_free(g);
        return -1;
    }
    put_in_force(i, g);
    return 0;
}

struct identity *identity_free(struct identity *i)
{
    for (size_t k = 0; i && k < GENERATIONS; k++)
        generation_free(i->generations[k]);
    free(i);
    return NULL;
}

/* ---- a handshake ---- */

/* The client's chain: of our authority, valid now, made for clients. Anything else ends the handshake. */
static int verify_client(gnutls_session_t session)
{
    struct identity *i = gnutls_session_get_ptr(session);
    unsigned length = 0, verdict = 0;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(session, &length);
    gnutls_x509_crt_t chain[CHAIN_MAX];
    unsigned count = 0;
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
    int code = raw && length > 0 && length <= CHAIN_MAX ? 0 : GNUTLS_E_CERTIFICATE_REQUIRED;
    while (code == 0 && count < length) {
        (void)gnutls_x509_crt_init(&chain[count]);
        code = gnutls_x509_crt_import(chain[count], &raw[count], GNUTLS_X509_FMT_DER);
        count++;
    }
    if (code == 0)
        code = gnutls_x509_trust_list_verify_crt2(i->generations[0]->trust, chain, count, &purpose, 1, 0, &verdict,
                                                  NULL);
    for (unsigned k = 0; k < count; k++)
        gnutls_x509_crt_deinit(chain[k]);
    return code == 0 && verdict == 0 ? 0 : GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

/* Called before the signature of the handshake is checked, which is made with the key that the client sends. RSA has no
 * limit of size in GnuTLS: a check with a key of 65536 bits takes half a minute. So a key without a certificate of our
 * authority is not used at all. */
static int before_signature(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                            const gnutls_datum_t *message)
{
    (void)type;
    (void)when;
    (void)message;
    return incoming ? verify_client(session) : 0;
}

int identity_serve(struct identity *i, gnutls_session_t session, gnutls_pcert_st **ret_chain, unsigned *ret_length,
                   gnutls_privkey_t *ret_key)
{
    refresh(i);
    struct generation *g = i->generations[0];
    if (!g)
        return -1;
    gnutls_session_set_ptr(session, i);
    if (i->files.client_authority) {
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
        gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_CERTIFICATE_VERIFY, GNUTLS_HOOK_PRE,
                                           before_signature);
        gnutls_session_set_verify_function(session, verify_client);
    } else {
        gnutls_certificate_server_set_request(session, GNUTLS_CERT_IGNORE);
    }
    *ret_chain = g->chain;
    *ret_length = g->chain_length;
    *ret_key = g->key;
    return 0;
}
