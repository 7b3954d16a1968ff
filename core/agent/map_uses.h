/* map_uses.h — what texts of haproxy.cfg do with maps: how keys are found, what values have to look like, and whether
 * values choose backends.
 * Thread:  any.
 *
 * HAProxy cannot refuse an entry of a map whose keys and values are texts to all who read it. Whether a value may be
 * the name of a backend is followed through variables: those that a line sets have something of all maps and variables
 * that the line names. (Through headers and Lua it is not followed.)
 */
#ifndef HAPTIC_AGENT_MAP_USES_H
#define HAPTIC_AGENT_MAP_USES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"
#include "base/vec.h"

/* One place that names maps/NAME. */
struct map_use {
    const char *name; /* in the text */
    size_t name_length;
    bool any_key;  /* a look-up for which any text is a key */
    bool by_key;   /* it finds keys that are there by themselves */
    bool integers; /* values have to be integers, */
    bool addresses;
};
/* The next one at or behind *at; false at the end. */
bool map_use_next(const char **at, const char *end, struct map_use *ret_use);

/* Which maps lead to backends. Zeroed: nothing was seen. */
struct map_flow {
    struct map steps; /* the names of a line → struct map_step */
};
void map_flow_see(struct map_flow *flow, const char *text, size_t length);
/* Each map with values that may reach the choice of a backend or a server. May name one more than once. */
void map_flow_each(struct map_flow *flow, void (*fn)(void *ctx, const char *map_name), void *ctx);
void map_flow_done(struct map_flow *flow);

#endif
