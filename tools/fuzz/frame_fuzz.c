/* Bytes from a renderer that has been taken over: whatever they are, the core's side refuses them or makes of them
 * what its own rules allow. */
#include <assert.h>
#include <string.h>

#include "engine/contribution_check.h"
#include "engine/intake.h"

#define FRAME_MAX ((size_t)1 << 20)

static void check_fragment(const struct fragment *f)
{
    assert(f->id[0]);
    for (size_t i = 0; i < f->count; i++) {
        const struct contribution *c = &f->items[i];
        struct contribution_input input = {
            .kind = c->kind,
            .scope = c->scope,
            .scope_length = strlen(c->scope),
            .key = c->key,
            .key_length = strlen(c->key),
            .text = c->text->bytes,
            .text_length = c->text->length,
        };
        assert(!contribution_problem(&input));
    }
}

/* 0 when the frame was taken. */
static int take(struct intake *in, struct frame *frame, struct err *err)
{
    struct fragment *f;
    struct fragment_failure failure;
    struct render_stats stats;
    int64_t wait_ms;
    const char *text;

    switch (frame->type) {
    case FRAME_FRAGMENT:
        if (intake_fragment(in, frame, &f, err) < 0)
            return -1;
        check_fragment(f);
        fragment_unref(f);
        return 0;
    case FRAME_FAILED:
        return intake_failure(in, frame, &failure, err);
    case FRAME_GONE:
    case FRAME_WAITS:
        return intake_name(in, frame, 2048, &text, err);
    case FRAME_CONFIGURED:
    case FRAME_LOG:
        return intake_message(in, frame, &text, err);
    case FRAME_RENDERED:
        return intake_rendered(frame, &stats, &wait_ms, err);
    case FRAME_HELD:
        return intake_held(in, frame, err);
    default:
        return -1;
    }
}

/* A number that was read is written as it was. */
static void check_number(struct frame frame)
{
    struct buf out = {0};
    struct err err;
    int64_t number;
    struct frame copy = frame;
    struct field field;

    if (frame_number(&frame, INT64_MIN + 1, INT64_MAX, &number, &err) == 0) {
        frame_add_number(&out, number);
        assert(frame_field(&copy, &field, &err) == 0);
        assert(out.length == field.length + 4 && memcmp(out.data + 4, field.bytes, field.length) == 0);
        buf_done(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct intake in = {0};
    struct err err = {0};
    size_t done = 0;

    for (;;) {
        struct frame frame;
        size_t length;
        if (frame_read((const char *)data + done, size - done, FRAME_MAX, &frame, &length, &err) <= 0)
            break;
        check_number(frame);
        if (take(&in, &frame, &err) < 0)
            break;
        done += length;
        assert(done <= size);
    }
    intake_done(&in);
    return 0;
}
