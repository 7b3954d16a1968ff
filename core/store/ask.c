/* One table of the objects that templates ask for, by kind and id, and a short list of the kinds that a server serves.
 */
#include "store/ask.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/vec.h"

struct ask {
    char *kind, *id;
    size_t count;
    char *refusal; /* NULL: no answer yet */
};

struct served {
    char *kind;
    asks_server *server;
    void *ctx;
};

struct hearer {
    asks_listener *fn; /* NULL: removed while others are called */
    void *ctx;
};

struct asks {
    struct map table;
    VEC(struct served) served;
    VEC(struct hearer) hearers;
    unsigned telling;
};

struct asks *asks_new(void)
{
    struct asks *a = xcalloc(1, sizeof(*a));

    map_init(&a->table, false);
    return a;
}

static void ask_free(struct ask *k)
{
    free(k->kind);
    free(k->id);
    free(k->refusal);
    free(k);
}

struct asks *asks_free(struct asks *a)
{
    struct map_slot *slot;

    if (a == NULL)
        return NULL;
    for (size_t it = 0; (slot = map_next(&a->table, &it));)
        ask_free(slot->value);
    map_done(&a->table);
    for (size_t i = 0; i < a->served.length; i++)
        free(a->served.items[i].kind);
    vec_done(&a->served);
    vec_done(&a->hearers);
    free(a);
    return NULL;
}

/* No name has a newline. */
static char *key_of(const char *kind, const char *id)
{
    return xasprintf("%s\n%s", kind, id);
}

static struct ask *ask_of(const struct asks *a, const char *kind, const char *id)
{
    CLEANUP(free_ptr) char *key = key_of(kind, id);

    return map_get(&a->table, key);
}

static struct served *served_of(const struct asks *a, const char *kind)
{
    for (size_t i = 0; i < a->served.length; i++)
        if (strcmp(a->served.items[i].kind, kind) == 0)
            return &a->served.items[i];
    return NULL;
}

bool asks_is_served(const struct asks *a, const char *kind)
{
    return served_of(a, kind) != NULL;
}

bool asks_has(const struct asks *a, const char *kind, const char *id)
{
    return ask_of(a, kind, id) != NULL;
}

void asks_add(struct asks *a, const char *kind, const char *id)
{
    struct ask *k = ask_of(a, kind, id);

    if (k != NULL) {
        k->count++;
        return;
    }
    k = xcalloc(1, sizeof(*k));
    k->kind = xstrdup(kind);
    k->id = xstrdup(id);
    k->count = 1;
    CLEANUP(free_ptr) char *key = key_of(kind, id);
    map_put(&a->table, key, k);
    const struct served *s = served_of(a, kind);
    if (s != NULL)
        s->server(s->ctx, kind, id, true);
    else
        asks_answer(a, kind, id, "");
}

void asks_remove(struct asks *a, const char *kind, const char *id)
{
    CLEANUP(free_ptr) char *key = key_of(kind, id);
    struct ask *k = map_get(&a->table, key);

    if (k == NULL || --k->count > 0)
        return;
    map_del(&a->table, key);
    const struct served *s = served_of(a, k->kind);
    if (s != NULL)
        s->server(s->ctx, k->kind, k->id, false);
    ask_free(k);
}

const char *asks_refusal(const struct asks *a, const char *kind, const char *id)
{
    const struct ask *k = ask_of(a, kind, id);

    return k != NULL ? k->refusal : NULL;
}

static void tell(struct asks *a, const char *kind, const char *id, const char *refusal)
{
    a->telling++;
    for (size_t i = 0; i < a->hearers.length; i++)
        if (a->hearers.items[i].fn != NULL)
            a->hearers.items[i].fn(a->hearers.items[i].ctx, kind, id, refusal);
    if (--a->telling > 0)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < a->hearers.length; i++)
        if (a->hearers.items[i].fn != NULL)
            a->hearers.items[kept++] = a->hearers.items[i];
    a->hearers.length = kept;
}

void asks_answer(struct asks *a, const char *kind, const char *id, const char *refusal)
{
    struct ask *k = ask_of(a, kind, id);

    if (k == NULL || (k->refusal != NULL && strcmp(k->refusal, refusal) == 0))
        return;
    free(k->refusal);
    k->refusal = xstrdup(refusal);
    tell(a, kind, id, refusal);
}

static void serve_all(struct asks *a, const struct served *s)
{
    VEC(struct ask *) open = {0};
    struct map_slot *slot;

    for (size_t it = 0; (slot = map_next(&a->table, &it));) {
        struct ask *k = slot->value;
        if (strcmp(k->kind, s->kind) == 0)
            vec_push(&open, k);
    }
    for (size_t i = 0; i < open.length; i++) { /* a server neither adds nor removes */
        if (open.items[i]->refusal != NULL)
            tell(a, s->kind, open.items[i]->id, NULL);
        free(open.items[i]->refusal);
        open.items[i]->refusal = NULL;
        s->server(s->ctx, s->kind, open.items[i]->id, true);
    }
    vec_done(&open);
}

void asks_serve(struct asks *a, const char *kind, asks_server *server, void *ctx)
{
    struct served *s = served_of(a, kind);

    if (server == NULL) {
        if (s != NULL) {
            free(s->kind);
            *s = a->served.items[--a->served.length];
        }
        return;
    }
    if (s == NULL) {
        vec_push(&a->served, ((struct served){.kind = xstrdup(kind)}));
        s = &a->served.items[a->served.length - 1];
    }
    s->server = server;
    s->ctx = ctx;
    const struct served now = *s;
    serve_all(a, &now);
}

void asks_listen(struct asks *a, asks_listener *listener, void *ctx)
{
    vec_push(&a->hearers, ((struct hearer){listener, ctx}));
}

void asks_unlisten(struct asks *a, asks_listener *listener, void *ctx)
{
    for (size_t i = 0; i < a->hearers.length; i++) {
        struct hearer *h = &a->hearers.items[i];
        if (h->fn != listener || h->ctx != ctx)
            continue;
        if (a->telling > 0) {
            h->fn = NULL;
        } else {
            memmove(h, h + 1, (a->hearers.length - i - 1) * sizeof(*h));
            a->hearers.length--;
        }
        return;
    }
}
