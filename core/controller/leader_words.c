/* The guide searches logs for "lease renew" and "deadline". */
#include "controller/leader_words.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

const char *leader_purpose_name(enum elector_purpose purpose)
{
    static const char *const names[] = {[ELECTOR_LOOK] = "get",
                                        [ELECTOR_ACQUIRE] = "acquire",
                                        [ELECTOR_RENEW] = "renew",
                                        [ELECTOR_RELEASE] = "release"};

    return names[purpose];
}

char *leader_loss_reason(const struct elector_news *news, const char *identity, int64_t renew_deadline_ns,
                         const char *failure)
{
    char deadline[DURATION_SIZE];
    switch (news->reason) {
    case ELECTOR_REASON_DEADLINE:
        duration_format(renew_deadline_ns, deadline);
        if (news->status == ELECTOR_OK)
            return xasprintf("renew deadline of %s passed without a lease renew: "
                             "this process was held up (CPU limit, stopped, suspended?)",
                             deadline);
        return xasprintf("renew deadline of %s passed without a successful lease renew: %s", deadline, failure);
    case ELECTOR_REASON_TAKEN:
        if (strcmp(news->holder, identity) == 0)
            return xasprintf("another process with the name %s took the lease (is this pod's name used twice?)",
                             identity);
        return xasprintf("the lease is held by %s", news->holder);
    case ELECTOR_REASON_EMPTIED:
        return xstrdup("somebody emptied the lease");
    case ELECTOR_REASON_DELETED:
        return xstrdup("the lease was deleted");
    case ELECTOR_REASON_STOPPED:
        return xstrdup("this replica stops");
    }
    return xstrdup("unknown");
}

enum elector_status leader_status_of(const struct kube_response *response, const struct err *err)
{
    if (!err)
        return ELECTOR_OK;
    switch (err->kind) {
    case ERR_NOTFOUND:
        return ELECTOR_NOTFOUND;
    case ERR_CONFLICT:
        return ELECTOR_CONFLICT;
    case ERR_DENIED:
        return ELECTOR_DENIED;
    case ERR_TIMEOUT:
        return ELECTOR_TIMEOUT;
    default:
        break;
    }
    if (response->status == 429)
        return ELECTOR_THROTTLED;
    if (response->status >= 500)
        return ELECTOR_SERVER;
    return response->status == 0 || err->kind == ERR_IO ? ELECTOR_UNREACHABLE : ELECTOR_INVALID;
}
