/* running_servers.h — the servers that run before a test's rendering (currentServers, currentConfig), and whether they
 * keep their names.
 * Thread:  loop thread only.
 * Owns:    its strings.
 * Errors:  ERR_INVALID, through the reader.
 *
 * HAProxy keeps state, connections and checks by the name of a server. So a server that runs, and whose address the
 * rendering has in the same backend, must have the same name there. Templates do not see what runs.
 */
#ifndef HAPTIC_OFFLINE_RUNNING_SERVERS_H
#define HAPTIC_OFFLINE_RUNNING_SERVERS_H

#include "base/buf.h"
#include "base/vec.h"
#include "controller/config_read.h"
#include "haproxy/cfg.h"

struct running_server {
    char *backend;
    struct cfg_server *server;
    size_t line; /* of the test's file */
};
struct running_servers {
    VEC(struct running_server) items;
};
void running_servers_done(struct running_servers *list);

/* {BACKEND: {SERVER: {address, port}}} */
int running_servers_read(struct reader *r, yyjson_val *value, struct running_servers *list) MUST_CHECK;
/* The text of a haproxy.cfg. */
int running_servers_read_config(struct reader *r, yyjson_val *value, struct running_servers *list) MUST_CHECK;

/* Compare with a haproxy.cfg. fn gets what is wrong: the line of the test, and the line (from 1) of that file, 0 when
 * there is none. */
void running_servers_judge(const struct running_servers *list, const char *config, size_t length,
                           void (*fn)(void *ctx, size_t test_line, size_t line, const char *message), void *ctx);

#endif
