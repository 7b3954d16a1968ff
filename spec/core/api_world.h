/* api_world.h — what tests of the two ends of the agents' API share: a loop, certificates of a fleet, a server.
 *
 * Static functions in a header: each test is one program of one file.
 */
#ifndef SPEC_CORE_API_WORLD_H
#define SPEC_CORE_API_WORLD_H

#include "haproxy_support.h"

#include "http/api.h"
#include "net/authority.h"
#include "net/peer.h"

struct api_world {
    uv_loop_t loop;
    char *directory, *files[3];
    struct buf authority, authority_key, ours[2], theirs[2]; /* PEM: the agent's and the controller's */
    struct identity *identity;
    struct api_server *server; /* of an agent, without a route */
};

static UNUSED char *api_world_file(const struct api_world *w, const char *name, const struct buf *text)
{
    file_write(w->directory, name, buf_str(text));
    return xasprintf("%s/%s", w->directory, name);
}

static UNUSED void api_world_issue(struct api_world *w, enum authority_role role, struct buf pair[2])
{
    struct err err;
    assert_int_equal(authority_issue(buf_str(&w->authority), buf_str(&w->authority_key), role, "haptic-agent",
                                     time(NULL), 3600, &pair[0], &pair[1], &err),
                     0);
}

static UNUSED void api_world_begin(struct api_world *w)
{
    struct err err;
    *w = (struct api_world){.directory = directory_new()};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(authority_make(time(NULL), &w->authority, &w->authority_key, &err), 0);
    api_world_issue(w, AUTHORITY_AGENT, w->ours);
    api_world_issue(w, AUTHORITY_CONTROLLER, w->theirs);
    w->files[0] = api_world_file(w, "crt", &w->ours[0]);
    w->files[1] = api_world_file(w, "key", &w->ours[1]);
    w->files[2] = api_world_file(w, "ca", &w->authority);
    const struct identity_files files = {w->files[0], w->files[1], w->files[2]};
    assert_int_equal(identity_new(&files, &w->identity, &err), 0);
    assert_int_equal(api_server_new(&w->loop, "127.0.0.1", 0, w->identity, (size_t)8 << 20, &w->server, &err), 0);
}

/* The clients' side. Borrowed from the world. */
static UNUSED struct peer_identity api_world_client(const struct api_world *w)
{
    return (struct peer_identity){buf_str(&w->authority), buf_str(&w->theirs[0]), buf_str(&w->theirs[1])};
}

static UNUSED void api_world_end(struct api_world *w)
{
    api_server_free(w->server);
    loop_end(&w->loop);
    identity_free(w->identity);
    for (size_t i = 0; i < ARRAY_LEN(w->files); i++)
        free(w->files[i]);
    for (size_t i = 0; i < 2; i++) {
        buf_done(&w->ours[i]);
        buf_done(&w->theirs[i]);
    }
    buf_done(&w->authority);
    buf_done(&w->authority_key);
    directory_remove(w->directory);
}

#endif
