/* A TLS file is changed by a transaction: its content is set, which HAProxy may refuse, and then committed. Authorities
 * that are longer than one command are added one after another, if HAProxy has this command.
 */
#include <string.h>

#include "haproxy/plan.h"

/* A command with its payload has to fit into HAProxy's buffer, without the reserved part: 2.6 and 3.0 accept at most
 * about 14 400 bytes. */
#define PAYLOAD_MAX 13000

static void plan_set(struct plan *p, bool add, enum ssl_file_kind kind, const char *path, const char *pem,
                     size_t length)
{
    if (add)
        plan_add(p, PLAN_CERTIFY, PLAN_CERTIFICATE_ADD, "add ssl %s %s <<\n%.*s", ssl_file_word(kind), path,
                 (int)length, pem);
    else
        plan_add(p, PLAN_CERTIFY, PLAN_CERTIFICATE_SET, "set ssl %s %s <<\n%.*s", ssl_file_word(kind), path,
                 (int)length, pem);
}

/* The length of the PEM blocks at the beginning of pem that fit into one command; 0 when the first one does not fit. */
static size_t blocks_that_fit(const char *pem)
{
    size_t fits = 0;
    for (const char *at = pem; (at = strstr(at, "-----END "));) {
        at += strcspn(at, "\n");
        at += *at == '\n';
        if ((size_t)(at - pem) > PAYLOAD_MAX)
            break;
        fits = (size_t)(at - pem);
    }
    return fits;
}

void plan_certificate(struct plan *p, const struct haproxy_caps *caps, enum ssl_file_kind kind, const char *path,
                      const char *pem, bool is_there)
{
    struct plan part = {0};
    bool in_parts = strlen(pem) > PAYLOAD_MAX && kind == SSL_AUTHORITIES && caps->authorities_in_parts;
    size_t first = in_parts ? blocks_that_fit(pem) : strlen(pem);
    if (first == 0 || first > PAYLOAD_MAX) {
        plan_reload(p, "certificate", "%s is longer than HAProxy takes in one command", path);
        return;
    }
    if (!is_there)
        plan_add(&part, PLAN_CERTIFY, PLAN_CERTIFICATE_NEW, "new ssl %s %s", ssl_file_word(kind), path);
    plan_set(&part, false, kind, path, pem, first);
    for (const char *at = pem + first; *at;) {
        size_t length = blocks_that_fit(at);
        if (length == 0) {
            plan_reload(p, "certificate", "%s has an authority that is longer than HAProxy takes in one command", path);
            plan_done(&part);
            return;
        }
        plan_set(&part, true, kind, path, at, length);
        at += length;
    }
    plan_add(&part, PLAN_CERTIFY, PLAN_CERTIFICATE_COMMIT, "commit ssl %s %s", ssl_file_word(kind), path);
    for (size_t i = 0; i < part.ops[PLAN_CERTIFY].length; i++)
        vec_push(&p->ops[PLAN_CERTIFY], part.ops[PLAN_CERTIFY].items[i]);
    vec_clear(&part.ops[PLAN_CERTIFY]);
    plan_done(&part);
}

void plan_certificate_remove(struct plan *p, enum ssl_file_kind kind, const char *path)
{
    plan_add(p, PLAN_VANISH, PLAN_CERTIFICATE_DEL, "del ssl %s %s", ssl_file_word(kind), path);
}

void plan_certificate_abort(struct plan *p, enum ssl_file_kind kind, const char *path)
{
    plan_add(p, PLAN_CERTIFY, PLAN_CERTIFICATE_ABORT, "abort ssl %s %s", ssl_file_word(kind), path);
}

void plan_list_add(struct plan *p, const char *list, const char *line, size_t length)
{
    plan_add(p, PLAN_CERTIFY, PLAN_LIST_ADD, "add ssl crt-list %s <<\n%.*s", list, (int)length, line);
}

void plan_list_remove(struct plan *p, const char *list, const char *certificate, unsigned number)
{
    plan_add(p, PLAN_UNROUTE, PLAN_LIST_DEL, "del ssl crt-list %s %s:%u", list, certificate, number);
}
