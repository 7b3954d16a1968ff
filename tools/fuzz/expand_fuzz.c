/* The first line of the input is the value of a Secret, the rest a text in which "@" stands for its handle: both
 * hostile. In haproxy.cfg the words of each line stay what they were, with the value in the handles' places; nothing
 * else may change; and no text for people has the value.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "haproxy/cfg.h"
#include "haproxy/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replace(const char *text, size_t length, const char *from, size_t from_length, const char *to,
                    size_t to_length, struct buf *out)
{
    for (size_t i = 0; i < length;) {
        if (length - i >= from_length && memcmp(text + i, from, from_length) == 0) {
            buf_add(out, to, to_length);
            i += from_length;
        } else {
            buf_putc(out, text[i++]);
        }
    }
}

static void words_are_kept(const struct buf *text, const struct buf *expanded, const char *handle, const char *value,
                           size_t length)
{
    CLEANUP(buf_done) struct buf before = {0}, after = {0}, wanted = {0};
    size_t count_before = 0, count_after = 0;
    bool plain;
    if (memchr(buf_str(text), '\n', text->length) ||
        cfg_words(buf_str(text), text->length, &before, &count_before, &plain, NULL) < 0)
        return;
    int result = cfg_words(buf_str(expanded), expanded->length, &after, &count_after, &plain, NULL);
    assert(result == 0);
    assert(count_before == count_after);
    replace(buf_str(&before), before.length, handle, VAULT_HANDLE_LENGTH, value, length, &wanted);
    assert(after.length == wanted.length && memcmp(buf_str(&after), buf_str(&wanted), wanted.length) == 0);
}

static void lines_are_kept(const struct buf *text, const struct buf *expanded)
{
    size_t before = 0, after = 0;
    for (size_t i = 0; i < text->length; i++)
        before += text->data[i] == '\n';
    for (size_t i = 0; i < expanded->length; i++)
        after += expanded->data[i] == '\n';
    assert(before == after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *value = (const char *)data, *end = memchr(value, '\n', size);
    size_t length = end ? (size_t)(end - value) : 0;
    char handle[VAULT_HANDLE_LENGTH + 1];
    const struct vault_name name = {"ns", "name", "uid", "1", "key"};
    struct vault *v = vault_new(1 << 20);
    struct vault_hold *hold = NULL;
    CLEANUP(buf_done) struct buf text = {0}, redacted = {0};
    int result = vault_put(v, &hold, &name, value, length, handle, NULL);

    assert(result == 0);
    if (end)
        replace(end + 1, size - length - 1, "@", 1, handle, VAULT_HANDLE_LENGTH, &text);
    for (int as = EXPAND_CONFIG; as <= EXPAND_FILE; as++) {
        CLEANUP(buf_done) struct buf out = {0}, wanted = {0};
        struct err err = {0};
        if (expand(v, (enum expand_as)as, buf_str(&text), text.length, &out, NULL, &err) < 0) {
            assert(err.kind == ERR_NOTFOUND || err.kind == ERR_INVALID);
            continue;
        }
        if (as == EXPAND_CONFIG)
            words_are_kept(&text, &out, handle, value, length);
        else
            replace(buf_str(&text), text.length, handle, VAULT_HANDLE_LENGTH, value, length, &wanted);
        if (as == EXPAND_CONFIG || as == EXPAND_MAP)
            lines_are_kept(&text, &out);
        if (as == EXPAND_FILE)
            assert(out.length == wanted.length && memcmp(buf_str(&out), buf_str(&wanted), out.length) == 0);
    }
    struct vault_value got;
    result = vault_get(v, handle, &got, NULL);
    assert(result == 0);
    vault_redact(v, (const char *)data, size, &redacted);
    /* Next to a handle's own letters a text may look like the value; a line end is in no value. */
    CLEANUP(buf_done) struct buf rest = {0};
    replace(buf_str(&redacted), redacted.length, handle, VAULT_HANDLE_LENGTH, "\n", 1, &rest);
    assert(length < VAULT_REDACT_MIN || !memmem(buf_str(&rest), rest.length, value, length));
    vault_release(hold);
    vault_free(v);
    return 0;
}
