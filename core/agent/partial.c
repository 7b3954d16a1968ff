/* A backend that needs a reload may have to wait for it. Until then, commands bring its servers as near to the wanted
 * state as they can: addresses, weights, states, new servers and deleted servers. The rules of the backend, and the
 * words of an existing server, change only with the reload.
 */
#include <stdlib.h>

#include "agent/agent_state.h"
#include "base/alloc.h"

/* The server that commands can make; NULL when they cannot make it. */
static struct cfg_server *server_in_reach(const struct agent *a, const struct cfg_server *wanted,
                                          const struct cfg_server *live)
{
    struct cfg_server *s;
    if (!live)
        return wanted->literal && wanted->plain && a->caps.dynamic_servers
                   ? cfg_server_copy(wanted, wanted->address, wanted->port)
                   : NULL;
    bool movable = wanted->literal && live->literal && wanted->plain && !wanted->port == !live->port &&
                   (!live->words_known || cfg_server_same_words(wanted, live));
    if (!movable)
        return live->leaving ? NULL : cfg_server_copy(live, live->address, live->port);
    s = cfg_server_copy(live, wanted->address, wanted->port);
    s->weight = wanted->weight;
    s->admin = wanted->admin;
    s->leaving = false;
    return s;
}

static struct cfg_backend without_servers(const struct cfg_backend *b)
{
    struct cfg_backend copy = {.from = xstrdup(b->from ? b->from : ""), .other = b->other};
    buf_add(&copy.default_words, buf_str(&b->default_words), b->default_words.length);
    return copy;
}

bool backend_in_reach(const struct agent *a, const struct cfg_backend *wanted, const struct live_backend *live,
                      struct cfg_backend *ret_reach, struct cfg_backend *ret_view)
{
    bool serves = false;
    if (wanted->by_hand || (live->cfg.by_hand && !live->unknown) || (live->gone && !live->unknown))
        return false;
    struct cfg_backend reach = without_servers(&live->cfg);
    for (size_t i = 0; i < wanted->servers.length; i++) {
        const struct cfg_server *w = wanted->servers.items[i];
        struct cfg_server *s = server_in_reach(a, w, cfg_backend_server(&live->cfg, w->name));
        if (!s)
            continue;
        serves |= s->admin == CFG_READY;
        s->words_known = true;
        cfg_backend_insert(&reach, s);
    }
    /* Servers that cannot be replaced now must not be removed. */
    if (!serves && wanted->servers.length) {
        cfg_backend_done(&reach);
        return false;
    }
    *ret_reach = reach;
    *ret_view = without_servers(&live->cfg);
    for (size_t i = 0; i < live->cfg.servers.length; i++) {
        const struct cfg_server *from = live->cfg.servers.items[i];
        struct cfg_server *s = cfg_server_copy(from, from->address, from->port);
        s->words_known = true;
        cfg_backend_insert(ret_view, s);
    }
    return true;
}
