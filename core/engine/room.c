/* The rule of dynamic thresholds for buffers that several queues share: the threshold falls as the buffer fills. So no
 * list of the demands is needed. */
#include "engine/room.h"

#include <string.h>

/* Any namespace may use this part, as long as there is room: the maximum divided by this number. */
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

    /* The former size of a fragment should be the size that was counted, but the engine may report a wrong one. */
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
