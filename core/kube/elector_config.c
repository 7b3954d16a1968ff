/* The arithmetic of an election's timings.
 *
 *     request sent          next renewal          no write begins      no write is under way     others may take over
 *     |--- retry_period ----|- try -|-wait-|- try -|--- write margin ---|                         |
 *     0                                                         renew_deadline            lease_duration
 *
 * Everything counts from the sending of the last request that succeeded. After a missed renewal two whole tries must
 * fit before the writing stops, or one lost packet would cost the leadership; that gives the request timeout. What
 * lies between renew_deadline and lease_duration absorbs clocks that run at different speeds. */
#include "kube/elector.h"

#include <ctype.h>
#include <string.h>

#include "base/clock.h"

#define TIMEOUT_MAX_NS (10 * NS_PER_S)
#define TIMEOUT_MIN_NS (50 * NS_PER_MS)
#define MARGIN_MAX_NS NS_PER_S
#define DURATION_MAX_NS (24 * 3600 * NS_PER_S)

void elector_config_defaults(struct elector_config *ret_config)
{
    *ret_config = (struct elector_config){
        .enabled = true,
        .lease_name = "haptic-leader",
        .lease_duration_ns = 60 * NS_PER_S,
        .renew_deadline_ns = 15 * NS_PER_S,
        .retry_period_ns = 5 * NS_PER_S,
    };
}

int64_t elector_write_margin_ns(const struct elector_config *config)
{
    int64_t margin = config->renew_deadline_ns / 10;
    return margin < MARGIN_MAX_NS ? margin : MARGIN_MAX_NS;
}

/* What two tries can share: from a missed renewal to the end of writing, less the wait between the two. */
static int64_t tries_room_ns(const struct elector_config *config)
{
    return config->renew_deadline_ns - elector_write_margin_ns(config) - config->retry_period_ns -
           config->retry_period_ns / 8;
}

int64_t elector_request_timeout_ns(const struct elector_config *config)
{
    if (config->request_timeout_ns > 0)
        return config->request_timeout_ns;
    int64_t timeout = tries_room_ns(config) / 2;
    return timeout < TIMEOUT_MAX_NS ? timeout : TIMEOUT_MAX_NS;
}

static bool is_dns_subdomain(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length >= ELECTOR_NAME_SIZE || !isalnum((unsigned char)name[length - 1]))
        return false;
    for (size_t i = 0; i < length; i++) {
        bool starts_label = i == 0 || name[i - 1] == '.';
        bool inner = islower((unsigned char)name[i]) || isdigit((unsigned char)name[i]);
        if (!inner && (starts_label || (name[i] != '-' && name[i] != '.')))
            return false;
        if (name[i] == '.' && name[i - 1] == '-')
            return false;
    }
    return true;
}

static int check_names(const struct elector_config *config, struct err *err)
{
    if (!config->identity || !*config->identity)
        return err_set(err, ERR_INVALID, "leader election: identity is empty; it is the pod's name");
    if (strlen(config->identity) >= ELECTOR_NAME_SIZE)
        return err_set(err, ERR_INVALID, "leader election: identity has %zu bytes, the maximum is %d",
                       strlen(config->identity), ELECTOR_NAME_SIZE - 1);
    if (!config->lease_name || !is_dns_subdomain(config->lease_name))
        return err_set(
            err, ERR_INVALID,
            "leader election: lease_name \"%.300s\" is no name for a Lease (lower-case letters, digits, '-', '.')",
            config->lease_name ? config->lease_name : "");
    if (!config->namespace || !is_dns_subdomain(config->namespace))
        return err_set(err, ERR_INVALID, "leader election: \"%.300s\" is no namespace for the Lease",
                       config->namespace ? config->namespace : "");
    return 0;
}

int elector_config_check(const struct elector_config *config, struct err *err)
{
    char lease[DURATION_SIZE], renew[DURATION_SIZE], retry[DURATION_SIZE], timeout[DURATION_SIZE];

    if (!config->enabled)
        return 0;
    if (check_names(config, err) != 0)
        return -1;
    duration_format(config->lease_duration_ns, lease);
    duration_format(config->renew_deadline_ns, renew);
    duration_format(config->retry_period_ns, retry);
    if (config->lease_duration_ns < NS_PER_S || config->lease_duration_ns > DURATION_MAX_NS)
        return err_set(err, ERR_INVALID,
                       "leader election: lease_duration %s must be between 1s and 24h: a Lease counts in seconds",
                       lease);
    if (config->renew_deadline_ns <= 0 || config->retry_period_ns <= 0)
        return err_set(err, ERR_INVALID, "leader election: renew_deadline and retry_period must be greater than 0");
    if (config->lease_duration_ns <= config->renew_deadline_ns)
        return err_set(err, ERR_INVALID,
                       "leader election: lease_duration %s must be greater than renew_deadline %s, "
                       "or another replica takes over while the old "
                       "leader still deploys",
                       lease, renew);
    if (config->lease_duration_ns < config->renew_deadline_ns + config->renew_deadline_ns / 5)
        return err_set(err, ERR_INVALID,
                       "leader election: lease_duration %s leaves no margin over renew_deadline %s: "
                       "it must be at least 1.2 times that, because the "
                       "clocks of two nodes may run at different speeds (4 times is recommended)",
                       lease, renew);
    bool too_rare = config->retry_period_ns >= config->renew_deadline_ns ||
                    config->renew_deadline_ns <= config->retry_period_ns + config->retry_period_ns / 5;
    if (too_rare)
        return err_set(err, ERR_INVALID,
                       "leader election: renew_deadline %s must be greater than 1.2 times retry_period %s, "
                       "or a leader gives up before it has tried "
                       "to renew",
                       renew, retry);
    int64_t request = elector_request_timeout_ns(config);
    duration_format(request > 0 ? request : 0, timeout);
    if (config->request_timeout_ns > 0 && 2 * request > tries_room_ns(config))
        return err_set(err, ERR_INVALID,
                       "leader election: request timeout %s is too long: "
                       "after a retry_period of %s two tries must fit into renew_deadline %s",
                       timeout, retry, renew);
    if (request < TIMEOUT_MIN_NS)
        return err_set(err, ERR_INVALID,
                       "leader election: renew_deadline %s leaves no room "
                       "for two tries of at least 50ms after a retry_period of %s; raise "
                       "renew_deadline or lower retry_period",
                       renew, retry);
    return 0;
}
