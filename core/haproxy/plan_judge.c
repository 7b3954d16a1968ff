/* Judges HAProxy's answers. They have no status codes: each success has its own words, which some versions put into the
 * middle of the answer. On 2.6, an open transaction accepts content for another certificate ("Transaction updated"), so
 * only the words of a new transaction count as success.
 */
#include <string.h>

#include "haproxy/plan.h"

/* Log lines may precede the answer, so the last line counts. */
static const char *last_line(const char *answer)
{
    const char *line = strrchr(answer, '\n');
    return line ? line + 1 : answer;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Success without an answer; log lines about changed states of servers or backends are possible. */
static bool answer_is_quiet(const char *answer)
{
    if (!*answer)
        return true;
    const char *line = last_line(answer);
    return begins(line, "Server ") || begins(line, "backend ") || begins(line, "proxy ");
}

/* "Transaction created for certificate", "transaction created for CA", "… CRL". */
static bool says(const char *answer, const char *const words[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(answer, words[i]))
            return true;
    return false;
}

static enum plan_verdict judge_certificate(enum plan_op_type type, const char *answer)
{
    static const char *const aborted[] = {"No ongoing transaction", "Transaction aborted"},
                             *const made[] = {"New empty certificate store", "New CA file created",
                                              "New CRL file created"},
                             *const set[] = {"Transaction created for certificate", "transaction created for CA",
                                             "transaction created for CRL"},
                             *const added[] = {"transaction updated for CA"}, *const done[] = {"Success!"},
                             *const deleted[] = {"deleted!"}, *const unlisted[] = {"deleted in crtlist"};
    bool ok = false;
    if (type == PLAN_CERTIFICATE_ABORT)
        ok = says(answer, aborted, ARRAY_LEN(aborted));
    if (type == PLAN_CERTIFICATE_NEW)
        ok = says(answer, made, ARRAY_LEN(made));
    if (type == PLAN_CERTIFICATE_SET)
        ok = says(answer, set, ARRAY_LEN(set));
    if (type == PLAN_CERTIFICATE_ADD)
        ok = says(answer, added, ARRAY_LEN(added));
    if (type == PLAN_CERTIFICATE_COMMIT || type == PLAN_LIST_ADD)
        ok = says(answer, done, ARRAY_LEN(done));
    if (type == PLAN_LIST_DEL)
        ok = says(answer, unlisted, ARRAY_LEN(unlisted));
    if (type == PLAN_CERTIFICATE_DEL) {
        /* Something else refers to it: the next full comparison handles it. */
        if (strstr(answer, "in use"))
            return PLAN_LATER;
        ok = says(answer, deleted, ARRAY_LEN(deleted));
    }
    return ok ? PLAN_OK : PLAN_SURPRISE;
}

enum plan_verdict plan_judge(enum plan_op_type type, const char *answer)
{
    const char *line = last_line(answer);
    bool ok = false;
    switch (type) {
    case PLAN_BACKEND_ADD:
        ok = begins(line, "New backend registered.");
        break;
    case PLAN_BACKEND_PUBLISH:
        ok = begins(line, "Backend published.");
        break;
    case PLAN_BACKEND_UNPUBLISH:
        ok = begins(line, "Backend unpublished.");
        break;
    case PLAN_BACKEND_DEL:
        /* In use by streams, by servers that are leaving, or by the configuration: it stays, unpublished. */
        return begins(line, "Backend deleted.") || begins(line, "No such backend") ? PLAN_OK : PLAN_LATER;
    case PLAN_SERVER_ADD:
        ok = begins(line, "New server registered.");
        break;
    case PLAN_SERVER_STATE:
    case PLAN_SERVER_WEIGHT:
    case PLAN_SERVER_CHECK:
    case PLAN_SERVER_SHUTDOWN:
        ok = answer_is_quiet(answer);
        break;
    case PLAN_SERVER_ADDRESS:
        ok = strstr(line, "changed") || strstr(line, "no need to change");
        break;
    case PLAN_SERVER_REPLACE:
        ok = begins(line, "Server deleted.");
        break;
    case PLAN_SERVER_DEL:
        if (strstr(line, "connections"))
            return PLAN_LATER;
        ok = begins(line, "Server deleted.") || begins(line, "No such server.");
        break;
    case PLAN_MAP_ADD:
    case PLAN_MAP_SET:
        ok = !*answer;
        break;
    case PLAN_MAP_DEL:
        ok = !*answer || begins(line, "Key not found.");
        break;
    case PLAN_CERTIFICATE_ABORT:
    case PLAN_CERTIFICATE_NEW:
    case PLAN_CERTIFICATE_SET:
    case PLAN_CERTIFICATE_ADD:
    case PLAN_CERTIFICATE_COMMIT:
    case PLAN_CERTIFICATE_DEL:
    case PLAN_LIST_ADD:
    case PLAN_LIST_DEL:
        return judge_certificate(type, answer);
    }
    return ok ? PLAN_OK : PLAN_SURPRISE;
}
