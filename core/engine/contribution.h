/* contribution.h — what one fragment of the templates gives to the output.
 * Thread:  loop thread only (counts are not atomic).
 * Owns:    a fragment owns its contributions and all their bytes.
 *
 * A rendering is a set of contributions that know their owners. A fragment is one run of a template function: for one
 * object (each) or for the whole (static). Equal inputs give equal fragments on every replica.
 */
#ifndef HAPTIC_ENGINE_CONTRIBUTION_H
#define HAPTIC_ENGINE_CONTRIBUTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum contribution_kind {
    /* Lines of a section. scope: the section's header without "from" ("backend shop_web_80", "frontend http",
     * "global"); key: names the piece within the section, unique ("body"); rank: order of the section in the file;
     * order: of the piece within the section; text: complete lines, each ended by a newline, without indentation. */
    CONTRIBUTION_SECTION,
    /* The defaults section that a section is derived from. scope: as above; key: "from"; text: its name. */
    CONTRIBUTION_SECTION_FROM,
    /* scope: map file name ("path-prefix.map"); key: the key; text: the value. A key of the empty string declares the
     * map, so that it exists while empty; its text is empty, or the reason by which an owner is told that an older
     * object has his key, a blank, and what a key is. rank CONTRIBUTION_KEEP: only if the fragment gives a crt-list
     * that name. */
    CONTRIBUTION_MAP_ENTRY,
    /* scope: file name relative to the files folder; text: content, in which handles may stand. With the key
     * CONTRIBUTION_DECLARED and an empty text it only says that the file exists, perhaps empty. */
    CONTRIBUTION_FILE,
    /* scope: certificate file name; text: content, in which handles stand for the secret bytes. rank CONTRIBUTION_KEEP:
     * the text of the fragment's last good version counts, if it has one. */
    CONTRIBUTION_CERTIFICATE,
    /* scope: crt-list name; key: a name that clients ask for (SNI), "" for all that nobody has; text: certificates and
     * options ("certs/a.pem certs/b.pem [alpn h2]"). What has the same text becomes one line of each certificate. rank
     * CONTRIBUTION_KEEP: only if the fragment gives the certificates. */
    CONTRIBUTION_CRT_LIST,
    /* For the owner object. key: reason (CamelCase); text: message, or for STATUS a JSON patch document. */
    CONTRIBUTION_STATUS,
    CONTRIBUTION_EVENT,
    CONTRIBUTION_WARNING,
    /* A guard: routes of the owner's fragments are closed while another fragment, which protects them, has no output in
     * force. key: that fragment's id; text: the backend that closed routes lead to. No output itself. */
    CONTRIBUTION_GUARD,
    /* The content of a URL is wanted (controller/fetcher). key: its identity; text: JSON with the URL, how to fetch it,
     * and the content that is known, so that it is in the sealed bundle. No output itself. */
    CONTRIBUTION_FETCH,
    /* An object that is to exist (controller/owned_writer). scope: the kind's name in watchedResources; key: its
     * identity; text: the manifest as JSON, with options under "$options". No output itself. */
    CONTRIBUTION_OBJECT,
};
#define CONTRIBUTION_LAST CONTRIBUTION_OBJECT

/* Does it say something about a fragment, and is no output by itself? These are sealed with it. */
static inline bool contribution_is_note(enum contribution_kind kind)
{
    return kind == CONTRIBUTION_GUARD || kind == CONTRIBUTION_FETCH || kind == CONTRIBUTION_OBJECT;
}

#define CONTRIBUTION_DECLARED "declared"
#define CONTRIBUTION_KEEP 1

struct contribution {
    enum contribution_kind kind;
    int32_t rank;
    int32_t order;
    const char *scope;
    const char *key;
    struct text *text;
    /* for whoever keeps candidate lists (haproxy/model): the item it is a candidate for, NULL outside */
    struct item *item;
    size_t slot; /* and its place in that item's list */
};

struct fragment {
    unsigned refs;
    const char *id;            /* unique: template, name and owner ("ingress.lua:routes/ingresses/shop/web") */
    const char *template_name; /* "ingress.lua" */
    const char *owner_kind;    /* watchedResources name, "" for a static fragment */
    const char *owner_id;      /* "namespace/name", "" for a static fragment */
    int64_t owner_created_s;   /* for the equal-key rule: older wins, then owner_id, then id */
    bool stale;                /* for whoever keeps candidate lists: a later run of its template failed */
    size_t count;
    struct contribution *items; /* as emitted; no two with equal (kind, scope, key) */
};

/* A contribution as it is given to fragment_new(): byte strings with lengths, none owned. scope and key must not hold
 * a NUL. */
struct contribution_input {
    enum contribution_kind kind;
    int32_t rank, order;
    const char *scope;
    size_t scope_length;
    const char *key;
    size_t key_length;
    const char *text;
    size_t text_length;
};
struct contribution_input contribution_input_of(enum contribution_kind kind, int32_t rank, int32_t order,
                                                const char *scope, const char *key, const struct text *text);
/* What a fragment is, besides its contributions; copied. */
struct fragment_head {
    const char *id, *template_name, *owner_kind, *owner_id;
    int64_t owner_created_s;
};

/* Build a fragment with one reference; all but the texts lies in one allocation. */
struct fragment *fragment_new(const struct fragment_head *head, const struct contribution_input *items, size_t count);
/* A copy, which has no place in a model yet, with the contributions that `keeps` takes; NULL: with all. */
struct fragment *fragment_copy(const struct fragment *f, bool (*keeps)(void *ctx, const struct contribution *c),
                               void *ctx);
struct fragment *fragment_ref(struct fragment *f);
struct fragment *fragment_unref(struct fragment *f); /* NULL is fine; always returns NULL */
/* Its contribution of that kind, scope and key; NULL: it has none, or the fragment is NULL. */
const struct contribution *fragment_contribution(const struct fragment *f, enum contribution_kind kind,
                                                 const char *scope, const char *key);
/* <0, 0, >0: the equal-key rule; the smaller one wins. Oldest creationTimestamp (0, a static fragment, is older than
 * any), then owner id, then fragment id. */
int fragment_compare(const struct fragment *a, const struct fragment *b);

#endif
