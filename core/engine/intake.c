/* Strings are copied with a NUL into one scratch buffer, which is reused for all frames. It may move while it grows, so
 * pointers into it are computed from offsets at the end. Contributions point directly into the frame, since
 * fragment_new() takes counted strings.
 */
#include "engine/intake.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"
#include "engine/contribution_check.h"
#include "engine/reference.h"
#include "engine/shared_page.h"

#define DECLARATIONS_MAX 1000 /* of one fragment */
#define WAIT_MAX_MS 3600000
#define HELD_MAX 20000

void intake_done(struct intake *in)
{
    intake_held_clear(in);
    vec_done(&in->held);
    buf_done(&in->strings);
    vec_done(&in->items);
    vec_done(&in->sorted);
}

static int compare_inputs(const struct contribution_input *a, const struct contribution_input *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->key_length != b->key_length)
        return a->key_length < b->key_length ? -1 : 1;
    if (a->scope_length != b->scope_length)
        return a->scope_length < b->scope_length ? -1 : 1;
    int key = memcmp(a->key, b->key, a->key_length);
    return key ? key : memcmp(a->scope, b->scope, a->scope_length);
}

static int compare_pointers(const void *a, const void *b)
{
    return compare_inputs(*(const struct contribution_input *const *)a, *(const struct contribution_input *const *)b);
}

/* Checks that no two contributions of a fragment have the same (kind, scope, key). Most fragments have a few. */
static int check_unique(struct intake *in, struct err *err)
{
    vec_clear(&in->sorted);
    for (size_t i = 0; i < in->items.length; i++)
        vec_push(&in->sorted, &in->items.items[i]);
    if (in->sorted.length > 1)
        qsort(in->sorted.items, in->sorted.length, sizeof(in->sorted.items[0]), compare_pointers);
    for (size_t i = 1; i < in->sorted.length; i++) {
        const struct contribution_input *c = in->sorted.items[i];
        if (compare_inputs(in->sorted.items[i - 1], c) == 0)
            return err_set(err, ERR_INVALID, "two contributions of one fragment to %.*s: %.*s", (int)c->scope_length,
                           c->scope, (int)c->key_length, c->key);
    }
    return 0;
}

static size_t keep(struct intake *in, struct field field)
{
    size_t offset = in->strings.length;

    buf_add(&in->strings, field.bytes, field.length);
    buf_putc(&in->strings, '\0');
    return offset;
}

/* The first fields of fragments and failures: id, template, owner kind, owner id, created. */
static int read_head(struct intake *in, struct frame *frame, size_t ret_offsets[4], int64_t *ret_created,
                     struct err *err)
{
    static const size_t max[4] = {AT_HAND_ID_MAX, AT_HAND_TEMPLATE_MAX, AT_HAND_OWNER_KIND_MAX, AT_HAND_OWNER_ID_MAX};

    buf_clear(&in->strings);
    for (size_t i = 0; i < 4; i++) {
        struct field field;
        if (frame_name(frame, max[i], &field, err) < 0)
            return -1;
        ret_offsets[i] = keep(in, field);
    }
    return frame_number(frame, INT64_MIN + 1, INT64_MAX, ret_created, err);
}

static int read_contribution(struct frame *frame, struct contribution_input *ret_input, struct err *err)
{
    int64_t kind, rank, order;
    struct field scope, key, text;

    if (frame_number(frame, 0, CONTRIBUTION_LAST, &kind, err) < 0 ||
        frame_number(frame, INT32_MIN, INT32_MAX, &rank, err) < 0 ||
        frame_number(frame, INT32_MIN, INT32_MAX, &order, err) < 0 || frame_field(frame, &scope, err) < 0 ||
        frame_field(frame, &key, err) < 0 || frame_field(frame, &text, err) < 0)
        return -1;
    *ret_input = (struct contribution_input){
        .kind = (enum contribution_kind)kind,
        .rank = (int32_t)rank,
        .order = (int32_t)order,
        .scope = scope.bytes,
        .scope_length = scope.length,
        .key = key.bytes,
        .key_length = key.length,
        .text = text.bytes,
        .text_length = text.length,
    };
    const char *problem = contribution_problem(ret_input);
    return problem ? err_set(err, ERR_INVALID, "a contribution: %s", problem) : 0;
}

