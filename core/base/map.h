/* map.h — a hash table from byte strings to pointers.
 * Owns:    copies of its keys (or nothing: MAP_KEYS_BORROWED); never the values.
 * Units:   lengths in bytes.
 *
 * Open addressing, power-of-two size, seeded per process (an attacker who chooses names cannot choose collisions), so
 * the iteration order differs between processes: whoever prints or hashes what a map holds sorts first.
 */
#ifndef HAPTIC_BASE_MAP_H
#define HAPTIC_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    const char *key; /* NULL: never used; map_tombstone: deleted */
    size_t key_length;
    uint64_t hash;
    void *value;
};

struct map {
    struct map_slot *slots;
    size_t count;    /* live entries */
    size_t used;     /* live entries and tombstones */
    size_t capacity; /* 0 or a power of two */
    bool keys_borrowed;
};

/* A zeroed struct is an empty map that copies its keys. With keys_borrowed the key must live as long as its entry. */
void map_init(struct map *m, bool keys_borrowed);
void map_done(struct map *m); /* NULL is fine; the values are the caller's */

void *map_get(const struct map *m, const char *key); /* NULL when absent */
void *map_getn(const struct map *m, const char *key, size_t length);
/* The entry itself, or NULL. Its place in slots stays the same until something is added. */
const struct map_slot *map_slot(const struct map *m, const char *key, size_t length);
/* Set and return the value that was there before, or NULL. */
void *map_put(struct map *m, const char *key, void *value);
void *map_putn(struct map *m, const char *key, size_t length, void *value);
/* Remove and return the value, or NULL when absent. */
void *map_del(struct map *m, const char *key);
void *map_deln(struct map *m, const char *key, size_t length);
void map_clear(struct map *m);

/* Walk:  for (size_t it = 0; (slot = map_next(&m, &it)); )
 * Removing the current entry while walking is fine; adding is not. */
struct map_slot *map_next(const struct map *m, size_t *it);

/* The table's hash (SipHash-1-3, keyed per process), for other tables of the same kind. */
uint64_t map_hash(const void *bytes, size_t length);

#endif
