/* fetcher.h — keeps the contents of the URLs that fragments want, as objects of the store.
 * Thread:  loop thread only; never blocks.
 * Owns:    its transfers, its timer, and what it knows of each URL. Borrows store and model.
 * Units:   *_ns nanoseconds, *_bytes bytes.
 * Errors:  of one URL: it is tried again with a growing distance and told with a growing distance; its last good
 *          content stays. While there is none, the object says why.
 *
 * Every replica fetches. A content changes the store only when it is another one; whether what is rendered with it is
 * taken is decided like for any other change. A URL that nobody wants any more goes, and its content with it.
 */
#ifndef HAPTIC_CONTROLLER_FETCHER_H
#define HAPTIC_CONTROLLER_FETCHER_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metric.h"
#include "engine/contribution.h"
#include "net/url_rule.h"
#include "store/store.h"

#define FETCH_URLS_MAX 1000
#define FETCH_IN_FLIGHT 8
#define FETCH_BYTES_MAX ((size_t)64 << 20) /* of all contents */

struct fetcher;

struct fetcher_ops {
    bool (*exists)(void *ctx, const char *fragment_id);
    void (*settled)(void *ctx); /* fetcher_is_settled() has become true */
};

struct fetcher *fetcher_new(uv_loop_t *loop, struct store *store, struct metrics *metrics, const char *user_agent,
                            const struct fetcher_ops *ops, void *ctx);
/* NULL is fine; always returns NULL. */
struct fetcher *fetcher_free(struct fetcher *f);
void fetcher_stop(struct fetcher *f);

/* The rules of the configuration in force; copied. */
void fetcher_set_rules(struct fetcher *f, const struct url_rules *rules);
/* The store's kinds were taken anew: its kind is its own, and has what is known. */
void fetcher_take_kind(struct fetcher *f);
/* A fragment's newest output; either may be NULL. */
void fetcher_hear(struct fetcher *f, const struct fragment *before, const struct fragment *now);
/* A complete rendering has ended: fragments that are not there any more want nothing. */
void fetcher_review(struct fetcher *f);
/* False at a start until each URL of the first rendering has a content or was tried, for at most 5 s. */
bool fetcher_is_settled(const struct fetcher *f);

void fetcher_collect(const struct fetcher *f); /* metrics */
/* JSON: a list of the URLs with their state; and of their objects, as a List of manifests. */
void fetcher_describe(const struct fetcher *f, struct buf *out);
void fetcher_write_objects(const struct fetcher *f, struct buf *out);

#endif
