/* elector.h — who leads: a state machine over one Lease, without I/O and without a clock.
 * Thread:  any; an elector is used by one thread at a time.
 * Owns:    a copy of its configuration.
 * Units:   *_ns local monotonic nanoseconds (suspend counts), *_us Unix microseconds (only written into the Lease,
 *          never judged), duration_s whole seconds as in the Lease.
 * Errors:  elector_config_check() says what is wrong with timings; the machine itself has no errors, only news.
 * Source:  coordination.k8s.io/v1 Lease as client-go's leader election uses it; where this differs it says so.
 *
 * elector_step() takes one thing that happened and returns at most one request to send, the moment of the next wake-up
 * and the news. One request is under way at any time; what answers an older one is ignored.
 *
 * Safety. A candidate waits for a whole lease duration on its own clock after it *received* a changed record. A leader
 * counts from the moment *before* it sent the last request that succeeded, and stops renew_deadline after that,
 * whatever happened to later requests. So two never lead at once while no clock runs faster than another by more than
 * lease_duration / renew_deadline, answers may be as slow as they like. A process that is stopped between its check
 * and its write is outside every clock; for that there is the fence.
 *
 * Lost answers. A Lease that shows exactly what one of our requests wrote confirms that request, from when it was sent,
 * as an answer would: a leader whose answers are lost goes on by looking. A candidate that learns too late, twice in a
 * row, that its writes happened would only keep the others out: it waits until its record has expired and longer than
 * the others need to take it, longer each time.
 *
 * A holder that has ended. Who is told so by the platform need not wait: the record counts as released, for this tenure
 * only. Should it be wrong, two may believe that they lead until the old one sees the Lease, and the fence keeps the
 * order of their writes, since the new one's transitions are higher.
 *
 * Fence. leaseTransitions grows with every change of holder, also when the holder came back as a new process, and is
 * sent with every write. Where a Lease is deleted it starts above all this candidate has seen; a receiver that has
 * seen more says so (ELECTOR_REFUSED) and the leader raises it, by an update that succeeds only while it still holds
 * the Lease.
 */
#ifndef HAPTIC_KUBE_ELECTOR_H
#define HAPTIC_KUBE_ELECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ELECTOR_NAME_SIZE 254   /* identity, lease name, namespace; longer ones are cut */
#define ELECTOR_VERSION_SIZE 64 /* opaque */

/* More than this in a Lease is taken for damage: not followed, and overwritten by the next leader. A receiver that
 * claims this or more is not believed: a Lease raised above it would leave no room for a successor. */
#define ELECTOR_TRANSITIONS_SANE (INT64_C(1) << 30)
#define ELECTOR_TRANSITIONS_MAX INT64_C(2147483647) /* the field is an int32 */

struct elector_config {
    bool enabled; /* false: there is no Lease and no elector; the owner leads alone */
    const char *lease_name;
    const char *namespace;
    const char *identity;
    int64_t lease_duration_ns; /* written rounded up to seconds */
    int64_t renew_deadline_ns;
    int64_t retry_period_ns;
    int64_t request_timeout_ns; /* 0: as long as lets two tries fit after a missed renewal */
    uint64_t seed;              /* of the jitter */
};

/* Defaults of the guide: enabled, haptic-leader, 60 s, 15 s, 5 s; identity and namespace NULL. */
void elector_config_defaults(struct elector_config *ret_config);
/* Refuses, with the reason, names that cannot be and timings that leave no margin (ERR_INVALID). */
int elector_config_check(const struct elector_config *config, struct err *err) MUST_CHECK;
/* The timeout that is used: the configured one or the computed one. */
int64_t elector_request_timeout_ns(const struct elector_config *config);
/* A leader begins no write in this last part of its renew deadline. */
int64_t elector_write_margin_ns(const struct elector_config *config);

/* What a Lease says. */
struct elector_record {
    char holder[ELECTOR_NAME_SIZE]; /* "": nobody */
    int64_t duration_s;
    int64_t transitions;
    int64_t acquire_us, renew_us;       /* 0: absent */
    char version[ELECTOR_VERSION_SIZE]; /* resourceVersion */
};

enum elector_verb { ELECTOR_GET, ELECTOR_CREATE, ELECTOR_UPDATE };
enum elector_purpose { ELECTOR_LOOK, ELECTOR_ACQUIRE, ELECTOR_RENEW, ELECTOR_RELEASE };

struct elector_request {
    uint64_t id; /* never 0 */
    enum elector_verb verb;
    enum elector_purpose purpose;
    struct elector_record
        record; /* CREATE, UPDATE: what to write; an update only if version is still the object's, and it exists */
    int64_t timeout_ns;
};