/* Names of maps and files that are declared already. */
struct declaring {
    struct intake *in;
    struct map maps, files;
    size_t count;
};

static void declare(void *ctx, const struct reference *r)
{
    struct declaring *d = ctx;
    struct map *known = r->folder == REFERENCE_MAPS ? &d->maps : &d->files;

    /* HAProxy does not load an empty certificate, so there is nothing to declare. */
    if (r->folder == REFERENCE_CERTS || d->count == DECLARATIONS_MAX || map_getn(known, r->name, r->name_length))
        return;
    struct contribution_input input = {
        .kind = CONTRIBUTION_MAP_ENTRY, .scope = r->name, .scope_length = r->name_length, .key = "", .text = ""};
    if (r->folder == REFERENCE_FILES) {
        input.kind = CONTRIBUTION_FILE;
        input.key = CONTRIBUTION_DECLARED;
        input.key_length = strlen(CONTRIBUTION_DECLARED);
    }
    if (contribution_problem(&input))
        return;
    (void)map_putn(known, r->name, r->name_length, d);
    d->count++;
    vec_push(&d->in->items, input);
}

static bool is_declaration(const struct contribution_input *c)
{
    return (c->kind == CONTRIBUTION_MAP_ENTRY && c->key_length == 0) ||
           (c->kind == CONTRIBUTION_FILE && c->key_length == strlen(CONTRIBUTION_DECLARED) &&
            memcmp(c->key, CONTRIBUTION_DECLARED, c->key_length) == 0);
}

static void add_declarations(struct intake *in)
{
    struct declaring d = {.in = in};
    size_t count = in->items.length;

    map_init(&d.maps, true);
    map_init(&d.files, true);
    for (size_t i = 0; i < count; i++) {
        const struct contribution_input *c = &in->items.items[i];
        if (is_declaration(c))
            (void)map_putn(c->kind == CONTRIBUTION_FILE ? &d.files : &d.maps, c->scope, c->scope_length, &d);
    }
    for (size_t i = 0; i < count; i++) {
        const struct contribution_input c = in->items.items[i]; /* the list may move */
        if (c.kind == CONTRIBUTION_SECTION || c.kind == CONTRIBUTION_FILE)
            references_each(c.text, c.text_length, declare, &d);
    }
    map_done(&d.maps);
    map_done(&d.files);
}

int intake_fragment(struct intake *in, struct frame *frame, struct fragment **ret_fragment, struct err *err)
{
    size_t offsets[4];
    int64_t created;

    if (read_head(in, frame, offsets, &created, err) < 0)
        return -1;
    if (in->strings.data[offsets[0]] == '\0')
        return err_set(err, ERR_INVALID, "a fragment without an id");
    size_t messages = 0;
    vec_clear(&in->items);
    while (frame->at < frame->end) {
        struct contribution_input input;
        if (in->items.length == CONTRIBUTIONS_MAX)
            return err_set(err, ERR_LIMIT, "more than %d contributions of one fragment", CONTRIBUTIONS_MAX);
        if (read_contribution(frame, &input, err) < 0)
            return -1;
        if (contribution_is_message(input.kind) && ++messages > CONTRIBUTION_MESSAGES_MAX)
            return err_set(err, ERR_LIMIT, "more than %d messages of one fragment", CONTRIBUTION_MESSAGES_MAX);
        vec_push(&in->items, input);
    }
    if (in->declares)
        add_declarations(in);
    if (check_unique(in, err) < 0)
        return -1;
    const char *strings = in->strings.data;
    struct fragment_head head = {
        .id = strings + offsets[0],
        .template_name = strings + offsets[1],
        .owner_kind = strings + offsets[2],
        .owner_id = strings + offsets[3],
        .owner_created_s = created,
    };
    *ret_fragment = fragment_new(&head, in->items.items, in->items.length);
    return 0;
}

