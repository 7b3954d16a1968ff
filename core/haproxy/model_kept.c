/* The fragments whose good version differs from the one that was taken last. One pointer and one place in a list per
 * fragment, so the cost is proportional to the change.
 */
#include "haproxy/model_state.h"

void record_note_kept(struct model *m, struct record *r)
{
    if (!m->tracks_kept)
        return;
    if (r->good == r->kept)
        list_remove(&m->unkept, r, unkept_slot);
    else
        list_add(&m->unkept, r, unkept_slot);
}

void record_drop_kept(struct model *m, struct record *r)
{
    list_remove(&m->unkept, r, unkept_slot);
    if (m->tracks_kept && r->kept)
        vec_push(&m->kept_gone, STEAL(r->kept));
}

void model_track_kept(struct model *m, bool track)
{
    const struct map_slot *slot;
    if (m->tracks_kept == track)
        return;
    m->tracks_kept = track;
    for (size_t it = 0; (slot = map_next(&m->records, &it));) {
        struct record *r = slot->value;
        r->kept = fragment_unref(r->kept);
        list_remove(&m->unkept, r, unkept_slot);
        record_note_kept(m, r);
    }
    for (size_t i = 0; i < m->kept_gone.length; i++)
        fragment_unref(m->kept_gone.items[i]);
    vec_done(&m->kept_gone);
    if (!track)
        vec_done(&m->unkept);
}

size_t model_take_kept(struct model *m, size_t max,
                       void (*fn)(void *ctx, const struct fragment *before, const struct fragment *now), void *ctx)
{
    /* Removed fragments first, because a fragment with the same id may have been added again. */
    for (size_t i = 0; i < m->kept_gone.length; i++) {
        fn(ctx, m->kept_gone.items[i], NULL);
        fragment_unref(m->kept_gone.items[i]);
    }
    vec_clear(&m->kept_gone);
    for (; max > 0 && m->unkept.length > 0; max--) {
        struct record *r = m->unkept.items[m->unkept.length - 1];
        struct fragment *before = r->kept;
        list_remove(&m->unkept, r, unkept_slot);
        r->kept = fragment_ref(r->good);
        fn(ctx, before, r->kept);
        fragment_unref(before);
    }
    return m->unkept.length;
}

bool model_has_unkept(const struct model *m)
{
    return m->unkept.length > 0 || m->kept_gone.length > 0;
}

void model_each_kept(const struct model *m, void (*fn)(void *ctx, struct fragment *f), void *ctx)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->records, &it));) {
        const struct record *r = slot->value;
        if (r->kept && r->kept == r->good)
            fn(ctx, r->kept);
    }
}

bool model_is_kept(const struct model *m, const struct fragment *f)
{
    const struct record *r = map_get(&m->records, f->id);
    return r && r->kept == f && r->good == f;
}

bool model_has_good(const struct model *m, const char *fragment_id)
{
    const struct record *r = map_get(&m->records, fragment_id);
    return r && r->good;
}

void model_each_good(const struct model *m, void (*fn)(void *ctx, const struct fragment *f), void *ctx)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&m->records, &it));) {
        const struct record *r = slot->value;
        if (r->good)
            fn(ctx, r->good);
    }
}
