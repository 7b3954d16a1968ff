/* A question for a proof from outside: whatever the bytes are, it is refused with a reason, or answered. Who has the
 * same texts gives the same answer, and who has others gives another one exactly when the question names one of
 * them. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "engine/frame.h"
#include "haproxy/model_direct.h"
#include "haproxy/proof.h"

#define ITEMS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct model *m, int number, const char *text)
{
    char id[24], key[24];
    snprintf(id, sizeof(id), "test#%d", number);
    snprintf(key, sizeof(key), "k%d", number);
    const struct contribution_input input = {.kind = CONTRIBUTION_MAP_ENTRY,
                                             .scope = "m",
                                             .scope_length = 1,
                                             .key = key,
                                             .key_length = strlen(key),
                                             .text = text,
                                             .text_length = strlen(text)};
    const struct fragment_head head = {.id = id, .template_name = "t", .owner_kind = "", .owner_id = ""};
    struct fragment *f = fragment_new(&head, &input, 1);
    model_fragment_put(m, f);
    fragment_unref(f);
}

/* Put in one direction or the other: the order must not matter. */
static struct model *make(bool backwards, const char *text)
{
    struct model *m = model_new();
    for (int i = 0; i < ITEMS; i++)
        put(m, backwards ? ITEMS - 1 - i : i, text);
    model_check_begin(m);
    model_check_end(m, true);
    return m;
}

/* Does a question that was answered name an item that is accepted? */
static bool names_one(const struct model *m, const char *question, size_t length)
{
    bool found = false;
    for (size_t at = 0, size = 0; at < length; at += size) {
        struct frame frame;
        struct field scope, key;
        struct err err;
        int64_t kind;
        char names[2][64] = {"", ""};
        int rc = frame_read(question + at, length - at, PROOF_QUESTION_MAX, &frame, &size, &err);
        assert(rc > 0);
        if (frame.type != FRAME_PROOF_ITEM)
            continue;
        rc = frame_number(&frame, 0, CONTRIBUTION_LAST, &kind, &err);
        assert(rc == 0);
        if (frame_field(&frame, &scope, &err) < 0 || frame_field(&frame, &key, &err) < 0)
            assert(false);
        if (scope.length >= sizeof(names[0]) || key.length >= sizeof(names[1]))
            continue; /* no item here has such a name */
        memcpy(names[0], scope.bytes, scope.length);
        memcpy(names[1], key.bytes, key.length);
        const struct item *item = model_item(m, (enum contribution_kind)kind, names[0], names[1]);
        found = found || (item && item->accepted);
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model *one, *same, *other;
    const char *question = (const char *)data;
    struct digest answer, again, different;
    struct err err = {0};

    if (!one) {
        one = make(false, "a");
        same = make(true, "a");
        other = make(false, "b");
    }
    if (proof_answer(one, question, size, &answer, &err) < 0) {
        assert(err.kind != ERR_NONE && err.text[0]);
        return 0;
    }
    int rc = proof_answer(same, question, size, &again, &err);
    assert(rc == 0 && digest_equal(answer, again));
    rc = proof_answer(other, question, size, &different, &err);
    assert(rc == 0 && digest_equal(answer, different) == !names_one(one, question, size));
    return 0;
}
