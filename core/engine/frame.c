/* Frames are written directly into the buffer for the socket, and parsed in the buffer that was read from it. The
 * length is first written as zero, and set by frame_end(). Each parsing step checks the remaining length first.
 */
#include "engine/frame.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LENGTH_BYTES ((size_t)4)

static void write_length(char *at, size_t length)
{
    assert(length <= UINT32_MAX);
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        at[i] = (char)(length >> (8 * i) & 0xff);
}

static size_t read_length(const char *at)
{
    size_t length = 0;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        length |= (size_t)(unsigned char)at[i] << (8 * i);
    return length;
}

size_t frame_begin(struct buf *out, enum frame_type type)
{
    size_t mark = out->length;
    const char head[LENGTH_BYTES + 1] = {[LENGTH_BYTES] = (char)type};

    buf_add(out, head, sizeof(head));
    return mark;
}

void frame_add(struct buf *out, const void *bytes, size_t length)
{
    char head[LENGTH_BYTES];

    write_length(head, length);
    buf_add(out, head, sizeof(head));
    buf_add(out, bytes, length);
}

void frame_add_string(struct buf *out, const char *string)
{
    frame_add(out, string, strlen(string));
}

void frame_add_number(struct buf *out, int64_t number)
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char digits[24], *end = digits + sizeof(digits), *at = end;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        *--at = '-';
    frame_add(out, at, (size_t)(end - at));
}

void frame_end(struct buf *out, size_t mark)
{
    write_length(out->data + mark, out->length - mark - LENGTH_BYTES);
}

int frame_read(const char *bytes, size_t length, size_t max, struct frame *ret_frame, size_t *ret_size, struct err *err)
{
    if (length < LENGTH_BYTES)
        return 0;
    size_t body = read_length(bytes);
    if (body > max)
        return err_set(err, ERR_LIMIT, "a frame of %zu bytes, more than %zu", body, max);
    if (body == 0)
        return err_set(err, ERR_INVALID, "an empty frame");
    if (length - LENGTH_BYTES < body)
        return 0;
    *ret_frame = (struct frame){
        .type = bytes[LENGTH_BYTES], .at = bytes + LENGTH_BYTES + 1, .end = bytes + LENGTH_BYTES + body};
    *ret_size = LENGTH_BYTES + body;
    return 1;
}

int frame_field(struct frame *frame, struct field *ret_field, struct err *err)
{
    size_t left = (size_t)(frame->end - frame->at);

    if (left < LENGTH_BYTES)
        return err_set(err, ERR_INVALID, "frame %c lacks a field", frame->type);
    size_t length = read_length(frame->at);
    if (length > left - LENGTH_BYTES)
        return err_set(err, ERR_INVALID, "frame %c: a field of %zu bytes where %zu are left", frame->type, length,
                       left - LENGTH_BYTES);
    *ret_field = (struct field){.bytes = frame->at + LENGTH_BYTES, .length = length};
    frame->at += LENGTH_BYTES + length;
    return 0;
}

int frame_name(struct frame *frame, size_t max, struct field *ret_field, struct err *err)
{
    struct field field = {0};

    if (frame_field(frame, &field, err) < 0)
        return -1;
    if (field.length > max)
        return err_set(err, ERR_LIMIT, "frame %c: a name of %zu bytes, more than %zu", frame->type, field.length, max);
    for (size_t i = 0; i < field.length; i++)
        if ((unsigned char)field.bytes[i] < ' ' || field.bytes[i] == 0x7f)
            return err_set(err, ERR_INVALID, "frame %c: a name with a control character", frame->type);
    *ret_field = field;
    return 0;
}

int frame_number(struct frame *frame, int64_t min, int64_t max, int64_t *ret_number, struct err *err)
{
    struct field field = {0};

    if (frame_field(frame, &field, err) < 0)
        return -1;
    bool negative = field.length > 0 && field.bytes[0] == '-';
    uint64_t value = 0;
    size_t first = negative ? 1 : 0, digits = field.length - first;
    if (digits == 0 || digits > 19 || (digits > 1 && field.bytes[first] == '0'))
        return err_set(err, ERR_INVALID, "frame %c: a number of %zu characters", frame->type, field.length);
    for (size_t i = first; i < field.length; i++) {
        if (field.bytes[i] < '0' || field.bytes[i] > '9')
            return err_set(err, ERR_INVALID, "frame %c: a number that is none", frame->type);
        value = value * 10 + (uint64_t)(field.bytes[i] - '0'); /* 19 digits fit into 64 bits */
    }
    if (value > (uint64_t)INT64_MAX || (negative && value == 0))
        return err_set(err, ERR_INVALID, "frame %c: a number that does not fit", frame->type);
    int64_t number = negative ? -(int64_t)value : (int64_t)value;
    if (number < min || number > max)
        return err_set(err, ERR_INVALID, "frame %c: %" PRId64 " is not within %" PRId64 " and %" PRId64, frame->type,
                       number, min, max);
    *ret_number = number;
    return 0;
}

int frame_finish(const struct frame *frame, struct err *err)
{
    return frame->at == frame->end ? 0 : err_set(err, ERR_INVALID, "frame %c has a field too many", frame->type);
}
