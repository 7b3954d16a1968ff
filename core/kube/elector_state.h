/* elector_state.h — what an elector consists of, shared by the files of the elector only.
 * Thread:  any; an elector is used by one thread at a time.
 *
 *   elector.c         the other inputs, and what to send next
 *   elector_answer.c  answers to requests
 *   elector_tenure.c  what we wrote into the Lease, what of that is confirmed, gain and loss
 *   elector_view.c    what is known of the Lease, and when it may be taken
 *   elector_news.c    what the owner is told
 *
 * Each calls only those below it.
 */
#ifndef HAPTIC_KUBE_ELECTOR_STATE_H
#define HAPTIC_KUBE_ELECTOR_STATE_H

#include "kube/elector.h"

#define ELECTOR_NEVER INT64_MAX
#define ELECTOR_LONG_AGO INT64_MIN

enum view { VIEW_UNKNOWN, VIEW_ABSENT, VIEW_RECORD };

/* A write that names us: what it says and when it was begun. */
struct elector_write {
    int64_t renew_us, transitions;
    int64_t sent_ns;
};
#define ELECTOR_WRITES 8

struct elector {
    char identity[ELECTOR_NAME_SIZE];
    int64_t lease_ns, renew_ns, retry_ns, timeout_ns, margin_ns;
    uint64_t random;

    enum elector_role role;
    int64_t clock_ns; /* newest now_ns: time does not run backwards */

    /* The Lease as seen. */
    enum view view;
    bool observed; /* record holds something, whatever the view is now */
    struct elector_record record;
    int64_t observed_ns;                 /* when record's content last changed before our eyes */
    int64_t inherited_us;                /* acquireTime of a record that had our identity when we started; 0: none */
    char gone_holder[ELECTOR_NAME_SIZE]; /* whose process has ended, and the acquireTime of its tenure; "": nobody */
    int64_t gone_us;
    int64_t highest;
    char reported[ELECTOR_NAME_SIZE]; /* holder of the last ELECTOR_NEW_LEADER */

    /* Our tenure or the attempt at one. */
    int64_t nonce_us;                           /* acquireTime of it; 0: never tried */
    bool is_uncertain;                          /* an acquisition was sent and its outcome is not known */
    char attempt_version[ELECTOR_VERSION_SIZE]; /* what guarded it */
    int64_t transitions;
    int64_t confirmed_ns; /* begin of the last request that succeeded */
    int64_t raise_above;  /* the fence must become higher than this; -1: it is high enough */
    struct elector_write writes[ELECTOR_WRITES];
    size_t write_count; /* ever; the last ELECTOR_WRITES of them are in writes */
    unsigned renewals;  /* of another's tenure that were seen */
    unsigned unproven;  /* writes of ours in a row that were seen in the Lease without confirming a tenure in time */

    /* The request under way; id 0: none. */
    uint64_t request, last_request;
    enum elector_verb verb;
    enum elector_purpose purpose;
    int64_t sent_ns;

    /* When to do what. */
    int64_t look_ns;       /* following: next GET */
    int64_t renew_at_ns;   /* leading: next renewal */
    int64_t not_before_ns; /* no request earlier than this: back-off */
    int64_t release_end_ns;
    unsigned failures;                /* in a row */
    bool has_write_failed;            /* one of them was a write */
    enum elector_status last_failure; /* since the last success; OK: none */
};

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Both are far from the borders, but retry_after comes from a server. */
static inline int64_t add_ns(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? ELECTOR_NEVER : sum;
}

/* elector_news.c */
struct elector_news *elector_add_news(struct elector_output *out, enum elector_news_kind kind);
void elector_copy_name(char *into, size_t size, const char *from);

/* elector_view.c */
void view_observe(struct elector *e, const struct elector_record *r, int64_t now_ns, struct elector_output *out);
void view_see_transitions(struct elector *e, int64_t transitions);
/* Written by this process in its tenure, or the attempt at one. */
bool view_is_ours(const struct elector *e, const struct elector_record *r);
int64_t view_expires_ns(const struct elector *e);
/* When the record in view may be written over by us as a follower. */
int64_t view_claimable_ns(const struct elector *e);

/* elector_tenure.c */
int64_t tenure_write_end_ns(const struct elector *e);
/* No write towards a receiver begins after this. */
int64_t tenure_last_write_ns(const struct elector *e);
/* A renewTime that none of the writes of ours that may still happen has. */
int64_t tenure_stamp_us(const struct elector *e, int64_t wall_us);
/* This record, which names us, is being sent. */
void tenure_add_write(struct elector *e, const struct elector_record *r);
/* A write of ours that was begun at sent_ns has happened, e->record is the proof: we hold the Lease. */
void tenure_confirm(struct elector *e, int64_t sent_ns, int64_t now_ns, struct elector_output *out);
/* Is the record in view the proof for a write that is young enough to lead by it? Then it is confirmed. */
bool tenure_prove(struct elector *e, int64_t now_ns, struct elector_output *out);
void tenure_lose(struct elector *e, enum elector_reason reason, int64_t now_ns, struct elector_output *out);

/* elector_answer.c: to the request under way. */
void answer_take(struct elector *e, const struct elector_input *in, struct elector_output *out);

#endif
