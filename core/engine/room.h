/* room.h — how much output each namespace holds, and whether it may hold more.
 * Thread:  one.
 * Owns:    its table.
 * Units:   bytes of fragments as they are sent.
 *
 * All output together has a maximum. A namespace may grow as long as it holds no more than what stays free for others:
 * one alone gets a half, two a third each, and whoever comes later still finds as much free as any of those has. A
 * small share is everybody's as long as there is any room. Nobody is told to give up what he has. What belongs to no
 * namespace is the administrator's and may take all that is free.
 */
#ifndef HAPTIC_ENGINE_ROOM_H
#define HAPTIC_ENGINE_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "engine/frame.h"

struct room {
    struct map by_namespace; /* → bytes, as a number in the pointer */
    size_t total_bytes, max_bytes;
    uint64_t released; /* grows whenever something shrinks */
};

void room_init(struct room *room, size_t max_bytes);
void room_done(struct room *room);
/* "shop/web" → "shop"; nothing for names without a slash. */
struct field room_namespace(struct field owner_id);
/* May it hold so many bytes more? */
bool room_fits(const struct room *room, struct field namespace_name, size_t more_bytes);
/* A fragment has now so many bytes, and had so many before. */
void room_change(struct room *room, struct field namespace_name, size_t before_bytes, size_t now_bytes);
size_t room_held(const struct room *room, struct field namespace_name);

#endif
