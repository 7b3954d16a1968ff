/* list_uses.h — which files the lines of crt-lists name.
 * Thread:  loop thread only.
 * Owns:    nothing; a use points into the text it was read from.
 */
#ifndef HAPTIC_AGENT_LIST_USES_H
#define HAPTIC_AGENT_LIST_USES_H

#include "agent/agent_state.h"

/* The certificate and the options of one crt-list line. */
struct use {
    const char *certificate, *options;
    size_t certificate_length, options_length;
};
#define USES_MAX 8

/* Of an item's text: "certs/a.pem certs/b.pem [alpn h2]". Returns how many there are. */
size_t uses_of(const char *text, struct use uses[USES_MAX]);

struct naming {
    void (*fn)(void *ctx, enum ssl_file_kind kind, const char *path, size_t length);
    void *ctx;
};

/* The files that the options of a line name. */
void options_each_file(const struct naming *naming, const struct use *use);
/* The files that a name of a list that HAProxy has loaded leads to, in the wanted state. */
void lists_item_files(const struct agent *a, const struct item *item,
                      void (*fn)(void *ctx, enum ssl_file_kind kind, const char *path, size_t length), void *ctx);
/* The files that loaded lists name in the wanted state. */
void lists_each_file(const struct agent *a,
                     void (*fn)(void *ctx, enum ssl_file_kind kind, const char *path, size_t length), void *ctx);

#endif
