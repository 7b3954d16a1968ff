/* An etcd that was restored from a backup counts from the backup's version. A watch that goes on from a version of the
 * lost future is accepted and hears nothing until the server gets there; what changes until then is never told. So
 * after each failure the server is asked for its present version: a list of at most one object, which costs both sides
 * little. Versions are decimal numbers that grow; one that is not cannot be compared and is believed.
 *
 * The question runs beside the stream, which loses no time by it. An answer that fails leaves the doubt for the next
 * connection. */
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "data/json.h"
#include "kube/path.h"
#include "kube/watch_state.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define ANSWER_MAX ((size_t)16 << 20)

static bool is_number(const char *version)
{
    size_t length = strspn(version, "0123456789");
    return length > 0 && version[length] == '\0' && version[0] != '0';
}

/* Is a an earlier version than b? */
static bool is_before(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    if (!is_number(a) || !is_number(b))
        return false;
    return a_length != b_length ? a_length < b_length : strcmp(a, b) < 0;
}

static void on_probed(void *ctx, const struct kube_response *response, const struct err *err)
{
    struct kube_watch *w = ctx;
    CLEANUP(json_doc_done) yyjson_doc *doc = NULL;
    struct err back;
    w->probe = NULL;
    if (err || json_parse(response->body, response->length, ANSWER_MAX, &doc, NULL) < 0)
        return;
    const char *present = json_str(yyjson_doc_get_root(doc), "metadata", "resourceVersion");
    w->is_doubted = !present;
    if (!present || !w->resource_version || !is_before(present, w->resource_version))
        return;
    kube_watch_enter(w);
    err_set(&back, ERR_GONE,
            "watch %s: the API server's resourceVersion went back from %s to %s (was etcd restored from a backup?); "
            "everything is listed again",
            w->label, w->resource_version, present);
    kube_watch_forget_version(w);
    kube_watch_tell_restart(w, "reset");
    if (!w->is_dead)
        kube_watch_fail(w, &back, "reset", 0);
    kube_watch_leave(w);
}

void kube_watch_probe(struct kube_watch *w)
{
    CLEANUP(buf_done) struct buf path = {0};
    CLEANUP(free_ptr) char *what = xasprintf("list %s", w->label);
    kube_selection_add_path(&path, &w->selection);
    kube_path_add_query(&path, "limit", "1");
    struct kube_call call = {.what = what,
                             .path = path.data,
                             .deadline_ns = clock_now_ns() + DEADLINE_NS,
                             .max_response_bytes = ANSWER_MAX,
                             .done = on_probed,
                             .ctx = w};
    kube_request_cancel(w->probe);
    w->probe = kube_request_start(w->client, &call);
}
