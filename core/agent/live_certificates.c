/* Certificates and crt-lists in the live view. Only files in certs/ are managed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/live.h"
#include "agent/live_list.h"
#include "base/alloc.h"
#include "haproxy/disk.h"

#define FOLDER "certs/"
#define OBTAINED DISK_SAVED "/"
#define LIST_SUFFIX ".list"

static bool is_in_folder(const char *path, size_t length)
{
    return length > strlen(FOLDER) && memcmp(path, FOLDER, strlen(FOLDER)) == 0;
}

bool live_path_is_list(const char *path)
{
    size_t length = strlen(path);
    return is_in_folder(path, length) && length > strlen(FOLDER LIST_SUFFIX) &&
           strcmp(path + length - strlen(LIST_SUFFIX), LIST_SUFFIX) == 0;
}

static struct live_list *list_get(struct live *l, const char *path)
{
    struct live_list *list = map_get(&l->lists, path);
    if (list)
        return list;
    list = live_list_new(path);
    map_put(&l->lists, path, list);
    return list;
}

static struct live_certificate *certificate_get(struct live *l, const char *path)
{
    struct live_certificate *c = map_get(&l->certificates, path);
    if (c)
        return c;
    c = xcalloc(1, sizeof(*c));
    map_put(&l->certificates, path, c);
    return c;
}

void live_load_certificate(struct live *l, const char *path, const char *bytes, size_t length)
{
    if (live_path_is_list(path)) {
        struct live_list *list = list_get(l, path);
        live_list_read(list, bytes, length, false);
    } else if (is_in_folder(path, strlen(path))) {
        struct live_certificate *c = certificate_get(l, path);
        for (int kind = 0; kind < SSL_FILE_KINDS; kind++)
            c->marks[kind] = ssl_file_mark((enum ssl_file_kind)kind, bytes, length);
    }
}

void live_starts(struct live *l)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&l->lists, &it));)
        live_list_starts(slot->value);
}

void live_take_counters(struct live *l, const struct live *before)
{
    const struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&before->lists, &it));) {
        const struct live_list *known = slot->value;
        struct live_list *list = known->is_counted ? map_get(&l->lists, known->path) : NULL;
        if (!list)
            continue;
        list->count = known->count;
        list->is_counted = true;
    }
}

void live_certificates_done(struct live *l)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&l->lists, &it));)
        live_list_free(slot->value);
    for (size_t it = 0; (slot = map_next(&l->certificates, &it));)
        free(slot->value);
    map_done(&l->lists);
    map_done(&l->certificates);
    map_done(&l->obtained);
    for (int kind = 0; kind < SSL_FILE_KINDS; kind++)
        free(STEAL(l->transactions[kind]));
}

/* Calls fn for each line that begins with the name of a managed file, or with "*" and the name. After the name of a
 * file of authorities HAProxy prints their number. */
static void names_each(struct live *l, int kind, const char *answer,
                       void (*fn)(struct live *l, int kind, const char *name))
{
    while (*answer) {
        size_t length = strcspn(answer, " \n");
        const char *name = *answer == '*' ? answer + 1 : answer;
        if (kind == SSL_CERTIFICATE && length > strlen(OBTAINED) && memcmp(answer, OBTAINED, strlen(OBTAINED)) == 0)
            (void)map_putn(&l->obtained, answer, length, l);
        if (is_in_folder(name, length - (size_t)(name - answer))) {
            CLEANUP(free_ptr) char *copy = xmemdup0(answer, length);
            fn(l, kind, copy);
        }
        answer += strcspn(answer, "\n");
        answer += *answer == '\n';
    }
}

static void note_certificate(struct live *l, int kind, const char *name)
{
    if (*name == '*') {
        free(l->transactions[kind]);
        l->transactions[kind] = xstrdup(name + 1);
    } else {
        certificate_get(l, name)->loaded[kind] = true;
    }
}

static void note_list(struct live *l, int kind, const char *name)
{
    (void)kind;
    if (live_path_is_list(name))
        list_get(l, name)->used = true;
}

bool live_certificate_is_loaded(const struct live_certificate *c)
{
    for (int kind = 0; c && kind < SSL_FILE_KINDS; kind++)
        if (c->loaded[kind])
            return true;
    return false;
}

void live_merge_certificates(struct live *l, const char *const show_ssl[SSL_FILE_KINDS], const char *show_ssl_crt_list)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&l->certificates, &it));)
        memset(((struct live_certificate *)slot->value)->loaded, 0, sizeof(((struct live_certificate *)0)->loaded));
    for (size_t it = 0; (slot = map_next(&l->lists, &it));)
        ((struct live_list *)slot->value)->used = false;
    map_clear(&l->obtained);
    for (int kind = 0; kind < SSL_FILE_KINDS; kind++) {
        free(STEAL(l->transactions[kind]));
        names_each(l, kind, show_ssl[kind], note_certificate);
    }
    names_each(l, 0, show_ssl_crt_list, note_list);
}

void live_certificate_set(struct live *l, const char *path, enum ssl_file_kind kind, const struct digest *content,
                          const struct ssl_file_mark *mark)
{
    struct live_certificate *c = certificate_get(l, path);
    struct digest *d = map_get(&l->files, path);
    c->loaded[kind] = true;
    c->marks[kind] = *mark;
    if (!d) {
        d = xmalloc(sizeof(*d));
        map_put(&l->files, path, d);
    }
    *d = *content;
}
