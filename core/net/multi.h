/* multi.h — libcurl transfers on a libuv loop.
 * Thread:  loop thread only.
 * Owns:    the curl multi handle with its connections, and one poll handle per socket.
 *
 * libcurl forbids adding and removing transfers inside its own callbacks (as when a watch's data make us start a
 * request). multi_is_busy() says so; what has to wait is done in the settle callback, which runs when libcurl has
 * returned.
 */
#ifndef HAPTIC_NET_MULTI_H
#define HAPTIC_NET_MULTI_H

#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

struct multi;

struct multi_ops {
    void (*finished)(void *ctx, CURL *easy, CURLcode result); /* the transfer has been removed */
    /* libcurl has returned and all finished() calls are made */
    void (*settle)(void *ctx);
};

struct multi *multi_new(uv_loop_t *loop, const struct multi_ops *ops, void *ctx);
/* Every transfer must have been removed. Its libuv handles close in the loop's next turn. */
struct multi *multi_free(struct multi *m);
/* So many idle connections are kept; 32 otherwise. */
void multi_keep(struct multi *m, long connections);
void multi_add(struct multi *m, CURL *easy);
void multi_remove(struct multi *m, CURL *easy);
bool multi_is_busy(const struct multi *m);

#endif
