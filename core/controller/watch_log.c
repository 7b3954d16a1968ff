/* One entry for each kind that ever failed. */
#include "controller/watch_log.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/log_lasting.h"

struct kind_log {
    struct log_lasting repeat;
    bool is_said; /* its failure was logged */
};

static struct kind_log *log_of(struct watch_log *w, const char *kind)
{
    struct kind_log *k = map_get(&w->kinds, kind);

    if (k == NULL) {
        k = xcalloc(1, sizeof(*k));
        map_put(&w->kinds, kind, k);
    }
    return k;
}

static void tell_failure(struct kind_log *k, const char *kind, const struct err *err, int64_t retry_in_ns)
{
    uint64_t similar;

    if (!log_lasting_pass(&k->repeat, err->text, &similar))
        return;
    k->is_said = true;
    log_warn("Watch failed; the known objects stay in use", "resource", kind, "error", err->text, "retry_in",
             log_duration(retry_in_ns), "similar", log_int((int64_t)similar));
}

void watch_log_tell(struct watch_log *w, const char *kind, const struct err *err, const char *reason,
                    int64_t retry_in_ns)
{
    struct kind_log *k = log_of(w, kind);

    if (err != NULL && strcmp(reason, "silent") == 0) {
        log_info("This API server sends no bookmarks in watches; silent watches count as working", "resource", kind,
                 "reason", err->text);
    } else if (err != NULL && strcmp(reason, "optional") == 0) {
        log_info("An optional kind is absent; it is empty until it appears", "resource", kind, "reason", err->text);
    } else if (err != NULL && strcmp(reason, "object") == 0) {
        log_warn("Object refused; its last good version stays in use", "resource", kind, "error", err->text);
    } else if (err != NULL && strcmp(reason, "unread") == 0) {
        log_warn("Object cannot be read; its last known version stays in use", "resource", kind, "error", err->text);
    } else if (err != NULL) {
        tell_failure(k, kind, err, retry_in_ns);
    } else {
        if (k->is_said)
            log_info("Watch works again", "resource", kind);
        k->is_said = false;
        log_lasting_end(&k->repeat);
    }
}

void watch_log_done(struct watch_log *w)
{
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&w->kinds, &it));)
        free(slot->value);
    map_done(&w->kinds);
}
