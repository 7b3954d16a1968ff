/* A backend of the model, with the values of Secrets. */
#include "agent/agent_state.h"

int wanted_parse(const struct agent *a, const char *name, enum model_state state, struct cfg_backend *ret_wanted,
                 bool *ret_is_wanted, struct err *err)
{
    CLEANUP(expand_wipe) struct buf text = {0};
    const char *from = NULL;
    const struct section *s = model_section(a->model, name);
    *ret_is_wanted = s && model_section_text(a->model, s, state, &text, &from);
    if (!*ret_is_wanted)
        return 0;
    if (expand_buf(a->config.vault, EXPAND_CONFIG, &text, NULL, err) < 0)
        return err_wrap(err, "%s", name);
    cfg_backend_parse(buf_str(&text), text.length, from, ret_wanted);
    return 0;
}