enum elector_status {
    ELECTOR_OK,          /* GET, CREATE, UPDATE: record is the object as stored */
    ELECTOR_NOTFOUND,    /* 404 */
    ELECTOR_CONFLICT,    /* 409: the object changed, or exists already */
    ELECTOR_DENIED,      /* 401, 403 */
    ELECTOR_THROTTLED,   /* 429 */
    ELECTOR_INVALID,     /* another 4xx, or an object that cannot be read */
    ELECTOR_TIMEOUT,     /* no answer in time: a write may or may not have happened, now or later */
    ELECTOR_UNREACHABLE, /* no connection, or it broke */
    ELECTOR_SERVER,      /* 5xx */
};
/* "timeout", "unreachable", …: a label value. */
const char *elector_status_name(enum elector_status status);

enum elector_input_kind {
    ELECTOR_START,
    ELECTOR_WAKE,    /* the wake-up asked for; harmless at any other time */
    ELECTOR_ANSWER,  /* to a request */
    ELECTOR_WATCHED, /* the watch showed record, or a deletion when it is NULL; may be old, doubled or out of order */
    ELECTOR_GONE,    /* the process that wrote record (holder and acquire_us name it) has ended, as far as is known */
    ELECTOR_REFUSED, /* a receiver refused a write as stale; transitions is the highest it has seen */
    ELECTOR_STOP,    /* lead no more; with release the Lease is given back first. The last writes must have ended. */
};

struct elector_input {
    enum elector_input_kind kind;
    int64_t now_ns;
    int64_t wall_us;
    /* ELECTOR_ANSWER */
    uint64_t request;
    enum elector_status status;
    int64_t retry_after_ns;              /* what the server asked for; 0: nothing */
    const struct elector_record *record; /* also WATCHED, GONE; NULL: none */
    int64_t transitions;                 /* REFUSED */
    bool release;                        /* STOP */
};

enum elector_news_kind {
    ELECTOR_BECAME,     /* leads now: compare everything from scratch */
    ELECTOR_LOST,       /* leads no more; reason */
    ELECTOR_RENEWED,    /* duration_ns from sending to the answer */
    ELECTOR_FAILED,     /* a request failed: status, purpose */
    ELECTOR_NEW_LEADER, /* another holder was seen: holder */
    ELECTOR_RAISED,     /* leads with a higher fence than before */
    ELECTOR_EXHAUSTED,  /* a receiver claims a fence that no Lease can have (ELECTOR_TRANSITIONS_SANE): not believed */
    ELECTOR_STOPPED,    /* the end; released says whether the Lease was given back */
};

enum elector_reason {
    /* could not renew before the renew deadline; status is the last failure (OK: the process was held up) */
    ELECTOR_REASON_DEADLINE,
    ELECTOR_REASON_TAKEN,   /* another holds the Lease: holder */
    ELECTOR_REASON_EMPTIED, /* somebody emptied the Lease */
    ELECTOR_REASON_DELETED, /* the Lease is gone */
    ELECTOR_REASON_STOPPED,
};

struct elector_news {
    enum elector_news_kind kind;
    enum elector_reason reason;
    enum elector_status status;
    enum elector_purpose purpose;
    bool released;
    int64_t duration_ns;
    int64_t transitions;
    char holder[ELECTOR_NAME_SIZE];
};

#define ELECTOR_NEWS_MAX 6

struct elector_output {
    uint64_t cancel; /* request to give up; 0: none */
    bool send;
    struct elector_request request; /* with send */
    int64_t wake_ns;                /* INT64_MAX: never */
    size_t news_count;
    struct elector_news news[ELECTOR_NEWS_MAX];
};

struct elector;
struct elector *elector_new(const struct elector_config *config); /* checked before */
struct elector *elector_free(struct elector *e);                  /* NULL is fine; always returns NULL */

void elector_step(struct elector *e, const struct elector_input *in, struct elector_output *ret_out);

/* May a write begin now? Asked before each write; true only while leading, with time left, and with no higher fence
 * being fetched. */
bool elector_may_write(const struct elector *e, int64_t now_ns);

enum elector_role { ELECTOR_IDLE, ELECTOR_FOLLOWING, ELECTOR_LEADING, ELECTOR_RELEASING, ELECTOR_ENDED };
const char *elector_role_name(enum elector_role role);

struct elector_state {
    enum elector_role role;
    char holder[ELECTOR_NAME_SIZE]; /* as last seen */
    int64_t transitions;            /* leading: the fence; else as last seen */
    int64_t highest_transitions;    /* ever seen here or by a receiver */
    int64_t nonce_us;     /* acquireTime of our last attempt: with the identity it names this process' tenure */
    int64_t confirmed_ns; /* when the last request that succeeded as leader was begun; INT64_MIN: never */
    int64_t write_end_ns; /* leading: every write must have ended by then */
    int64_t expires_ns;   /* following: when the seen record may be taken over; INT64_MAX: no record */
    unsigned failures;    /* in a row */
    unsigned unproven;    /* writes in a row that happened, and were known to have too late; from 2 on we hold back */
};
void elector_get_state(const struct elector *e, struct elector_state *ret_state);

#endif
