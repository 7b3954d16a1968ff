/* Reading passes over the frames twice. The first pass finds the last commit mark and looks at lengths and types only.
 * The second pass loads the frames up to this mark, and compares the digests at each mark. Parts are read by the same
 * function as the renderer's output, with the same limits and rules for items.
 */
#include "haproxy/bundle_seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "engine/frame.h"
#include "engine/intake.h"

#define MAGIC "haptic bundle"
#define NAME_MAX_BYTES 1024
#define ID_MAX_BYTES 2048 /* of a fragment, as the renderer's */

/* ---- writing ---- */

void seal_head(struct buf *out, const char *haproxy)
{
    size_t mark = frame_begin(out, FRAME_SEAL_HEAD);
    frame_add_string(out, MAGIC);
    frame_add_number(out, BUNDLE_VERSION);
    frame_add(out, haproxy, strnlen(haproxy, BUNDLE_HAPROXY_SIZE - 1));
    frame_end(out, mark);
}

void seal_value(struct buf *out, const char *digits, const char *secret, const char *key, const char *bytes,
                size_t length)
{
    size_t mark = frame_begin(out, FRAME_SEAL_VALUE);
    frame_add_string(out, digits);
    frame_add_string(out, secret);
    frame_add_string(out, key);
    frame_add(out, bytes, length);
    frame_end(out, mark);
}

void seal_part(struct buf *out, const struct fragment *part)
{
    size_t mark = frame_begin(out, FRAME_FRAGMENT);
    frame_add_string(out, part->id);
    frame_add_string(out, part->template_name);
    frame_add_string(out, part->owner_kind);
    frame_add_string(out, part->owner_id);
    frame_add_number(out, part->owner_created_s);
    for (size_t i = 0; i < part->count; i++) {
        const struct contribution *c = &part->items[i];
        if (!bundle_is_item(c))
            continue;
        frame_add_number(out, c->kind);
        frame_add_number(out, c->rank);
        frame_add_number(out, c->order);
        frame_add_string(out, c->scope);
        frame_add_string(out, c->key);
        frame_add(out, c->text->bytes, c->text->length);
    }
    frame_end(out, mark);
}

void seal_gone(struct buf *out, const char *fragment_id)
{
    size_t mark = frame_begin(out, FRAME_GONE);
    frame_add_string(out, fragment_id);
    frame_end(out, mark);
}

void seal_mark(struct buf *out, const struct bundle_stamp *stamp, size_t parts, struct digest digest,
               struct digest values)
{
    char hex[DIGEST_HEX_SIZE];
    size_t mark = frame_begin(out, FRAME_SEAL_MARK);
    frame_add_number(out, stamp->transitions);
    frame_add_number(out, (int64_t)(stamp->generation & INT64_MAX));
    frame_add_number(out, (int64_t)parts);
    frame_add_string(out, digest_hex(digest, hex));
    frame_add_string(out, digest_hex(values, hex));
    frame_end(out, mark);
}

