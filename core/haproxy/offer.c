/* The writer reads the model. The reader trusts nothing. Items are read by the same function as the renderer's output.
 */
#include "haproxy/offer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"
#include "engine/contribution_check.h"
#include "engine/frame.h"
#include "engine/intake.h"
#include "haproxy/bundle_seal.h"
#include "haproxy/disk.h"

#define MAGIC "haptic offer"
#define NAME_MAX_BYTES 1024
#define UNKNOWN_OWNER "unknown"

/* ---- writing ---- */

struct writing {
    struct buf *out;
    const struct model *model;
    struct vault *vault;
    struct map values; /* digits that are written already */
    VEC(const struct item *) items;
};

static void write_head(struct buf *out, const struct offer *head)
{
    size_t mark = frame_begin(out, FRAME_OFFER_HEAD);
    frame_add_string(out, MAGIC);
    frame_add_number(out, OFFER_VERSION);
    frame_add_number(out, head->transitions);
    frame_add_number(out, (int64_t)(head->generation & INT64_MAX));
    frame_add_string(out, head->holder);
    frame_add_string(out, head->from);
    frame_end(out, mark);
}

static void write_end(struct buf *out, struct digest result, size_t count)
{
    char hex[DIGEST_HEX_SIZE];
    size_t mark = frame_begin(out, FRAME_OFFER_END);
    frame_add_string(out, digest_hex(result, hex));
    frame_add_number(out, (int64_t)count);
    frame_end(out, mark);
}

static void write_name(struct buf *out, enum frame_type type, enum contribution_kind kind, const char *scope,
                       const char *key)
{
    size_t mark = frame_begin(out, type);
    frame_add_number(out, kind);
    frame_add_string(out, scope);
    frame_add_string(out, key);
    frame_end(out, mark);
}

static void write_value(struct writing *w, const char *handle)
{
    char digits[BUNDLE_DIGITS + 1] = "", whole[VAULT_HANDLE_LENGTH + 1];
    struct vault_value value;
    memcpy(digits, handle + sizeof(VAULT_PREFIX) - 1, BUNDLE_DIGITS);
    if (map_get(&w->values, digits))
        return;
    snprintf(whole, sizeof(whole), VAULT_PREFIX "%sEnd", digits);
    if (vault_get(w->vault, whole, &value, NULL) < 0)
        return; /* the receiver names the item that needs it */
    (void)map_put(&w->values, digits, w);
    seal_value(w->out, digits, value.secret, value.key, value.bytes, value.length);
}

static void write_values_of(struct writing *w, const char *text, size_t length)
{
    const char *end = text + length;
    bool whole = true;
    for (const char *at = text; (at = vault_find(at, (size_t)(end - at), &whole)); at++)
        if (whole)
            write_value(w, at);
}

static int compare_owners(const void *a, const void *b)
{
    const struct item *const *x = a, *const *y = b;
    const char *p = (*x)->accepted_by ? (*x)->accepted_by->id : UNKNOWN_OWNER;
    const char *q = (*y)->accepted_by ? (*y)->accepted_by->id : UNKNOWN_OWNER;
    int order = strcmp(p, q);
    return order ? order : (*x < *y) - (*x > *y);
}

static void add_item(struct buf *out, const struct item *item)
{
    frame_add_number(out, item->kind);
    frame_add_number(out, item->accepted_rank);
    frame_add_number(out, item->accepted_order);
    frame_add_string(out, item->scope);
    frame_add_string(out, item->key);
    frame_add(out, item->accepted->bytes, item->accepted->length);
}

static void add_owner(struct buf *out, const struct fragment *owner)
{
    frame_add_string(out, owner ? owner->id : UNKNOWN_OWNER);
    frame_add_string(out, owner ? owner->template_name : UNKNOWN_OWNER);
    frame_add_string(out, owner ? owner->owner_kind : "");
    frame_add_string(out, owner ? owner->owner_id : "");
    frame_add_number(out, owner ? owner->owner_created_s : 0);
}

