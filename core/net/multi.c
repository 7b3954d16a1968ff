/* The usual pairing: libcurl says by callbacks which sockets to poll and when to wake it, libuv does both, and each
 * wake-up is one curl_multi_socket_action(). Finished transfers are taken out only after that call has returned. */
#include "net/multi.h"

#include "base/alloc.h"
#include "net/timer.h"

struct multi {
    uv_loop_t *loop;
    CURLM *curl;
    struct net_timer *timer;
    unsigned depth; /* of calls into libcurl that may run callbacks */
    const struct multi_ops *ops;
    void *ctx;
};

struct multi_socket {
    uv_poll_t poll;
    curl_socket_t fd;
    struct multi *multi;
};

static void act(struct multi *m, curl_socket_t fd, int events)
{
    int running;
    m->depth++;
    curl_multi_socket_action(m->curl, fd, events, &running);
    m->depth--;
    CURLMsg *msg;
    int left;
    while ((msg = curl_multi_info_read(m->curl, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURL *easy = msg->easy_handle;
        CURLcode result = msg->data.result;
        curl_multi_remove_handle(m->curl, easy); /* msg is gone with it */
        m->ops->finished(m->ctx, easy, result);
    }
    m->ops->settle(m->ctx);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct multi_socket *s = poll->data;
    int bits = status < 0 ? CURL_CSELECT_ERR : 0;
    if (events & UV_READABLE)
        bits |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        bits |= CURL_CSELECT_OUT;
    act(s->multi, s->fd, bits);
}

static void on_timer(void *ctx)
{
    act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct multi *m = ctx;
    struct multi_socket *s = socket_ctx;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            curl_multi_assign(m->curl, fd, NULL);
            uv_poll_stop(&s->poll);
            uv_close((uv_handle_t *)&s->poll, on_poll_closed);
        }
        return 0;
    }
    if (!s) {
        s = xcalloc(1, sizeof(*s));
        s->fd = fd;
        s->multi = m;
        if (uv_poll_init_socket(m->loop, &s->poll, fd) != 0) {
            free(s);
            return -1;
        }
        s->poll.data = s;
        curl_multi_assign(m->curl, fd, s);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&s->poll, events, on_poll) == 0 ? 0 : -1;
}

static int want_timer(CURLM *curl, long timeout_ms, void *ctx)
{
    struct multi *m = ctx;
    (void)curl;
    if (timeout_ms < 0)
        net_timer_stop(m->timer);
    else
        net_timer_start(m->timer, (int64_t)timeout_ms * 1000000);
    return 0;
}

struct multi *multi_new(uv_loop_t *loop, const struct multi_ops *ops, void *ctx)
{
    struct multi *m = xcalloc(1, sizeof(*m));
    m->loop = loop;
    m->ops = ops;
    m->ctx = ctx;
    m->timer = net_timer_new(loop, on_timer, m);
    m->curl = curl_multi_init();
    if (!m->curl)
        abort();
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    /* One transfer at a time on a connection, with HTTP/2 as well: libcurl 7.88 (Debian 12) now and then leaves the
     * bytes of one stream lying while it reads another's. And a lease request does not wait behind a list this way. */
    curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, 32L);
    return m;
}

struct multi *multi_free(struct multi *m)
{
    if (!m)
        return NULL;
    curl_multi_cleanup(m->curl); /* asks for the removal of what is still polled */
    net_timer_free(m->timer);
    free(m);
    return NULL;
}

void multi_keep(struct multi *m, long connections)
{
    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, connections);
}

void multi_add(struct multi *m, CURL *easy)
{
    curl_multi_add_handle(m->curl, easy);
}

void multi_remove(struct multi *m, CURL *easy)
{
    m->depth++;
    curl_multi_remove_handle(m->curl, easy);
    m->depth--;
}

bool multi_is_busy(const struct multi *m)
{
    return m->depth > 0;
}