/* A message may contain any bytes that a template passed to error(). */
static int keep_message(struct intake *in, struct frame *frame, size_t *ret_offset, struct err *err)
{
    struct field field;

    if (frame_field(frame, &field, err) < 0)
        return -1;
    if (field.length > MESSAGE_MAX)
        return err_set(err, ERR_LIMIT, "frame %c: a message of %zu bytes", frame->type, field.length);
    *ret_offset = keep(in, field);
    char *text = in->strings.data + *ret_offset;
    for (size_t i = 0; i < field.length; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t') || text[i] == 0x7f)
            text[i] = '?';
    return 0;
}

int intake_failure(struct intake *in, struct frame *frame, struct fragment_failure *ret_failure, struct err *err)
{
    size_t offsets[4], message = 0;
    int64_t created;

    if (read_head(in, frame, offsets, &created, err) < 0 || keep_message(in, frame, &message, err) < 0 ||
        frame_finish(frame, err) < 0)
        return -1;
    const char *strings = in->strings.data;
    *ret_failure = (struct fragment_failure){
        .id = strings + offsets[0],
        .template_name = strings + offsets[1],
        .owner_kind = strings + offsets[2],
        .owner_id = strings + offsets[3],
        .owner_created_s = created,
        .message = strings + message,
    };
    return 0;
}

int intake_name(struct intake *in, struct frame *frame, size_t max, const char **ret_name, struct err *err)
{
    struct field field;

    if (frame_name(frame, max, &field, err) < 0 || frame_finish(frame, err) < 0)
        return -1;
    buf_clear(&in->strings);
    size_t offset = keep(in, field);
    *ret_name = in->strings.data + offset;
    return 0;
}

int intake_message(struct intake *in, struct frame *frame, const char **ret_message, struct err *err)
{
    size_t offset = 0;

    buf_clear(&in->strings);
    if (keep_message(in, frame, &offset, err) < 0 || frame_finish(frame, err) < 0)
        return -1;
    *ret_message = in->strings.data + offset;
    return 0;
}

int intake_held(struct intake *in, struct frame *frame, struct err *err)
{
    struct field namespace_name;
    int64_t by_size, by_time;

    if (in->held.length == HELD_MAX)
        return err_set(err, ERR_LIMIT, "so many namespaces that wait: at most %d are told", HELD_MAX);
    if (frame_name(frame, AT_HAND_OWNER_ID_MAX, &namespace_name, err) < 0 ||
        frame_number(frame, 0, INT64_MAX, &by_size, err) < 0 || frame_number(frame, 0, INT64_MAX, &by_time, err) < 0 ||
        frame_finish(frame, err) < 0)
        return -1;
    vec_push(&in->held, ((struct render_held){.namespace_name = xmemdup0(namespace_name.bytes, namespace_name.length),
                                              .by_size = (uint64_t)by_size,
                                              .by_time = (uint64_t)by_time}));
    return 0;
}

void intake_held_clear(struct intake *in)
{
    for (size_t i = 0; i < in->held.length; i++)
        free((char *)(uintptr_t)in->held.items[i].namespace_name);
    vec_clear(&in->held);
}

int intake_rendered(struct frame *frame, struct render_stats *ret_stats, int64_t *ret_wait_ms, struct err *err)
{
    int64_t request, complete, run, total, duration, heap, unfinished;

    if (frame_number(frame, 0, INT64_MAX, &request, err) < 0 || frame_number(frame, 0, 1, &complete, err) < 0 ||
        frame_number(frame, 0, INT64_MAX, &run, err) < 0 || frame_number(frame, 0, INT64_MAX, &total, err) < 0 ||
        frame_number(frame, 0, INT64_MAX, &duration, err) < 0 || frame_number(frame, 0, INT64_MAX, &heap, err) < 0 ||
        frame_number(frame, 0, 1, &unfinished, err) < 0 || frame_number(frame, -1, WAIT_MAX_MS, ret_wait_ms, err) < 0 ||
        frame_finish(frame, err) < 0)
        return -1;
    *ret_stats = (struct render_stats){
        .request = (uint64_t)request,
        .complete = complete == 1,
        .unfinished = unfinished == 1,
        .fragments_run = (uint64_t)run,
        .fragments_total = (uint64_t)total,
        .duration_ns = duration,
        .heap_bytes = (uint64_t)heap,
    };
    return 0;
}
