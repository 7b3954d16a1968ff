/* pump.h — libmicrohttpd in its external mode: when the loop runs it.
 * Thread:  loop thread only.
 * Owns:    three handles of the loop; borrows the daemon.
 * Source:  libmicrohttpd's manual, "External event loop"; MHD_get_timeout() says when it wants to be run again.
 *
 * It is run when its descriptor is readable, when its next time-out is over, and once more when it says that it has not
 * come to its end. While somebody has connected and not finished the handshake of TLS, libmicrohttpd (0.9.75) says that
 * it has not, all the time, though it waits for the network like everybody. So it is run more and more rarely then;
 * what comes from the network makes it run at once in any case.
 */
#ifndef HAPTIC_HTTP_PUMP_H
#define HAPTIC_HTTP_PUMP_H

#include <microhttpd.h>
#include <stdbool.h>
#include <uv.h>

#include "http/crowd.h"

struct pump {
    struct MHD_Daemon *daemon;
    const struct crowd *crowd; /* NULL: nobody has to finish a handshake */
    unsigned moving;           /* requests that are being received or answered; the server counts */
    bool runs;                 /* inside MHD_run() */
    uint64_t pause_ms;         /* until the next run without a reason */
    uv_poll_t poll;
    uv_timer_t timer;
    uv_idle_t again;
    int open_handles;
    void (*closed)(void *ctx);
    void *ctx;
};

/* Its first run is made inside. */
void pump_begin(struct pump *p, uv_loop_t *loop, struct MHD_Daemon *daemon, const struct crowd *crowd);
/* A connection was resumed: run, not from inside a callback of libmicrohttpd. */
void pump_wake(struct pump *p);
/* closed: no handle is left; it stops the daemon. */
void pump_end(struct pump *p, void (*closed)(void *ctx), void *ctx);

#endif
