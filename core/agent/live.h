/* live.h — what the running HAProxy has: sections, servers, maps.
 * Thread:  loop thread only.
 * Owns:    everything in it.
 *
 * Made from the texts that HAProxy was started or reloaded with, corrected by what its command line tells, and carried
 * along with each operation that succeeded. What the command line cannot tell (words of a server line, rules of a
 * backend) is known from the texts alone; so a view holds for one lineage: a mark that was planted in the
 * configuration at its start.
 */
#ifndef HAPTIC_AGENT_LIVE_H
#define HAPTIC_AGENT_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vec.h"
#include "data/certificate.h"
#include "haproxy/cfg.h"
#include "haproxy/ssl_file.h"

/* A section that has no servers to change. */
struct live_section {
    struct digest text;
    char *from;
    struct buf default_words; /* of its default-server lines */
};

/* A backend or listen. */
struct live_backend {
    struct cfg_backend cfg;
    char *name; /* "shop_web_80" */
    bool listen;
    bool gone;    /* not wanted any more, and still there: on its way out, or kept unused until the next reload */
    bool unknown; /* found in HAProxy: neither the texts nor the journal tell its words */
    /* The last comparison in which HAProxy told its name; the last one in which its servers were compared. */
    uint64_t told, compared;
};

struct live_map {
    char *path;               /* the name HAProxy knows it by */
    struct map entries;       /* key → struct text */
    bool used;                /* HAProxy has it: its configuration refers to it */
    bool any_key;             /* all uses look up words or parts of them: no key can be wrong */
    bool leads;               /* values may reach the choice of a backend */
    bool integers, addresses; /* a use takes values for them: other values are wrong */
    bool unreadable; /* `get map` does not find a key by itself (it is a pattern): only whole lists can be compared */
    VEC(char *) duplicates; /* references of entries whose key came before */
};

/* A file for TLS. Its content is in files, while it is known. */
struct live_certificate {
    /* of that, as whatever HAProxy may have loaded it; else of what it has */
    struct ssl_file_mark marks[SSL_FILE_KINDS];
    bool loaded[SSL_FILE_KINDS]; /* HAProxy has it among those that can be changed */
};
bool live_certificate_is_loaded(const struct live_certificate *c); /* as anything; NULL: no */

#define LIVE_LINEAGE_SIZE 33

struct live {
    struct map sections;                /* "frontend http" → struct live_section */
    struct map backends;                /* "backend x", "listen y" → struct live_backend */
    struct map maps;                    /* "host.map" → struct live_map */
    struct map files;                   /* "files/x", "certs/y" → struct digest */
    struct map lists;                   /* "certs/x.list" → struct live_list */
    struct map certificates;            /* "certs/x.pem" → struct live_certificate */
    struct map obtained;                /* "acme/x.pem" → anything: loaded; HAProxy itself changes it */
    char *transactions[SSL_FILE_KINDS]; /* the file that an open transaction is about; NULL: none */
    struct map words;                   /* all words of the texts but for plain server lines: what may be a reference */
    struct map trusted; /* files of authorities and revocations that a server without a certificate of its own has
                           verified by since HAProxy began */
    bool implicit_from; /* a section without "from" takes the defaults section before it */
    char lineage[LIVE_LINEAGE_SIZE]; /* "" unknown */
    size_t leaving;                  /* servers that are leaving */
    uint64_t comparison;             /* number of the last one with what HAProxy tells */
    struct map waiting;              /* keys of backends that may have such a server, or may be gone: no others do */
};

struct live *live_new(void);
struct live *live_free(struct live *l); /* NULL is fine */

/* Take in a haproxy.cfg as it is on disk or about to be. */
void live_load_config(struct live *l, const char *text, size_t length);
/* A map by its file's content ("key value" lines). */
void live_load_map(struct live *l, const char *name, const char *text, size_t length);
void live_load_file(struct live *l, const char *path, const char *bytes, size_t length);
/* HAProxy is about to start with the loaded files. */
void live_starts(struct live *l);
/* before: another view of the same process. Its counters of lists hold until a comparison shows other lines. */
void live_take_counters(struct live *l, const struct live *before);