/* Items of one owner, at most as many as a fragment may have. */
static size_t write_run(struct writing *w, size_t at)
{
    const struct fragment *owner = w->items.items[at]->accepted_by;
    size_t end = at + 1;
    while (end < w->items.length && w->items.items[end]->accepted_by == owner && end - at < CONTRIBUTIONS_MAX / 2)
        end++;
    size_t mark = frame_begin(w->out, FRAME_FRAGMENT);
    add_owner(w->out, owner);
    for (size_t i = at; i < end; i++)
        add_item(w->out, w->items.items[i]);
    frame_end(w->out, mark);
    return end;
}

/* Returns the length up to the end of the last value; 0 when there are no values. */
static size_t write_items(struct writing *w)
{
    size_t plain;
    if (w->items.length)
        qsort(w->items.items, w->items.length, sizeof(*w->items.items), compare_owners);
    for (size_t i = 0; i < w->items.length; i++) {
        const struct item *item = w->items.items[i];
        write_values_of(w, item->key, strlen(item->key));
        write_values_of(w, item->accepted->bytes, item->accepted->length);
    }
    plain = w->values.count ? w->out->length : 0;
    for (size_t i = 0; i < w->items.length;)
        i = write_run(w, i);
    for (size_t i = 0; i < w->items.length; i++) {
        const struct item *item = w->items.items[i];
        if (model_is_guarded(w->model, item))
            write_name(w->out, FRAME_OFFER_GUARDED, item->kind, item->scope, item->key);
    }
    vec_done(&w->items);
    map_done(&w->values);
    return plain;
}

static void note_item(void *ctx, const struct item *item)
{
    struct writing *w = ctx;
    vec_push(&w->items, item);
}

size_t offer_write_whole(struct buf *out, const struct model *m, struct vault *vault, const struct offer *head)
{
    struct writing w = {.out = out, .model = m, .vault = vault};
    map_init(&w.values, false);
    write_head(out, head);
    model_each_accepted(m, note_item, &w);
    size_t count = w.items.length, plain = write_items(&w);
    write_end(out, model_digest(m, MODEL_ACCEPTED), count);
    return plain;
}

size_t offer_write_delta(struct buf *out, const struct model *m, struct vault *vault, const struct offer *head,
                         const struct offer_name *names, size_t count)
{
    struct writing w = {.out = out, .model = m, .vault = vault};
    struct map seen;
    map_init(&w.values, false);
    map_init(&seen, true);
    write_head(out, head);
    for (size_t i = 0; i < count; i++) {
        const char *scope = names[i].bytes + 1, *key = scope + strlen(scope) + 1;
        if (map_getn(&seen, names[i].bytes, names[i].length))
            continue;
        map_putn(&seen, names[i].bytes, names[i].length, &w);
        enum contribution_kind kind = (enum contribution_kind)names[i].bytes[0];
        const struct item *item = model_item(m, kind, scope, key);
        if (item && item->accepted)
            vec_push(&w.items, item);
        else
            write_name(out, FRAME_OFFER_REMOVE, kind, scope, key);
    }
    map_done(&seen);
    size_t plain = write_items(&w);
    write_end(out, model_digest(m, MODEL_ACCEPTED), 0);
    return plain;
}

/* ---- reading ---- */

bool offer_digest_parse(const char *hex, struct digest *ret_digest)
{
    struct digest d = {0, 0};
    if (strlen(hex) != DIGEST_HEX_SIZE - 1 || strspn(hex, "0123456789abcdef") != DIGEST_HEX_SIZE - 1)
        return false;
    for (size_t i = 0; i < DIGEST_HEX_SIZE - 1; i++) {
        uint64_t digit = (uint64_t)(hex[i] <= '9' ? hex[i] - '0' : hex[i] - 'a' + 10);
        uint64_t *half = i < (DIGEST_HEX_SIZE - 1) / 2 ? &d.high : &d.low;
        *half = *half << 4 | digit;
    }
    *ret_digest = d;
    return true;
}

struct reading {
    struct offer *offer;
    struct intake intake;
    bool has_head, has_end;
};

static int copy_field(struct frame *frame, char *to, size_t size, struct err *err)
{
    struct field field;
    if (frame_name(frame, size - 1, &field, err) < 0)
        return -1;
    memcpy(to, field.bytes, field.length);
    to[field.length] = '\0';
    return 0;
}

