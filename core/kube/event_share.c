/* A bucket of tokens for each namespace and one for all. A namespace without tokens takes none of all. */
#include "kube/event_share.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define REFILL_NS NS_PER_S
#define REFILL_ALL_NS (NS_PER_S / 4)

static void refill(struct event_bucket *b, int64_t burst, int64_t refill_ns, int64_t now_ns)
{
    int64_t refill = (now_ns - b->refilled_ns) / refill_ns;
    b->refilled_ns += refill * refill_ns;
    b->tokens = b->tokens + refill < burst ? b->tokens + refill : burst;
}

/* That of the namespace; or a full one, in place of the one that was used longest ago. */
static struct event_bucket *bucket_of(struct event_shares *s, const char *namespace, int64_t now_ns)
{
    size_t oldest = 0;
    char name[sizeof(s->namespaces[0].name)];
    snprintf(name, sizeof(name), "%s", namespace);
    for (size_t i = 0; i < EVENT_SHARE_NAMESPACES; i++) {
        if (strcmp(s->namespaces[i].name, name) == 0)
            return &s->namespaces[i].bucket;
        if (s->namespaces[i].bucket.refilled_ns < s->namespaces[oldest].bucket.refilled_ns)
            oldest = i;
    }
    memcpy(s->namespaces[oldest].name, name, sizeof(name));
    s->namespaces[oldest].bucket = (struct event_bucket){.tokens = EVENT_SHARE_BURST, .refilled_ns = now_ns};
    return &s->namespaces[oldest].bucket;
}

void event_shares_begin(struct event_shares *s, int64_t now_ns)
{
    *s = (struct event_shares){.all = {.tokens = EVENT_SHARE_BURST_ALL, .refilled_ns = now_ns}};
    for (size_t i = 0; i < EVENT_SHARE_NAMESPACES; i++)
        s->namespaces[i].bucket.refilled_ns = INT64_MIN; /* free places come first */
}

bool event_shares_take(struct event_shares *s, const char *namespace, int64_t now_ns)
{
    struct event_bucket *own = bucket_of(s, namespace, now_ns);
    refill(own, EVENT_SHARE_BURST, REFILL_NS, now_ns);
    refill(&s->all, EVENT_SHARE_BURST_ALL, REFILL_ALL_NS, now_ns);
    if (own->tokens == 0 || s->all.tokens == 0)
        return false;
    own->tokens--;
    s->all.tokens--;
    return true;
}
