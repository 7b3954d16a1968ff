/* Words for what the elector tells, as they stand in logs, metrics and the debug endpoint. */
#include "kube/elector.h"

const char *elector_status_name(enum elector_status status)
{
    switch (status) {
    case ELECTOR_OK:
        return "ok";
    case ELECTOR_NOTFOUND:
        return "notfound";
    case ELECTOR_CONFLICT:
        return "conflict";
    case ELECTOR_DENIED:
        return "denied";
    case ELECTOR_THROTTLED:
        return "throttled";
    case ELECTOR_INVALID:
        return "invalid";
    case ELECTOR_TIMEOUT:
        return "timeout";
    case ELECTOR_UNREACHABLE:
        return "unreachable";
    case ELECTOR_SERVER:
        return "server";
    }
    return "unknown";
}

const char *elector_role_name(enum elector_role role)
{
    switch (role) {
    case ELECTOR_IDLE:
        return "idle";
    case ELECTOR_FOLLOWING:
        return "follower";
    case ELECTOR_LEADING:
        return "leader";
    case ELECTOR_RELEASING:
        return "releasing";
    case ELECTOR_ENDED:
        return "stopped";
    }
    return "unknown";
}
