/* One request at a time; the next is asked for when the page's objects have been handed out, so that two pages are
 * never in memory together. */
#include "kube/pager.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "data/json.h"
#include "kube/path.h"

#define PAGE_LIMIT 500
#define PAGE_DEADLINE_NS (60 * NS_PER_S)
#define PAGE_BYTES_MAX ((size_t)256 << 20)
#define EXPIRED_MAX 3

struct kube_pager {
    struct kube_client *client;
    const struct kube_selection *selection;
    const struct kube_pager_ops *ops;
    void *ctx;
    struct kube_request *request;
    char *what, *token; /* token: NULL before the first page */
    char *earlier;      /* a token of this list that was remembered; NULL: none yet */
    unsigned pages, remember_at;
    unsigned limit; /* 0: everything in one page */
    unsigned expired;
    bool is_busy, is_cancelled;
};

static void pager_free(struct kube_pager *p)
{
    kube_request_cancel(p->request);
    free(p->what);
    free(p->token);
    free(p->earlier);
    free(p);
}

static void on_page(void *ctx, const struct kube_response *response, const struct err *err);

static void ask(struct kube_pager *p)
{
    CLEANUP(buf_done) struct buf path = {0};
    char limit[16];
    kube_selection_add_path(&path, p->selection);
    snprintf(limit, sizeof(limit), "%u", p->limit);
    kube_path_add_query(&path, "limit", p->limit ? limit : NULL);
    kube_path_add_query(&path, "continue", p->token);
    struct kube_call call = {.what = p->what,
                             .path = path.data,
                             .deadline_ns = clock_now_ns() + PAGE_DEADLINE_NS,
                             .max_response_bytes = PAGE_BYTES_MAX,
                             .done = on_page,
                             .ctx = p};
    p->request = kube_request_start(p->client, &call);
}

static void begin(struct kube_pager *p)
{
    free(p->token);
    free(p->earlier);
    p->token = p->earlier = NULL;
    p->pages = 0;
    p->remember_at = 1;
    p->ops->begin(p->ctx);
    if (!p->is_cancelled)
        ask(p);
}

/* Did this token come before? The pages of such a list would never end. One token is kept, and replaced after twice as
 * many pages each time, so a circle of any length is found (Brent's algorithm). */
static bool comes_again(struct kube_pager *p, const char *token)
{
    if (p->earlier && strcmp(p->earlier, token) == 0)
        return true;
    if (++p->pages == p->remember_at) {
        free(p->earlier);
        p->earlier = xstrdup(token);
        p->remember_at *= 2;
    }
    return false;
}

/* Give the page's objects; *ret_next is the token of the next page or NULL, *ret_version the list's (both in doc). */
static int take_page(struct kube_pager *p, yyjson_doc *doc, int64_t received_ns, const char **ret_next,
                     const char **ret_version, struct err *err)
{
    yyjson_val *root = yyjson_doc_get_root(doc), *items = json_at(root, "items"), *item;
    const char *kind = json_str(root, "kind");
    size_t length = kind ? strlen(kind) : 0;
    *ret_version = json_str(root, "metadata", "resourceVersion");
    *ret_next = json_str(root, "metadata", "continue");
    /* An empty document, an error page with status 200 or another object must not pass for an empty cluster. */
    if (length < 5 || strcmp(kind + length - 4, "List") != 0 || !*ret_version || !**ret_version ||
        (items && !yyjson_is_arr(items) && !yyjson_is_null(items)))
        return err_set(err, ERR_IO, "%s: the answer is no list (kind, items, metadata.resourceVersion)", p->what);
    yyjson_arr_iter it = yyjson_arr_iter_with(items);
    if (*ret_next && **ret_next && comes_again(p, *ret_next))
        return err_set(err, ERR_IO, "%s: metadata.continue is a token that came before: the list has no end", p->what);
    while (!p->is_cancelled && (item = yyjson_arr_iter_next(&it))) {
        const char *name = json_str(item, "metadata", "name"), *namespace = json_str(item, "metadata", "namespace");
        if (!name)
            return err_set(err, ERR_IO, "%s: an item has no metadata.name", p->what);
        p->ops->object(p->ctx, item, namespace ? namespace : "", name, received_ns);
    }
    return 0;
}

static void end(struct kube_pager *p, const char *resource_version, const struct err *err, int64_t retry_after_ns)
{
    const struct kube_pager_ops *ops = p->ops;
    void *ctx = p->ctx;
    pager_free(p);
    if (err)
        ops->failed(ctx, err, retry_after_ns);
    else
        ops->complete(ctx, resource_version);
}

static void on_page(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct kube_pager *p = ctx;
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    const char *next = NULL, *version = NULL;
    struct err bad = {0};
    p->request = NULL;
    p->is_busy = true;
    bool is_over = err && err->kind == ERR_LIMIT && p->limit > 1;
    if (err && err->kind == ERR_GONE && p->token && p->expired < EXPIRED_MAX + 1) {
        if (++p->expired >= EXPIRED_MAX)
            p->limit = 0;
        begin(p);
    } else if (is_over) {
        p->limit /= 4; /* few but huge objects: the same page again, smaller */
        p->limit += p->limit == 0;
        ask(p);
    } else if (!err && json_parse(response->body, response->length, PAGE_BYTES_MAX, &doc, &bad) == 0 &&
               take_page(p, doc, response->received_ns, &next, &version, &bad) == 0 && !p->is_cancelled) {
        if (next && *next) {
            free(p->token);
            p->token = xstrdup(next);
            ask(p);
        } else {
            end(p, version, NULL, 0);
            return;
        }
    } else if (!p->is_cancelled) {
        if (!err && doc == NULL)
            err_wrap(&bad, "%s", p->what);
        end(p, NULL, err ? err : &bad, response->retry_after_ns);
        return;
    }
    p->is_busy = false;
    if (p->is_cancelled)
        pager_free(p);
}

struct kube_pager *kube_pager_start(struct kube_client *client, const struct kube_selection *selection,
                                    const struct kube_pager_ops *operations, void *ctx)
{
    struct kube_pager *p = xcalloc(1, sizeof(*p));
    CLEANUP(free_ptr) char *label = kube_selection_label(selection);
    p->client = client;
    p->selection = selection;
    p->ops = operations;
    p->ctx = ctx;
    p->limit = PAGE_LIMIT;
    p->what = xasprintf("list %s", label);
    begin(p);
    return p;
}

struct kube_pager *kube_pager_cancel(struct kube_pager *p)
{
    if (p && p->is_busy)
        p->is_cancelled = true;
    else if (p)
        pager_free(p);
    return NULL;
}