static int read_head(struct reading *r, struct frame *frame, struct err *err)
{
    char magic[sizeof(MAGIC) + 1];
    int64_t version, generation;
    struct offer *o = r->offer;
    struct digest from;
    if (copy_field(frame, magic, sizeof(magic), err) < 0 || frame_number(frame, 0, INT64_MAX, &version, err) < 0)
        return -1;
    if (strcmp(magic, MAGIC) != 0)
        return err_set(err, ERR_INVALID, "not an offer");
    if (version != OFFER_VERSION)
        return err_set(err, ERR_INVALID, "version %lld; this program reads version %d", (long long)version,
                       OFFER_VERSION);
    if (frame_number(frame, INT64_MIN + 1, INT64_MAX, &o->transitions, err) < 0 ||
        frame_number(frame, 0, INT64_MAX, &generation, err) < 0 ||
        copy_field(frame, o->holder, sizeof(o->holder), err) < 0 ||
        copy_field(frame, o->from, sizeof(o->from), err) < 0 || frame_finish(frame, err) < 0)
        return -1;
    o->generation = (uint64_t)generation;
    if (*o->from && !offer_digest_parse(o->from, &from))
        return err_set(err, ERR_INVALID, "\"%s\" is not a digest", o->from);
    r->has_head = true;
    return 0;
}

/* A name becomes a path below the directory and must not lead out of it. */
static bool is_named_well(enum contribution_kind kind, const char *scope)
{
    const char *folder = kind == CONTRIBUTION_MAP_ENTRY                                      ? "maps"
                         : kind == CONTRIBUTION_FILE                                         ? "files"
                         : kind == CONTRIBUTION_CERTIFICATE || kind == CONTRIBUTION_CRT_LIST ? "certs"
                                                                                             : NULL;
    if (!folder)
        return true;
    CLEANUP(free_ptr) char *path = xasprintf("%s/%s", folder, scope);
    return disk_path_valid(path);
}