/* Correct by answers of the command line. */
/* A merge takes answers in step by step, so that it can be done in slices. Until it is freed, nothing else changes the
 * view, and the answers stay as they are. A merge that is freed before its end leaves each backend and each entry
 * either as it was or as the answers have it. */
struct live_merge;
/* Of `show backend`, then `show servers state`. */
struct live_merge *live_merge_servers(struct live *l, const char *show_backend, const char *show_servers_state);
/* Of `show map NAME`: these are the entries of the map. */
struct live_merge *live_merge_map(struct live_map *map, const char *show_map);
/* steps: lines of the answers, and backends or entries that are looked at, before it returns. True: all is merged. */
bool live_merge_step(struct live_merge *m, size_t steps) MUST_CHECK;
struct live_merge *live_merge_free(struct live_merge *m); /* NULL is fine; always returns NULL */
/* `show map` without a name: the names HAProxy knows the maps by. A map that nothing in its configuration refers to is
 * only a file. */
void live_merge_map_names(struct live *l, const char *show_map);

/* The servers that `show servers state BACKEND` lists, sorted by name, their words unknown. ret_found must be
 * zeroed. */
void live_parse_servers(const char *show_servers_state, struct cfg_backend *ret_found);

/* `show ssl cert`, `… ca-file`, `… crl-file` and `show ssl crt-list` without a name: which are loaded, and transactions
 * that are open. */
void live_merge_certificates(struct live *l, const char *const show_ssl[SSL_FILE_KINDS], const char *show_ssl_crt_list);
/* HAProxy has it as that, with that content, now. */
void live_certificate_set(struct live *l, const char *path, enum ssl_file_kind kind, const struct digest *content,
                          const struct ssl_file_mark *mark);
/* Is it the path of a crt-list? */
bool live_path_is_list(const char *path);
/* For live.c: a file was taken in; everything of this file is dropped. */
void live_load_certificate(struct live *l, const char *path, const char *bytes, size_t length);
void live_certificates_done(struct live *l);

bool live_name_is_backend(const char *section); /* or listen: its servers are known one by one */
struct live_section *live_section(const struct live *l, const char *name);
struct live_backend *live_backend(const struct live *l, const char *name); /* "backend x" */
struct live_map *live_map(const struct live *l, const char *name);
/* Could the texts refer to something of this name, otherwise than by the value of a map entry? */
bool live_refers(const struct live *l, const char *name);
/* Does a text have name as a whole word, or as a part of one between "/"? Quotes and backslashes do not count. */
bool live_text_refers(const char *text, size_t length, const char *name);
/* Has a server without a certificate of its own verified by this file since HAProxy began? Such a server keeps the
 * content that it began with. */
bool live_is_trusted(const struct live *l, const char *path);
/* For live*.c and what adds a single server: the words of a text, of a server or of default-server lines. */
void live_note_words(struct live *l, const char *text, size_t length);
void live_note_trusted(struct live *l, const char *words, size_t length);
/* Words of default-server lines along the chain of defaults sections. Appends. */
void live_default_words(const struct live *l, const char *from, struct buf *out);

struct live_backend *live_backend_get(struct live *l, const char *name); /* made when unknown */
void live_backend_drop(struct live *l, const char *name);
/* cfg is what it has from now on; it is emptied. */
void live_backend_take(struct live *l, struct live_backend *b, struct cfg_backend *cfg);
/* It is gone, or has a server that is leaving: it is among those waiting from now on. */
void live_backend_wait(struct live *l, const struct live_backend *b);
void live_map_clear(struct live_map *map);
void live_map_set(struct live_map *map, const char *key, struct text *value); /* NULL: absent */

/* Does `get map` tell that the key has this value (NULL: is absent)? A map of prefixes answers with the longest entry
 * that matches: another key than the one asked for means that this one is absent. *ret_understood is false when the
 * answer has another form. */
bool live_map_answer_is(const char *get_map, const char *key, const char *wanted, bool *ret_understood);

#endif
