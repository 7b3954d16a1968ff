/* Versions with the same text are found by comparing: there are few. */
#include "offline/verdicts.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "controller/place.h"

void verdicts_add(struct verdicts *v, const struct difference *d, const char *version)
{
    CLEANUP(buf_done) struct buf text = {0};

    difference_put_text(d, &text);
    for (size_t i = 0; i < v->items.length; i++) {
        struct verdict_of *known = &v->items.items[i];
        if (strcmp(known->text, buf_str(&text)) != 0)
            continue;
        char *versions = xasprintf("%s, %s", known->versions, version);
        free(known->versions);
        known->versions = versions;
        return;
    }
    vec_push(&v->items, ((struct verdict_of){.versions = xstrdup(version), .text = xstrdup(buf_str(&text))}));
}

void verdicts_put(const struct verdicts *v, struct buf *out)
{
    for (size_t i = 0; i < v->items.length; i++)
        buf_printf(out, "%sHAProxy %s: %s", i > 0 ? "; " : "", v->items.items[i].versions, v->items.items[i].text);
    buf_putc(out, '\n');
}

void verdicts_done(struct verdicts *v)
{
    for (size_t i = 0; i < v->items.length; i++) {
        free(v->items.items[i].versions);
        free(v->items.items[i].text);
    }
    vec_done(&v->items);
}

int versions_add(struct versions *v, const char *binary, struct err *err)
{
    CLEANUP(free_ptr) char *path = NULL;
    struct version_of one = {.binary = binary};

    if (place_find_program(binary, &path, err) < 0 || place_probe(path, &one.caps, err) < 0)
        return -1;
    vec_push(&v->items, one);
    return 0;
}

int versions_find(struct versions *v, const char *first, const struct haproxy_caps *caps, const char *const *binaries,
                  size_t count, struct err *err)
{
    vec_push(&v->items, ((struct version_of){.binary = first, .caps = *caps}));
    for (size_t i = 1; i < count; i++)
        if (versions_add(v, binaries[i], err) < 0)
            return -1;
    return 0;
}

void versions_done(struct versions *v)
{
    vec_done(&v->items);
}
