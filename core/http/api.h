/* api.h — an API over TLS 1.3: the agent's, for clients with a certificate of the controller's authority, or the
 * admission webhook, for whoever knows its address.
 * Thread:  loop thread only; libmicrohttpd runs in its external mode.
 * Owns:    the listening socket, its connections, the bodies that are being received (wiped when dropped).
 * Errors:  ERR_INVALID for an address, ERR_SYS with it when it cannot be bound.
 *
 * Limits: 256 connections, of one address 64, beyond which the quietest has to leave (crowd.h); API_BODIES_MAX bodies
 * at a time; a body of at most max_body bytes, received within API_BODY_NS; 15 s without progress end a connection.
 * Whoever has no right certificate gets no answer: the handshake fails.
 */
#ifndef HAPTIC_HTTP_API_H
#define HAPTIC_HTTP_API_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"
#include "http/identity.h"

#define API_BODIES_MAX 4U
#define API_BODY_NS (60 * NS_PER_S)

struct api_server;
struct api_request;

/* The request is answered by one call of api_answer(), at once or later. body: valid during the call. */
typedef void api_handler(void *ctx, struct api_request *request, const char *body, size_t length);

/* address: as listen.h has it. Sessions of GnuTLS lead back to one identity per process: at most one server. */
int api_server_new(uv_loop_t *loop, const char *address, uint16_t port, struct identity *identity, size_t max_body,
                   struct api_server **ret_server, struct err *err) MUST_CHECK;
/* method: "GET" or "POST"; borrowed, as path is. */
void api_server_route(struct api_server *s, const char *method, const char *path, api_handler *handler, void *ctx);
/* A header of the request; NULL: it has none of this name. Valid until the request is answered. */
const char *api_header(const struct api_request *request, const char *name);
/* json: taken; left empty. */
void api_answer(struct api_request *request, unsigned status, const char *content_type, struct buf *body);
/* Other limits of bodies: so many at a time, each received within that time. Where there is no room for one more, the
 * oldest one goes that has taken longer than patience_ns (0: none). */
void api_server_limit_bodies(struct api_server *s, unsigned bodies, int64_t body_ns, int64_t patience_ns);
/* Requests that were refused for a limit. */
uint64_t api_server_refused(const struct api_server *s);
/* This server will end soon: each connection ends with its next answer, so clients that keep one go elsewhere. */
void api_server_drain(struct api_server *s);
uint16_t api_server_port(const struct api_server *s);
struct api_server *api_server_free(struct api_server *s); /* NULL is fine; run the loop once more */

#endif
