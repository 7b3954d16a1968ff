/* The items follow each other in the model's table, starting at a random place. The order of the table is random, too
 * (base/map.h), so all items have the same chance. The sum is a hash over all their texts and the random number, in the
 * order of the question.
 */
#include "haproxy/proof.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "engine/contribution_check.h"
#include "engine/frame.h"
#include "haproxy/model_direct.h"

#define MAGIC "haptic proof"
#define NUMBER_SIZE 33

static void draw(void *bytes, size_t length)
{
    if (getrandom(bytes, length, 0) != (ssize_t)length)
        abort();
}

static void add_name(void *ctx, const struct item *item)
{
    struct buf *question = ctx;
    size_t mark = frame_begin(question, FRAME_PROOF_ITEM);
    frame_add_number(question, item->kind);
    frame_add_string(question, item->scope);
    frame_add_string(question, item->key);
    frame_end(question, mark);
}

void proof_ask(const struct model *m, struct buf *question)
{
    char hex[DIGEST_HEX_SIZE];
    struct digest number;
    size_t place;
    draw(&number, sizeof(number));
    draw(&place, sizeof(place));
    size_t mark = frame_begin(question, FRAME_OFFER_HEAD);
    frame_add_string(question, MAGIC);
    frame_add_string(question, digest_hex(number, hex));
    frame_end(question, mark);
    model_some_accepted(m, place, PROOF_ITEMS, add_name, question);
}

/* ---- answering ---- */

static int read_number(struct frame *frame, struct field *ret_number, struct err *err)
{
    struct field magic;
    if (frame->type != FRAME_OFFER_HEAD || frame_name(frame, sizeof(MAGIC), &magic, err) < 0 ||
        magic.length != strlen(MAGIC) || memcmp(magic.bytes, MAGIC, magic.length) != 0 ||
        frame_name(frame, NUMBER_SIZE, ret_number, err) < 0 || frame_finish(frame, err) < 0)
        return err_set(err, ERR_INVALID, "not a question for a proof");
    return 0;
}

static int read_item(const struct model *m, struct frame *frame, const struct item **ret_item, struct err *err)
{
    struct field scope, key;
    int64_t kind;
    if (frame->type != FRAME_PROOF_ITEM || frame_number(frame, 0, CONTRIBUTION_LAST, &kind, err) < 0 ||
        frame_field(frame, &scope, err) < 0 || frame_field(frame, &key, err) < 0 || frame_finish(frame, err) < 0 ||
        scope.length > SCOPE_MAX || key.length > KEY_MAX)
        return err_set(err, ERR_INVALID, "not the name of an item");
    CLEANUP(free_ptr)
    char *scope_text = xmemdup0(scope.bytes, scope.length), *key_text = xmemdup0(key.bytes, key.length);
    *ret_item = model_item(m, (enum contribution_kind)kind, scope_text, key_text);
    return 0;
}

/* Adds one item's text to the hash of all before it, with the random number. */
static struct digest add_item(struct digest sum, const struct field *number, const struct item *item)
{
    const struct text *text = item ? item->accepted : NULL;
    const char *parts[] = {(const char *)&sum, number->bytes, text ? "is" : "is not", text ? text->bytes : ""};
    const size_t lengths[] = {sizeof(sum), number->length, strlen(parts[2]), text ? text->length : 0};
    return digest_of_parts(ARRAY_LEN(parts), parts, lengths);
}

int proof_answer(const struct model *m, const char *question, size_t length, struct digest *ret_proof, struct err *err)
{
    struct digest sum = {0, 0};
    struct field number = {0};
    const struct item *item = NULL;
    unsigned count = 0;
    for (size_t at = 0, size = 0; at < length; at += size, count++) {
        struct frame frame;
        int rc = frame_read(question + at, length - at, PROOF_QUESTION_MAX, &frame, &size, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            return err_set(err, ERR_INVALID, "the question is cut off");
        if (count > PROOF_ITEMS)
            return err_set(err, ERR_LIMIT, "more than %u items", PROOF_ITEMS);
        if (count == 0 ? read_number(&frame, &number, err) < 0 : read_item(m, &frame, &item, err) < 0)
            return -1;
        if (count > 0)
            sum = add_item(sum, &number, item);
    }
    if (count == 0)
        return err_set(err, ERR_INVALID, "there is no question");
    *ret_proof = sum;
    return 0;
}
