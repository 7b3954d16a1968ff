/* Both queues hold names, not contents. An object of the replay is sent only if it is still the store's version. If
 * not, its newer version or its deletion is among the changes. For a changed name the store's present state is sent: an
 * object or nothing.
 */
#include "engine/feed.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "engine/frame.h"

/* Sent in place of a refusal: the earlier answer no longer counts. */
#define VOID "?"

/* Space for the fields beside the JSON. */
#define FRAME_MARGIN ((size_t)64 << 10)

static void drop_replay(struct feed *f)
{
    for (size_t i = f->replayed; i < f->replay.length; i++)
        object_unref(f->replay.items[i]);
    vec_clear(&f->replay);
    f->replayed = 0;
}

void feed_done(struct feed *f)
{
    drop_replay(f);
    vec_done(&f->replay);
    for (size_t i = f->sent; i < f->dirty.length; i++)
        free(f->dirty.items[i]);
    vec_done(&f->dirty);
    map_done(&f->dirty_keys);
    for (size_t i = f->answered; i < f->answers.length; i++)
        free(f->answers.items[i]);
    vec_done(&f->answers);
    object_unref(f->pretended);
    *f = (struct feed){0};
}

void feed_begin(struct feed *f, struct store *store, const char *const *kinds, size_t kind_count)
{
    feed_done(f);
    f->store = store;
    f->kinds = kinds;
    f->kind_count = kind_count;
    map_init(&f->dirty_keys, true);
}

void feed_changed(struct feed *f, const struct store_kind *kind, const struct object *o)
{
    const char *name = store_kind_spec(kind)->name;
    bool replayed = false;

    for (size_t i = 0; i < f->next_kind && !replayed; i++)
        replayed = strcmp(f->kinds[i], name) == 0;
    if (!replayed)
        return; /* a kind of another program, or one whose objects come later */
    size_t name_length = strlen(name) + 1, length = name_length + strlen(o->id);
    char *key = xmalloc(length + 1);
    memcpy(key, name, name_length);
    memcpy(key + name_length, o->id, length - name_length + 1);
    if (map_getn(&f->dirty_keys, key, length)) {
        free(key);
        return;
    }
    map_putn(&f->dirty_keys, key, length, key);
    vec_push(&f->dirty, key);
}

void feed_pretend(struct feed *f, struct object *o)
{
    struct object *before = f->pretended;

    f->pretended = o ? object_ref(o) : NULL;
    if (before)
        feed_changed(f, before->kind, before);
    if (o)
        feed_changed(f, o->kind, o);
    object_unref(before);
}

void feed_answer(struct feed *f, const char *kind, const char *id, const char *refusal)
{
    refusal = refusal ? refusal : VOID;
    size_t kind_size = strlen(kind) + 1, id_size = strlen(id) + 1, refusal_size = strlen(refusal) + 1;
    char *answer = xmalloc(kind_size + id_size + refusal_size);

    memcpy(answer, kind, kind_size);
    memcpy(answer + kind_size, id, id_size);
    memcpy(answer + kind_size + id_size, refusal, refusal_size);
    vec_push(&f->answers, answer);
}

static void send_answer(struct feed *f, struct buf *out)
{
    char *kind = f->answers.items[f->answered++];
    const char *id = kind + strlen(kind) + 1, *refusal = id + strlen(id) + 1;
    size_t mark = frame_begin(out, FRAME_ANSWER);

    frame_add_string(out, kind);
    frame_add_string(out, id);
    frame_add_number(out, strcmp(refusal, VOID) != 0);
    frame_add_string(out, refusal);
    frame_end(out, mark);
    free(kind);
    if (f->answered == f->answers.length) {
        f->answered = 0;
        vec_clear(&f->answers);
    }
}

bool feed_is_empty(const struct feed *f)
{
    return f->next_kind == f->kind_count && f->replayed == f->replay.length && f->sent == f->dirty.length &&
           f->answers.length == 0;
}

static void add_put(struct buf *out, const char *kind, const struct object *o)
{
    if (o->text_length > FRAME_TO_RENDERER_MAX - FRAME_MARGIN) {
        log_error("Object is too large for the renderer and is left out", "kind", kind, "object", o->id, "bytes",
                  log_int((int64_t)o->text_length));
        return;
    }
    CLEANUP(buf_done) struct buf text = {0};
    object_text(o, &text);
    size_t mark = frame_begin(out, FRAME_PUT);
    frame_add_string(out, kind);
    frame_add_string(out, o->id);
    frame_add_string(out, o->namespace);
    frame_add_string(out, o->name);
    frame_add_number(out, o->created_s);
    frame_add(out, buf_str(&text), text.length);
    for (size_t i = 0; i < o->index_count; i++)
        frame_add_string(out, o->index[i]);
    frame_end(out, mark);
}

/* The objects that the process has to know. */
static const struct object *object_of(const struct feed *f, const char *kind, const char *id)
{
    const struct store_kind *k = store_kind_by_name(f->store, kind);
    const struct object *pretended = f->pretended;

    if (pretended && k == pretended->kind && strcmp(id, pretended->id) == 0)
        return pretended;
    return k ? store_get(k, id) : NULL;
}

static void send_dirty(struct feed *f, struct buf *out)
{
    char *kind = f->dirty.items[f->sent++];
    size_t kind_length = strlen(kind) + 1;
    const char *id = kind + kind_length;
    const struct object *o = object_of(f, kind, id);

    map_deln(&f->dirty_keys, kind, kind_length + strlen(id));
    if (o) {
        add_put(out, kind, o);
    } else {
        size_t mark = frame_begin(out, FRAME_DELETE);
        frame_add_string(out, kind);
        frame_add_string(out, id);
        frame_end(out, mark);
    }
    free(kind);
    if (f->sent == f->dirty.length) {
        f->sent = 0;
        vec_clear(&f->dirty);
    } else if (f->sent >= 1024 && f->sent > f->dirty.length / 2) {
        memmove(f->dirty.items, f->dirty.items + f->sent, (f->dirty.length - f->sent) * sizeof(f->dirty.items[0]));
        f->dirty.length -= f->sent;
        f->sent = 0;
    }
}

static void collect(void *ctx, struct object *o)
{
    struct feed *f = ctx;

    vec_push(&f->replay, object_ref(o));
}

static void send_replay(struct feed *f, struct buf *out, size_t high_bytes)
{
    const char *kind = f->kinds[f->next_kind - 1];
    const struct store_kind *k = store_kind_by_name(f->store, kind);

    for (; f->replayed < f->replay.length && out->length < high_bytes; f->replayed++) {
        struct object *o = f->replay.items[f->replayed];
        if (k && store_get(k, o->id) == o)
            add_put(out, kind, o);
        object_unref(o);
    }
    if (f->replayed == f->replay.length) {
        vec_done(&f->replay);
        f->replayed = 0;
    }
}

void feed_pump(struct feed *f, struct buf *out, size_t high_bytes)
{
    while (out->length < high_bytes) {
        if (f->replay.length) {
            send_replay(f, out, high_bytes);
        } else if (f->sent < f->dirty.length) {
            send_dirty(f, out);
        } else if (f->next_kind < f->kind_count) {
            const struct store_kind *k = store_kind_by_name(f->store, f->kinds[f->next_kind++]);
            if (k)
                store_each(k, collect, f);
        } else if (f->answers.length) {
            send_answer(f, out);
        } else {
            return;
        }
    }
}
