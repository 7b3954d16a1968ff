/* event_share.h — how many Events may be sent: of one namespace a burst of 25, then one a second; of all namespaces a
 * burst of 100, then four a second. So the objects of one namespace cannot use up what owners in others are told by.
 * Thread:  one at a time.
 *
 * The 64 namespaces that sent last are remembered. One that is forgotten begins with a new burst.
 */
#ifndef HAPTIC_KUBE_EVENT_SHARE_H
#define HAPTIC_KUBE_EVENT_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#define EVENT_SHARE_BURST 25
#define EVENT_SHARE_BURST_ALL 100
#define EVENT_SHARE_NAMESPACES 64

struct event_bucket {
    int64_t tokens, refilled_ns;
};

struct event_shares {
    struct event_bucket all;
    struct {
        char name[64];
        struct event_bucket bucket;
    } namespaces[EVENT_SHARE_NAMESPACES];
};

/* At the start all buckets are full. */
void event_shares_begin(struct event_shares *s, int64_t now_ns);
/* May an Event of the namespace be sent now? True counts it. namespace: at most 63 bytes count. */
bool event_shares_take(struct event_shares *s, const char *namespace, int64_t now_ns);

#endif
