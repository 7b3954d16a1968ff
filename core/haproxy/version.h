/* version.h — what a HAProxy can do.
 * Source:  asked of the binary (`haproxy -vv`) or of the running process (`show version`, `help`), never guessed from a
 *          package name.
 */
#ifndef HAPTIC_HAPROXY_VERSION_H
#define HAPTIC_HAPROXY_VERSION_H

#include <stdbool.h>

#include "base/err.h"

struct haproxy_caps {
    int major, minor, patch;
    char text[64];             /* "3.2.1-1" */
    bool dynamic_servers;      /* add server, del server */
    bool server_removable;     /* wait … srv-removable */
    bool dynamic_backends;     /* add backend … from …, publish backend, del backend (3.4) */
    bool reload_reports;       /* the master CLI's reload waits and answers Success=… (2.7) */
    bool authorities_in_parts; /* add ssl ca-file (2.7) */
    /* Sessions that were begun under other authorities or revocations are not taken up again (3.2). */
    bool authorities_end_sessions;
    bool quic;
    bool lua;
    bool acme;         /* obtains certificates, and the command line can save them (3.4) */
    bool quic_limited; /* its TLS library has no QUIC: `limited-quic` is needed, and 0-RTT is missing */
};

/* Parse "HAProxy version 3.2.1-1 2025/…" or "3.2.1-1". quic, quic_limited, lua and acme are known only from the output
 * of `haproxy -vv`, which begins with that line too. */
int haproxy_version_parse(const char *text, struct haproxy_caps *ret_caps, struct err *err) MUST_CHECK;
/* Refine by the output of the CLI's `help` (of a worker, at level admin). */
void haproxy_caps_from_help(struct haproxy_caps *caps, const char *help_text);

#endif
