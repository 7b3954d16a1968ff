/* Linear probing over a power-of-two table; deleted slots are tombstones that a rehash sweeps out. The hash is
 * SipHash-1-3 with a key drawn once per process, since names come from tenants. */
#include "base/map.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"

static const char tombstone[1];

/* Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF". */
#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIP_ROUND \
    do { \
        v0 += v1, v1 = ROTL(v1, 13), v1 ^= v0, v0 = ROTL(v0, 32); \
        v2 += v3, v3 = ROTL(v3, 16), v3 ^= v2; \
        v0 += v3, v3 = ROTL(v3, 21), v3 ^= v0; \
        v2 += v1, v1 = ROTL(v1, 17), v1 ^= v2, v2 = ROTL(v2, 32); \
    } while (0)

static const uint64_t *process_key(void)
{
    static uint64_t key[2];

    if (key[0] == 0 && key[1] == 0) {
        if (getrandom(key, sizeof(key), GRND_NONBLOCK) != (ssize_t)sizeof(key))
            key[0] = (uint64_t)(uintptr_t)&key;
        key[1] |= 1;
    }
    return key;
}

uint64_t map_hash(const void *bytes, size_t length)
{
    const uint64_t *key = process_key();
    const unsigned char *p = bytes;
    uint64_t v0 = key[0] ^ UINT64_C(0x736f6d6570736575), v1 = key[1] ^ UINT64_C(0x646f72616e646f6d);
    uint64_t v2 = key[0] ^ UINT64_C(0x6c7967656e657261), v3 = key[1] ^ UINT64_C(0x7465646279746573);
    size_t left = length;

    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        v3 ^= word;
        SIP_ROUND;
        v0 ^= word;
    }
    uint64_t last = (uint64_t)length << 56;
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v3 ^= last;
    SIP_ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

void map_init(struct map *m, bool keys_borrowed)
{
    *m = (struct map){.keys_borrowed = keys_borrowed};
}

static void free_key(const struct map *m, struct map_slot *slot)
{
    if (!m->keys_borrowed && slot->key != NULL && slot->key != tombstone)
        free((char *)(uintptr_t)slot->key);
}

void map_done(struct map *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->capacity; i++)
        free_key(m, &m->slots[i]);
    free(m->slots);
    *m = (struct map){.keys_borrowed = m->keys_borrowed};
}

void map_clear(struct map *m)
{
    map_done(m);
}

/* The slot that holds key, or NULL. */
static struct map_slot *find(const struct map *m, const char *key, size_t length, uint64_t hash)
{
    if (m->count == 0)
        return NULL;
    for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
        struct map_slot *slot = &m->slots[i];
        if (slot->key == NULL)
            return NULL;
        if (slot->hash == hash && slot->key != tombstone && slot->key_length == length &&
            memcmp(slot->key, key, length) == 0)
            return slot;
    }
}

static void rehash(struct map *m)
{
    size_t capacity = 16;

    while (capacity * 3 < (m->count + 1) * 6)
        capacity *= 2;
    struct map_slot *slots = xcalloc(capacity, sizeof(*slots));
    for (size_t i = 0; i < m->capacity; i++) {
        struct map_slot *old = &m->slots[i];
        if (old->key == NULL || old->key == tombstone)
            continue;
        size_t at = old->hash & (capacity - 1);
        while (slots[at].key != NULL)
            at = (at + 1) & (capacity - 1);
        slots[at] = *old;
    }
    free(m->slots);
    m->slots = slots;
    m->capacity = capacity;
    m->used = m->count;
}

const struct map_slot *map_slot(const struct map *m, const char *key, size_t length)
{
    return find(m, key, length, map_hash(key, length));
}

void *map_getn(const struct map *m, const char *key, size_t length)
{
    struct map_slot *slot = find(m, key, length, map_hash(key, length));

    return slot ? slot->value : NULL;
}

void *map_get(const struct map *m, const char *key)
{
    return map_getn(m, key, strlen(key));
}

void *map_putn(struct map *m, const char *key, size_t length, void *value)
{
    uint64_t hash = map_hash(key, length);
    struct map_slot *slot = find(m, key, length, hash);

    assert(value != NULL);
    if (slot != NULL) {
        void *before = slot->value;
        slot->value = value;
        if (m->keys_borrowed)
            slot->key = key; /* the old key may go away with the old value */
        return before;
    }
    if ((m->used + 1) * 4 > m->capacity * 3)
        rehash(m);
    size_t at = hash & (m->capacity - 1);
    while (m->slots[at].key != NULL)
        at = (at + 1) & (m->capacity - 1);
    m->slots[at] = (struct map_slot){
        .key = m->keys_borrowed ? key : xmemdup0(key, length), .key_length = length, .hash = hash, .value = value};
    m->count++;
    m->used++;
    return NULL;
}

void *map_put(struct map *m, const char *key, void *value)
{
    return map_putn(m, key, strlen(key), value);
}

void *map_deln(struct map *m, const char *key, size_t length)
{
    struct map_slot *slot = find(m, key, length, map_hash(key, length));

    if (slot == NULL)
        return NULL;
    void *before = slot->value;
    free_key(m, slot);
    slot->key = tombstone;
    slot->value = NULL;
    m->count--;
    return before;
}

void *map_del(struct map *m, const char *key)
{
    return map_deln(m, key, strlen(key));
}

struct map_slot *map_next(const struct map *m, size_t *it)
{
    while (*it < m->capacity) {
        struct map_slot *slot = &m->slots[(*it)++];
        if (slot->key != NULL && slot->key != tombstone)
            return slot;
    }
    return NULL;
}
