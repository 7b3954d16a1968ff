/* stage.h — a real HAProxy with what was rendered, on this machine, for requests of a test.
 * Thread:  loop thread only; blocks while HAProxy starts and while it answers.
 * Owns:    the process, which ends with this one; a folder of its own; the stand-in for all servers.
 * Errors:  ERR_HAPROXY: it does not start, with its words; ERR_NOTFOUND: nobody listens there; ERR_INVALID: the request
 *          is wrong; ERR_SYS. That no answer comes is no error but an answer.
 *
 * What the files of a rendering say is what runs, but for listening addresses and servers: see stage_text.h.
 */
#ifndef HAPTIC_OFFLINE_STAGE_H
#define HAPTIC_OFFLINE_STAGE_H

#include "net/exchange.h"
#include "offline/stand_in.h"
#include "offline/workbench.h"

struct stage;

/* Strings are borrowed; NULL: the fallback that is named. */
struct stage_request {
    const char *host;   /* "" */
    const char *path;   /* "/" */
    const char *method; /* GET, or POST with a body */
    const char *const *headers;
    const char *body;
    size_t body_length; /* 0: up to its NUL */
    enum exchange_version version;
    bool tls;
    int port;        /* 0: the first listener, with or without TLS as the request has it */
    const char *sni; /* the host without its port */
    const char *certificate, *key;
    const char *source; /* an address: 192.0.2.1 */
    /* What a proxy in front says with the PROXY protocol; NULL: it says nothing. */
    const char *proxy_source;
};

struct stage_answer {
    struct exchange_answer http;       /* status 0: no answer */
    char closed[256];                  /* why there is none */
    char *frontend, *backend, *server; /* "": not known, or none */
    size_t line;                       /* of haproxy.cfg: the rule that decided; 0: not known */
    struct stand_in_records received;  /* by servers, in their order */
};

/* The scripts and their strings are borrowed for the stage's life. */
int stage_new(struct workbench *w, const char *haproxy_binary, const struct stand_in_script *scripts,
              size_t script_count, struct stage **ret_stage, struct err *err) MUST_CHECK;
struct stage *stage_free(struct stage *s); /* NULL is fine */
int stage_ask(struct stage *s, const struct stage_request *request, struct stage_answer *ret_answer, struct err *err)
    MUST_CHECK;
void stage_answer_done(struct stage_answer *a);

#endif