static int compare_keys(const void *a, const void *b)
{
    const struct map_slot *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

/* The slots of a table, sorted by key. The caller frees the array. */
static const struct map_slot **slots_sorted(const struct map *m)
{
    const struct map_slot *slot;
    size_t count = 0;
    const struct map_slot **slots = xreallocarray(NULL, m->count + 1, sizeof(const struct map_slot *));
    for (size_t it = 0; (slot = map_next(m, &it));)
        slots[count++] = slot;
    qsort(slots, count, sizeof(*slots), compare_keys);
    return slots;
}

void bundle_seal(const struct bundle *b, struct buf *out)
{
    const struct map_slot **values = slots_sorted(&b->values), **parts = slots_sorted(&b->parts);
    seal_head(out, b->haproxy);
    for (size_t i = 0; i < b->values.count; i++) {
        const struct bundle_value *v = values[i]->value;
        seal_value(out, v->digits, v->secret, v->key, v->bytes, v->length);
    }
    for (size_t i = 0; i < b->parts.count; i++)
        seal_part(out, parts[i]->value);
    seal_mark(out, &b->stamp, b->parts.count, b->digest, b->values_digest);
    free(values);
    free(parts);
}

/* ---- reading ---- */

static bool is_frame_type(char type)
{
    return type == (char)FRAME_SEAL_HEAD || type == (char)FRAME_SEAL_VALUE || type == (char)FRAME_FRAGMENT ||
           type == (char)FRAME_GONE || type == (char)FRAME_SEAL_MARK;
}

static bool is_zero(const char *bytes, size_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* The end of the last commit mark; 0 when there is none. */
static int find_end(const char *bytes, size_t length, size_t *ret_end, struct err *err)
{
    *ret_end = 0;
    for (size_t at = 0; at < length;) {
        struct frame frame;
        size_t size = 0;
        /* Zeros at the end: space that was allocated and not written before a loss of power. */
        if (is_zero(bytes + at, length - at))
            return 0;
        int result = frame_read(bytes + at, length - at, BUNDLE_FRAME_MAX, &frame, &size, err);
        if (result == 0)
            return 0; /* incomplete */
        if (result < 0)
            return err_wrap(err, "at byte %zu", at);
        if (!is_frame_type(frame.type))
            return err_set(err, ERR_INVALID, "at byte %zu: a frame of unknown type %d", at, frame.type);
        at += size;
        if (frame.type == (char)FRAME_SEAL_MARK)
            *ret_end = at;
    }
    return 0;
}

struct reading {
    struct bundle *bundle;
    struct intake intake;
    bool has_head;
};

static int read_head(struct reading *r, struct frame *frame, struct err *err)
{
    struct field magic, haproxy;
    int64_t version;
    if (r->has_head)
        return err_set(err, ERR_INVALID, "two heads");
    if (frame_name(frame, NAME_MAX_BYTES, &magic, err) < 0 || frame_number(frame, 0, INT64_MAX, &version, err) < 0)
        return -1;
    if (magic.length != strlen(MAGIC) || memcmp(magic.bytes, MAGIC, magic.length) != 0)
        return err_set(err, ERR_INVALID, "not a sealed bundle");
    if (version != BUNDLE_VERSION)
        return err_set(err, ERR_INVALID, "version %lld; this program reads version %d", (long long)version,
                       BUNDLE_VERSION);
    if (frame_name(frame, BUNDLE_HAPROXY_SIZE - 1, &haproxy, err) < 0 || frame_finish(frame, err) < 0)
        return -1;
    memcpy(r->bundle->haproxy, haproxy.bytes, haproxy.length);
    r->has_head = true;
    return 0;
}

int bundle_read_value(struct bundle *b, struct frame *frame, struct err *err)
{
    struct field fields[4];
    char *strings[3];
    if (b->values.count >= BUNDLE_VALUES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d values", BUNDLE_VALUES_MAX);
    for (size_t i = 0; i < 3; i++)
        if (frame_name(frame, NAME_MAX_BYTES, &fields[i], err) < 0)
            return -1;
    if (frame_field(frame, &fields[3], err) < 0 || frame_finish(frame, err) < 0)
        return -1;
    if (fields[0].length != BUNDLE_DIGITS)
        return err_set(err, ERR_INVALID, "a value without the digits of a handle");
    for (size_t i = 0; i < 3; i++)
        strings[i] = xmemdup0(fields[i].bytes, fields[i].length);
    bundle_put_value(b, strings[0], strings[1], strings[2], fields[3].bytes, fields[3].length);
    for (size_t i = 0; i < 3; i++)
        free(strings[i]);
    return 0;
}

static int read_part(struct reading *r, struct frame *frame, struct err *err)
{
    struct fragment *part;
    if (r->bundle->parts.count == BUNDLE_PARTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d parts", BUNDLE_PARTS_MAX);
    if (intake_fragment(&r->intake, frame, &part, err) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < part->count && result == 0; i++)
        if (!bundle_is_item(&part->items[i]))
            result = err_set(err, ERR_INVALID, "a message in part %s", part->id);
    if (result == 0)
        bundle_put(r->bundle, part);
    fragment_unref(part);
    return result;
}

static int read_gone(struct reading *r, struct frame *frame, struct err *err)
{
    const char *id;
    if (intake_name(&r->intake, frame, ID_MAX_BYTES, &id, err) < 0)
        return -1;
    bundle_drop(r->bundle, id);
    return 0;
}

static int read_digest(struct frame *frame, struct digest expected, const char *what, struct err *err)
{
    struct field field;
    char hex[DIGEST_HEX_SIZE];
    if (frame_name(frame, DIGEST_HEX_SIZE, &field, err) < 0)
        return -1;
    (void)digest_hex(expected, hex);
    if (field.length != strlen(hex) || memcmp(field.bytes, hex, field.length) != 0)
        return err_set(err, ERR_INVALID, "damaged: the digest of its %s is %s, not the one that is noted", what, hex);
    return 0;
}

static int read_mark(struct reading *r, struct frame *frame, struct err *err)
{
    int64_t transitions, generation, parts;
    if (frame_number(frame, INT64_MIN + 1, INT64_MAX, &transitions, err) < 0 ||
        frame_number(frame, 0, INT64_MAX, &generation, err) < 0 || frame_number(frame, 0, INT64_MAX, &parts, err) < 0)
        return -1;
    if ((uint64_t)parts != r->bundle->parts.count)
        return err_set(err, ERR_INVALID, "damaged: %zu parts, not %lld", r->bundle->parts.count, (long long)parts);
    if (read_digest(frame, r->bundle->digest, "parts", err) < 0 ||
        read_digest(frame, r->bundle->values_digest, "values", err) < 0 || frame_finish(frame, err) < 0)
        return -1;
    r->bundle->stamp = (struct bundle_stamp){.transitions = transitions, .generation = (uint64_t)generation};
    return 0;
}

static int read_frame(struct reading *r, struct frame *frame, struct err *err)
{
    if (!r->has_head && frame->type != (char)FRAME_SEAL_HEAD)
        return err_set(err, ERR_INVALID, "not a sealed bundle: it does not begin with a head");
    switch (frame->type) {
    case FRAME_SEAL_HEAD:
        return read_head(r, frame, err);
    case FRAME_SEAL_VALUE:
        return bundle_read_value(r->bundle, frame, err);
    case FRAME_FRAGMENT:
        return read_part(r, frame, err);
    case FRAME_GONE:
        return read_gone(r, frame, err);
    default: /* find_end() let no other type pass */
        return read_mark(r, frame, err);
    }
}

int bundle_unseal(const char *bytes, size_t length, struct bundle **ret_bundle, size_t *ret_cut, struct err *err)
{
    CLEANUP(bundle_cleanup) struct bundle *b = bundle_new();
    struct reading r = {.bundle = b};
    size_t end = 0;
    int result = find_end(bytes, length, &end, err);

    if (result == 0 && end == 0)
        result = err_set(err, ERR_INVALID, "not a sealed bundle: it has no mark");
    for (size_t at = 0; result == 0 && at < end;) {
        struct frame frame;
        size_t size = 0;
        if (frame_read(bytes + at, end - at, BUNDLE_FRAME_MAX, &frame, &size, err) <= 0)
            result = -1; /* find_end() has read it already */
        else if (read_frame(&r, &frame, err) < 0)
            result = err_wrap(err, "at byte %zu", at);
        at += size;
    }
    intake_done(&r.intake);
    if (result < 0)
        return -1;
    *ret_bundle = STEAL(b);
    *ret_cut = length - end;
    return 0;
}
