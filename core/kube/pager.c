/* Objects in a list lack apiVersion and kind, which watch events have: both are put in front, so that an object looks the same
 * however it came. That takes writing and parsing each object once more, which is cheap beside the request. */
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
#define OBJECT_BYTES_MAX ((size_t)64 << 20)

struct kube_pager {
    struct kube_client *client;
    const struct kube_selection *selection;
    const struct kube_pager_ops *ops;
    void *ctx;
    struct kube_request *request;
    char *what, *token; /* token: NULL before the first page */
    unsigned limit;     /* 0: everything in one page */
    unsigned expired;
    bool is_busy, is_cancelled;
};

static void pager_free(struct kube_pager *p)
{
    kube_request_cancel(p->request);
    free(p->what);
    free(p->token);
    free(p);
}

static void on_page(void *ctx, const struct kube_response *response, const struct err *err);

static void ask(struct kube_pager *p)
{
    const struct kube_selection *s = p->selection;
    CLEANUP(buf_done) struct buf path = {0};
    char limit[16];
    kube_path_add(&path, s->api_version, s->namespace, s->resource, NULL);
    kube_path_add_query(&path, "labelSelector", s->label_selector);
    kube_path_add_query(&path, "fieldSelector", s->field_selector);
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
    p->token = NULL;
    p->ops->begin(p->ctx);
    if (!p->is_cancelled)
        ask(p);
}

static int give(struct kube_pager *p, yyjson_val *item, const char *kind, const char *api_version, int64_t received_ns,
                struct buf *text, struct err *err)
{
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    const char *name = json_str(item, "metadata", "name"), *namespace = json_str(item, "metadata", "namespace");
    buf_clear(text);
    if (!name)
        return err_set(err, ERR_IO, "an item has no metadata.name");
    if (!yyjson_obj_get(item, "kind"))
        buf_printf(text, "{\"kind\":\"%s\",\"apiVersion\":\"%s\"", kind, api_version);
    size_t start = text->length;
    if (json_write(text, item, NULL, err) < 0)
        return -1;
    if (start > 0)
        text->data[start] = ','; /* instead of the brace; the object has metadata, so it is not empty */
    if (text->length > p->selection->max_object_bytes) {
        p->ops->too_large(p->ctx, namespace ? namespace : "", name, text->length);
        return 0;
    }
    if (json_parse(text->data, text->length, OBJECT_BYTES_MAX, &doc, err) < 0)
        return -1;
    p->ops->object(p->ctx, yyjson_doc_get_root(doc), text->length, received_ns);
    return 0;
}

/* Give the page's objects; *ret_next is the token of the next page or NULL, *ret_version the list's (both in doc). */
static int take_page(struct kube_pager *p, yyjson_doc *doc, int64_t received_ns, const char **ret_next, const char **ret_version,
                     struct err *err)
{
    CLEANUP(buf_done) struct buf text = {0};
    yyjson_val *root = yyjson_doc_get_root(doc), *items = json_at(root, "items"), *item;
    const char *kind = json_str(root, "kind"), *api_version = json_str(root, "apiVersion");
    size_t length = kind ? strlen(kind) : 0;
    *ret_version = json_str(root, "metadata", "resourceVersion");
    *ret_next = json_str(root, "metadata", "continue");
    /* An empty document, an error page with status 200 or another object must not pass for an empty cluster. */
    if (length < 5 || strcmp(kind + length - 4, "List") != 0 || !api_version || !*ret_version || !**ret_version ||
        strpbrk(kind, "\"\\") || strpbrk(api_version, "\"\\") || (items && !yyjson_is_arr(items) && !yyjson_is_null(items)))
        return err_set(err, ERR_IO, "%s: the answer is no list (kind, items, metadata.resourceVersion)", p->what);
    CLEANUP(free_ptr) char *item_kind = xmemdup0(kind, length - 4);
    buf_init(&text, OBJECT_BYTES_MAX);
    yyjson_arr_iter it = yyjson_arr_iter_with(items);
    while (!p->is_cancelled && (item = yyjson_arr_iter_next(&it))) {
        if (give(p, item, item_kind, api_version, received_ns, &text, err) < 0)
            return err_wrap(err, "%s", p->what);
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
    CLEANUP(buf_done) struct buf what = {0};
    p->client = client;
    p->selection = selection;
    p->ops = operations;
    p->ctx = ctx;
    p->limit = PAGE_LIMIT;
    buf_puts(&what, "list ");
    kube_path_add_label(&what, selection->api_version, selection->resource);
    if (selection->namespace)
        buf_printf(&what, " in %s", selection->namespace);
    p->what = buf_steal(&what);
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
