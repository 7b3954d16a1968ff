/* After each step, the certificates that earlier steps issued stay valid. */
#include "controller/fleet_keys.h"

#include <string.h>

#include "net/authority.h"

#define CONTROLLER_NAME "haptic-controller"
#define BEFORE_S ((int64_t)3600) /* certificates are valid from an hour before they were made */

const char *fleet_key_name(enum fleet_key key)
{
    static const char *const names[KEY_COUNT] = {"ca.crt",         "ca.key",         "agent.crt",   "agent.key",
                                                 "controller.crt", "controller.key", "next-ca.crt", "next-ca.key"};
    return names[key];
}

void fleet_keys_done(struct fleet_keys *k)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (k->values[i].data)
            explicit_bzero(k->values[i].data, k->values[i].capacity);
        buf_done(&k->values[i]);
    }
}

static const char *text(const struct fleet_keys *k, enum fleet_key key)
{
    return buf_str(&k->values[key]);
}

static void copy(const struct fleet_keys *from, enum fleet_key key, struct fleet_keys *to, enum fleet_key as)
{
    buf_clear(&to->values[as]);
    buf_add(&to->values[as], text(from, key), from->values[key].length);
}

/* Adds the authorities of a row that are valid and not yet in out. */
static void add_valid(struct buf *out, const char *row, int64_t now_s)
{
    size_t length;
    for (; (length = authority_first(row)) > 0; row += length) {
        CLEANUP(buf_done) struct buf one = {0};
        buf_add(&one, row, length);
        if (authority_is_valid(one.data, now_s) && !strstr(buf_str(out), one.data))
            buf_add(out, one.data, one.length);
    }
}

static int issue(struct fleet_keys *k, const char *agent_name, int64_t now_s, struct err *err)
{
    static const enum fleet_key issued[] = {AGENT_CRT, AGENT_KEY, CONTROLLER_CRT, CONTROLLER_KEY};
    for (size_t i = 0; i < ARRAY_LEN(issued); i++)
        buf_clear(&k->values[issued[i]]);
    if (authority_issue(text(k, CA_CRT), text(k, CA_KEY), AUTHORITY_AGENT, agent_name, now_s, AUTHORITY_ISSUED_LIFE_S,
                        &k->values[AGENT_CRT], &k->values[AGENT_KEY], err) < 0)
        return -1;
    return authority_issue(text(k, CA_CRT), text(k, CA_KEY), AUTHORITY_CONTROLLER, CONTROLLER_NAME, now_s,
                           AUTHORITY_ISSUED_LIFE_S, &k->values[CONTROLLER_CRT], &k->values[CONTROLLER_KEY], err);
}

/* From now on another authority signs. Former ones are trusted as long as they are valid. */
static int change_authority(const struct fleet_keys *now, const char *agent_name, int64_t now_s, struct fleet_keys *k,
                            struct err *err)
{
    add_valid(&k->values[CA_CRT], text(now, CA_CRT), now_s);
    return issue(k, agent_name, now_s, err);
}

static bool issued_are_good(const struct fleet_keys *k, const char *agent_name, int64_t now_s, const char **ret_why)
{
    return authority_is_good(text(k, CA_CRT), text(k, AGENT_CRT), text(k, AGENT_KEY), agent_name, now_s, ret_why) &&
           authority_is_good(text(k, CA_CRT), text(k, CONTROLLER_CRT), text(k, CONTROLLER_KEY), CONTROLLER_NAME, now_s,
                             ret_why);
}

/* True when there are trusted authorities other than the present and the next one. */
static bool has_former(const struct fleet_keys *k)
{
    const char *row = text(k, CA_CRT);
    size_t count = 0, length;
    for (; (length = authority_first(row)) > 0; row += length)
        count++;
    return count > 1 + (k->values[NEXT_CRT].length > 0);
}

static bool has_lasted(const char *certificate, int64_t now_s)
{
    return now_s >= authority_begin_s(certificate) + BEFORE_S + FLEET_KEYS_OVERLAP_S;
}

int fleet_keys_next(const struct fleet_keys *now, const char *agent_name, int64_t now_s, struct fleet_keys *ret_keys,
                    const char **ret_why, struct err *err)
{
    struct fleet_keys *k = ret_keys;
    bool announced = authority_is_usable(text(now, NEXT_CRT), text(now, NEXT_KEY), now_s);
    if (announced &&
        (has_lasted(text(now, NEXT_CRT), now_s) || !authority_is_usable(text(now, CA_CRT), text(now, CA_KEY), now_s))) {
        *ret_why = "the announced authority takes over";
        copy(now, NEXT_CRT, k, CA_CRT);
        copy(now, NEXT_KEY, k, CA_KEY);
        return change_authority(now, agent_name, now_s, k, err) < 0 ? -1 : 1;
    }
    if (!authority_is_usable(text(now, CA_CRT), text(now, CA_KEY), now_s)) {
        *ret_why = now->values[CA_CRT].length ? "the authority cannot be used" : "there is none yet";
        if (authority_make(now_s, &k->values[CA_CRT], &k->values[CA_KEY], err) < 0)
            return -1;
        return change_authority(now, agent_name, now_s, k, err) < 0 ? -1 : 1;
    }
    for (enum fleet_key i = 0; i < KEY_COUNT; i++)
        copy(now, i, k, i);
    if (!announced && authority_is_old(text(now, CA_CRT), now_s)) {
        *ret_why = "two thirds of the authority's time have passed; another one is announced";
        buf_clear(&k->values[NEXT_CRT]);
        buf_clear(&k->values[NEXT_KEY]);
        if (authority_make(now_s, &k->values[NEXT_CRT], &k->values[NEXT_KEY], err) < 0)
            return -1;
        add_valid(&k->values[CA_CRT], text(k, NEXT_CRT), now_s);
        return 1;
    }
    if (!issued_are_good(now, agent_name, now_s, ret_why))
        return issue(k, agent_name, now_s, err) < 0 ? -1 : 1;
    if (has_former(now) && has_lasted(text(now, AGENT_CRT), now_s)) {
        *ret_why = "nobody needs the former authority any more";
        k->values[CA_CRT].length = authority_first(text(now, CA_CRT));
        k->values[CA_CRT].data[k->values[CA_CRT].length] = '\0';
        add_valid(&k->values[CA_CRT], text(k, NEXT_CRT), now_s);
        return 1;
    }
    fleet_keys_done(k);
    return 0;
}
