/* client.h — requests to the API server.
 * Thread:  loop thread only; every callback runs on it, and never from inside the call that started the request.
 * Owns:    its connections and its requests. The configuration is taken over.
 * Units:   *_ns clock_now_ns() nanoseconds; *_bytes after decompression.
 * Errors:  by the done callback: DENIED NOTFOUND CONFLICT GONE LIMIT INVALID as the server says (kube/status.h),
 *          TIMEOUT (the deadline, or the server's own), IO (no connection, cut off, 429, 5xx). sys is not 0 where not
 *          even a connection came about.
 * Source:  Kubernetes API concepts.
 *
 * HTTP/2 where the server offers it; a connection carries one request at a time and is kept for the next. One whose
 * peer stops acknowledging is given up by the kernel after 10 s, whatever the request on it waits for.
 */
#ifndef HAPTIC_KUBE_CLIENT_H
#define HAPTIC_KUBE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/metric.h"
#include "kube/config.h"

struct kube_client;
struct kube_request;

struct kube_client_options {
    const char *version;        /* in the user agent: "haptic/<version> (linux/amd64)" */
    struct metrics *metrics;    /* haptic_kube_requests_total{verb,code}, …; NULL: none */
    int64_t connect_timeout_ns; /* 0: 10 s */
    size_t max_response_bytes;  /* 0: 64 MiB; of answers that are collected, not streamed */
    bool http1_only;
};

/* Moves *config into the client, and leaves it empty. */
struct kube_client *kube_client_new(uv_loop_t *loop, struct kube_config *config,
                                    const struct kube_client_options *options);
/* Cancels every request. Its libuv handles close in the loop's next turns. Not from inside a callback of the client. */
struct kube_client *kube_client_free(struct kube_client *c);

/* A connection went silent: the next request opens another one. */
void kube_client_distrust(struct kube_client *c);
uv_loop_t *kube_client_loop(const struct kube_client *c);
const struct kube_config *kube_client_config(const struct kube_client *c);

struct kube_response {
    long status;      /* HTTP; 0: no answer */
    const char *body; /* what was collected; valid during the callback; NUL at its end */
    size_t length;
    int64_t retry_after_ns; /* what the server asked for; 0: nothing */
    int64_t received_ns;    /* when the last bytes were read */
};

/* err is NULL for 2xx. The request is gone when this is called. */
typedef void kube_done(void *ctx, const struct kube_response *response, const struct err *err);

/* Strings are copied. */
struct kube_call {
    const char *what;   /* "list ingresses.networking.k8s.io", for messages */
    const char *method; /* NULL: GET */
    const char *path;   /* with its query */
    const char *body;   /* NULL: none */
    size_t body_length;
    const char *content_type;   /* NULL: application/json */
    const char *accept;         /* NULL: application/json */
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    int64_t deadline_ns;        /* clock_now_ns() at which it fails with ERR_TIMEOUT; 0: never */
    size_t max_response_bytes;  /* 0: the client's */
    unsigned retries;           /* on 429 and 5xx with Retry-After, while the deadline allows */
    void (*opened)(void *ctx);  /* a 2xx answer has begun, its body may take its time; may cancel. NULL: not wanted */
    /* Streaming: bytes of a 2xx answer are given here as they arrive and not collected. The request may be cancelled
     * from in it. */
    void (*data)(void *ctx, const char *bytes, size_t length, int64_t received_ns);
    kube_done *done;
    void *ctx;
    void (*free_ctx)(void *ctx); /* called last, whether done() was or not; may be NULL */
};

struct kube_request *kube_request_start(struct kube_client *c, const struct kube_call *call);
/* NULL is fine; always returns NULL. No callback is called afterwards. */
struct kube_request *kube_request_cancel(struct kube_request *r);

#endif
