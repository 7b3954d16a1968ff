/* The rule is that of dynamic thresholds for buffers that several queues share: a threshold that sinks as the buffer
 * fills, so that no list of who wants how much is needed. */
#include "engine/room.h"

#include <string.h>

/* Everybody's, as long as there is any: the maximum divided by this. */
#define SMALL_SHARE 1024

void room_init(struct room *room, size_t max_bytes)
{
    *room = (struct room){.max_bytes = max_bytes};
    map_init(&room->by_namespace, false);
}

void room_done(struct room *room)
{
    map_done(&room->by_namespace);
}

struct field room_namespace(struct field owner_id)
{
    const char *slash = owner_id.length ? memchr(owner_id.bytes, '/', owner_id.length) : NULL;

    return (struct field){.bytes = owner_id.bytes, .length = slash ? (size_t)(slash - owner_id.bytes) : 0};
}

size_t room_held(const struct room *room, struct field namespace_name)
{
    return (size_t)(uintptr_t)map_getn(&room->by_namespace, namespace_name.bytes, namespace_name.length);
}

bool room_fits(const struct room *room, struct field namespace_name, size_t more_bytes)
{
    size_t held = room_held(room, namespace_name);

    if (room->total_bytes > room->max_bytes || more_bytes > room->max_bytes - room->total_bytes)
        return false;
    size_t free_bytes = room->max_bytes - room->total_bytes - more_bytes;
    return namespace_name.length == 0 || held + more_bytes <= free_bytes ||
           held + more_bytes <= room->max_bytes / SMALL_SHARE;
}

void room_change(struct room *room, struct field namespace_name, size_t before_bytes, size_t now_bytes)
{
    size_t held = room_held(room, namespace_name);

    /* What a fragment had before is what was counted; the engine that says so may still be wrong. */
    if (before_bytes > held)
        before_bytes = held;
    held = held - before_bytes + now_bytes;
    room->total_bytes = room->total_bytes - before_bytes + now_bytes;
    if (now_bytes < before_bytes)
        room->released++;
    if (held)
        map_putn(&room->by_namespace, namespace_name.bytes, namespace_name.length, (void *)(uintptr_t)held);
    else
        map_deln(&room->by_namespace, namespace_name.bytes, namespace_name.length);
}
