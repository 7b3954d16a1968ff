/* A certificate changes by a transaction: its content is set, which HAProxy may refuse, and then committed. What
 * HAProxy says of a success is words in the middle of its answer. On 2.6 a transaction that is open takes up what is
 * set for another certificate ("Transaction updated"): only a new one is right.
 */
#include <string.h>

#include "haproxy/plan.h"

/* A command with its payload has to fit into HAProxy's buffer, less what that reserves: 2.6 and 3.0 take no more than
 * about 14 400 bytes. */
#define PAYLOAD_MAX 13000

void plan_certificate(struct plan *p, const char *path, const char *pem, bool is_there)
{
    if (strlen(pem) > PAYLOAD_MAX) {
        plan_reload(p, "certificate", "%s is longer than HAProxy takes in one command", path);
        return;
    }
    if (!is_there)
        plan_add(p, PLAN_CERTIFY, PLAN_CERTIFICATE_NEW, "new ssl cert %s", path);
    plan_add(p, PLAN_CERTIFY, PLAN_CERTIFICATE_SET, "set ssl cert %s <<\n%s", path, pem);
    plan_add(p, PLAN_CERTIFY, PLAN_CERTIFICATE_COMMIT, "commit ssl cert %s", path);
}

void plan_certificate_remove(struct plan *p, const char *path)
{
    plan_add(p, PLAN_VANISH, PLAN_CERTIFICATE_DEL, "del ssl cert %s", path);
}

void plan_certificate_abort(struct plan *p, const char *path)
{
    plan_add(p, PLAN_CERTIFY, PLAN_CERTIFICATE_ABORT, "abort ssl cert %s", path);
}

void plan_list_add(struct plan *p, const char *list, const char *line, size_t length)
{
    plan_add(p, PLAN_CERTIFY, PLAN_LIST_ADD, "add ssl crt-list %s <<\n%.*s", list, (int)length, line);
}

void plan_list_remove(struct plan *p, const char *list, const char *certificate, unsigned number)
{
    plan_add(p, PLAN_UNROUTE, PLAN_LIST_DEL, "del ssl crt-list %s %s:%u", list, certificate, number);
}

enum plan_verdict plan_judge_certificate(enum plan_op_type type, const char *answer)
{
    const char *success = "";
    if (type == PLAN_CERTIFICATE_ABORT)
        success = strstr(answer, "No ongoing transaction") ? "No ongoing transaction" : "Transaction aborted";
    if (type == PLAN_CERTIFICATE_NEW)
        success = "New empty certificate store";
    if (type == PLAN_CERTIFICATE_SET)
        success = "Transaction created for certificate";
    if (type == PLAN_CERTIFICATE_COMMIT || type == PLAN_LIST_ADD)
        success = "Success!";
    if (type == PLAN_LIST_DEL)
        success = "deleted in crtlist";
    if (type == PLAN_CERTIFICATE_DEL) {
        /* Something else names it: it is looked at again when everything is compared. */
        if (strstr(answer, "in use"))
            return PLAN_LATER;
        success = "deleted!";
    }
    return *success && strstr(answer, success) ? PLAN_OK : PLAN_SURPRISE;
}