static int put_change(struct reading *r, const struct direct_change *change, struct err *err)
{
    if (r->offer->changes.items.length >= OFFER_ITEMS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d items", OFFER_ITEMS_MAX);
    if (!is_named_well(change->kind, change->scope))
        return err_set(err, ERR_INVALID, "\"%.100s\" is not the name of a file", change->scope);
    return direct_put(&r->offer->changes, change, err);
}

static int read_items(struct reading *r, struct frame *frame, struct err *err)
{
    struct fragment *owner;
    int result = 0;
    if (intake_fragment(&r->intake, frame, &owner, err) < 0)
        return -1;
    for (size_t i = 0; i < owner->count && result == 0; i++) {
        const struct contribution *c = &owner->items[i];
        if (!bundle_is_item(c) || contribution_is_note(c->kind)) {
            result = err_set(err, ERR_INVALID, "an item of kind %d is no output", (int)c->kind);
            break;
        }
        const struct direct_change change = {.kind = c->kind,
                                             .scope = (char *)(uintptr_t)c->scope,
                                             .key = (char *)(uintptr_t)c->key,
                                             .text = c->text,
                                             .rank = c->rank,
                                             .order = c->order,
                                             .owner = owner};
        result = put_change(r, &change, err);
    }
    fragment_unref(owner);
    return result;
}

static int read_name(struct frame *frame, enum contribution_kind *ret_kind, char **ret_scope, char **ret_key,
                     struct err *err)
{
    struct field scope, key;
    int64_t kind;
    if (frame_number(frame, 0, CONTRIBUTION_LAST, &kind, err) < 0 || frame_field(frame, &scope, err) < 0 ||
        frame_field(frame, &key, err) < 0 || frame_finish(frame, err) < 0)
        return -1;
    const struct contribution_input input = {.kind = (enum contribution_kind)kind,
                                             .scope = scope.bytes,
                                             .scope_length = scope.length,
                                             .key = key.bytes,
                                             .key_length = key.length,
                                             .text = ""};
    if (scope.length > SCOPE_MAX || key.length > KEY_MAX || memchr(scope.bytes, '\0', scope.length) ||
        memchr(key.bytes, '\0', key.length) || contribution_is_message(input.kind) || contribution_is_note(input.kind))
        return err_set(err, ERR_INVALID, "a name that no item can have");
    *ret_kind = input.kind;
    *ret_scope = xmemdup0(scope.bytes, scope.length);
    *ret_key = xmemdup0(key.bytes, key.length);
    return 0;
}

static int read_named(struct reading *r, struct frame *frame, bool goes, struct err *err)
{
    CLEANUP(free_ptr) char *scope = NULL, *key = NULL;
    enum contribution_kind kind = CONTRIBUTION_GUARD;
    if (read_name(frame, &kind, &scope, &key, err) < 0)
        return -1;
    if (goes)
        return put_change(r, &(struct direct_change){.kind = kind, .scope = scope, .key = key}, err);
    struct direct_change *change = direct_find(&r->offer->changes, kind, scope, key);
    if (!change || !change->text)
        return err_set(err, ERR_INVALID, "a guarded item \"%.100s\" that is not set", scope);
    change->guarded = true;
    return 0;
}

static int read_end(struct reading *r, struct frame *frame, struct err *err)
{
    char hex[DIGEST_HEX_SIZE];
    int64_t count;
    if (copy_field(frame, hex, sizeof(hex), err) < 0 || frame_number(frame, 0, OFFER_ITEMS_MAX, &count, err) < 0 ||
        frame_finish(frame, err) < 0)
        return -1;
    if (!offer_digest_parse(hex, &r->offer->result))
        return err_set(err, ERR_INVALID, "\"%s\" is not a digest", hex);
    r->offer->result_count = (size_t)count;
    r->has_end = true;
    return 0;
}

static int read_frame(struct reading *r, struct frame *frame, struct err *err)
{
    if (r->has_end)
        return err_set(err, ERR_INVALID, "something stands behind the end");
    if (r->has_head == (frame->type == (char)FRAME_OFFER_HEAD))
        return err_set(err, ERR_INVALID, r->has_head ? "two heads" : "not an offer: it does not begin with a head");
    switch ((unsigned char)frame->type) {
    case FRAME_OFFER_HEAD:
        return read_head(r, frame, err);
    case FRAME_SEAL_VALUE:
        return bundle_read_value(r->offer->values, frame, err);
    case FRAME_FRAGMENT:
        return read_items(r, frame, err);
    case FRAME_OFFER_GUARDED:
        return read_named(r, frame, false, err);
    case FRAME_OFFER_REMOVE:
        return read_named(r, frame, true, err);
    case FRAME_OFFER_END:
        return read_end(r, frame, err);
    default:
        return err_set(err, ERR_INVALID, "a frame of unknown type %d", frame->type);
    }
}

int offer_read(const char *bytes, size_t length, struct offer *ret_offer, struct err *err)
{
    struct reading r = {.offer = ret_offer};
    int result = 0;

    memset(ret_offer, 0, sizeof(*ret_offer));
    direct_init(&ret_offer->changes);
    ret_offer->values = bundle_new();
    for (size_t at = 0; at < length && result == 0;) {
        struct frame frame;
        size_t size = 0;
        int found = frame_read(bytes + at, length - at, BUNDLE_FRAME_MAX, &frame, &size, err);
        if (found == 0)
            result = err_set(err, ERR_INVALID, "at byte %zu: cut off", at);
        else if (found < 0 || read_frame(&r, &frame, err) < 0)
            result = err_wrap(err, "at byte %zu", at);
        at += size;
    }
    if (result == 0 && !r.has_end)
        result = err_set(err, ERR_INVALID, "not an offer: it has no end");
    intake_done(&r.intake);
    if (result < 0)
        offer_done(ret_offer);
    return result;
}

int offer_read_whole(const char *bytes, size_t length, struct offer *ret_offer, struct err *err)
{
    if (offer_read(bytes, length, ret_offer, err) < 0)
        return -1;
    if (*ret_offer->from == '\0' && digest_equal(direct_digest(&ret_offer->changes), ret_offer->result))
        return 0;
    offer_done(ret_offer);
    return err_set(err, ERR_INVALID, "what it serves does not have the digest that it says");
}

void offer_done(struct offer *o)
{
    direct_done(&o->changes);
    o->values = bundle_free(o->values);
}

void offer_take_values(const struct offer *o, struct vault *vault)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&o->values->values, &it));) {
        const struct bundle_value *v = slot->value;
        /* Without the value, the item that needs it is refused, and named. */
        (void)!vault_restore(vault, v->digits, v->secret, v->key, v->bytes, v->length, NULL);
    }
}
