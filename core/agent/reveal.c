/* The agent compares and sends texts with the values of Secrets, because HAProxy reports texts with values. Texts for
 * people contain handles.
 */
#include <string.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

int reveal_entry(const struct agent *a, const char *key, struct text *value, struct revealed_entry *ret_entry,
                 struct err *err)
{
    CLEANUP(expand_wipe) struct buf bytes = {0};
    *ret_entry = (struct revealed_entry){.key = key, .value = value};
    if (vault_is_in(key, strlen(key))) {
        if (expand(a->config.vault, EXPAND_MAP_KEY, key, strlen(key), &bytes, NULL, err) < 0)
            return -1;
        ret_entry->key = ret_entry->own_key = buf_steal(&bytes);
    }
    if (value && vault_is_in(value->bytes, value->length)) {
        if (expand(a->config.vault, EXPAND_MAP_VALUE, value->bytes, value->length, &bytes, NULL, err) < 0) {
            reveal_entry_done(ret_entry);
            return -1;
        }
        ret_entry->value = text_new(buf_str(&bytes), bytes.length);
    } else {
        text_ref(value);
    }
    return 0;
}

void reveal_entry_done(struct revealed_entry *entry)
{
    if (entry->own_key)
        explicit_bzero(entry->own_key, strlen(entry->own_key));
    free(entry->own_key);
    text_unref(entry->value);
    *entry = (struct revealed_entry){0};
}

char *agent_redacted(const struct agent *a, const char *text)
{
    struct buf clean = {0};
    vault_redact(a->config.vault, text, strlen(text), &clean);
    return buf_steal(&clean);
}

void agent_redact(const struct agent *a, char **text)
{
    if (!*text)
        return;
    char *clean = agent_redacted(a, *text);
    free(*text);
    *text = clean;
}
