#include "cmd/ask_agent.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "cmd/version.h"
#include "haproxy/expand.h"
#include "net/credentials.h"
#include "net/peer.h"

#define TIMEOUT_NS (30 * NS_PER_S)
#define PEM_MAX ((size_t)1 << 20)
#define ANSWER_MAX ((size_t)512 << 20)

struct asking {
    bool is_there;
    const char *path;
    struct buf *body;
    int result;
    struct err *err;
};

static void on_answer(void *ctx, const struct peer_answer *answer, const struct err *err)
{
    struct asking *a = ctx;

    a->is_there = true;
    a->result = -1;
    if (err != NULL)
        *a->err = *err;
    else if (answer->status == 404)
        err_set(a->err, ERR_NOTFOUND, "%s: 404", a->path);
    else if (answer->status != 200)
        err_set(a->err, ERR_IO, "%s: HTTP %ld", a->path, answer->status);
    else
        a->result = 0;
    if (a->result == 0)
        buf_add(a->body, answer->body, answer->length);
}

static int read_pem(const char *option, const char *path, struct buf *out, struct err *err)
{
    if (path == NULL)
        return err_set(err, ERR_INVALID, "an agent is asked over mutual TLS: give --%s as haptic run has it", option);
    return credentials_read_file(path, out, err) < 0 ? err_wrap(err, "--%s", option) : 0;
}

static int set_identity(struct peers *peers, const struct ask_agent *a, struct err *err)
{
    CLEANUP(expand_wipe)
    struct buf authority = {.max = PEM_MAX}, certificate = {.max = PEM_MAX}, key = {.max = PEM_MAX};

    if (read_pem("fleet-ca", a->authority, &authority, err) < 0 ||
        read_pem("fleet-cert", a->certificate, &certificate, err) < 0 || read_pem("fleet-key", a->key, &key, err) < 0)
        return -1;
    const struct peer_identity identity = {
        .authority = buf_str(&authority), .certificate = buf_str(&certificate), .key = buf_str(&key)};
    return peers_set_identity(peers, &identity, err);
}

int ask_agent(uv_loop_t *loop, const struct ask_agent *a, const char *path, struct buf *ret_body, struct err *err)
{
    struct peer_address address;
    CLEANUP(free_ptr) char *url = xasprintf("https://%s", a->address);

    if (peer_address_parse(url, &address, err) < 0)
        return err_set(err, ERR_INVALID, "\"" ASK_AGENT_PREFIX "%.128s\": write " ASK_AGENT_PREFIX "HOST:PORT",
                       a->address);
    struct peers *peers = peers_new(loop, "haptic/" HAPTIC_VERSION, a->name);
    struct asking asking = {.path = path, .body = ret_body, .err = err, .result = set_identity(peers, a, err)};
    if (asking.result == 0) {
        const struct peer_call call = {.address = &address,
                                       .path = path,
                                       .timeout_ns = TIMEOUT_NS,
                                       .max_answer = ANSWER_MAX,
                                       .done = on_answer,
                                       .ctx = &asking};
        (void)peers_start(peers, &call);
        while (!asking.is_there)
            uv_run(loop, UV_RUN_ONCE);
    }
    peers_free(peers);
    uv_run(loop, UV_RUN_NOWAIT);
    return asking.result == 0 ? 0 : err_wrap(err, ASK_AGENT_PREFIX "%s", a->address);
}
