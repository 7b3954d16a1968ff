/* Certificates and crt-lists in the view of what is live. Only those in certs/ are ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/live.h"
#include "base/alloc.h"

#define FOLDER "certs/"
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
    list = xcalloc(1, sizeof(*list));
    list->path = xstrdup(path);
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
        crt_list_done(&list->lines);
        crt_list_parse(&list->lines, bytes, length, false);
    } else if (is_in_folder(path, strlen(path))) {
        struct live_certificate *c = certificate_get(l, path);
        if (!certificate_fingerprint(bytes, length, c->fingerprint))
            c->fingerprint[0] = '\0';
    }
}

void live_certificates_done(struct live *l)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&l->lists, &it));) {
        struct live_list *list = slot->value;
        crt_list_done(&list->lines);
        free(list->path);
        free(list);
    }
    for (size_t it = 0; (slot = map_next(&l->certificates, &it));)
        free(slot->value);
    map_done(&l->lists);
    map_done(&l->certificates);
    free(STEAL(l->transaction));
}

/* Call fn for each line that is the name of a file of ours, or "*" and one. */
static void names_each(struct live *l, const char *answer, void (*fn)(struct live *l, const char *name))
{
    while (*answer) {
        size_t length = strcspn(answer, "\n");
        const char *name = *answer == '*' ? answer + 1 : answer;
        if (is_in_folder(name, length - (size_t)(name - answer))) {
            CLEANUP(free_ptr) char *copy = xmemdup0(answer, length);
            fn(l, copy);
        }
        answer += length + (answer[length] == '\n');
    }
}

static void note_certificate(struct live *l, const char *name)
{
    if (*name == '*') {
        free(l->transaction);
        l->transaction = xstrdup(name + 1);
    } else {
        certificate_get(l, name)->loaded = true;
    }
}

static void note_list(struct live *l, const char *name)
{
    if (live_path_is_list(name))
        list_get(l, name)->used = true;
}

void live_merge_certificates(struct live *l, const char *show_ssl_cert, const char *show_ssl_crt_list)
{
    struct map_slot *slot;
    for (size_t it = 0; (slot = map_next(&l->certificates, &it));)
        ((struct live_certificate *)slot->value)->loaded = false;
    for (size_t it = 0; (slot = map_next(&l->lists, &it));)
        ((struct live_list *)slot->value)->used = false;
    free(STEAL(l->transaction));
    names_each(l, show_ssl_cert, note_certificate);
    names_each(l, show_ssl_crt_list, note_list);
}

bool live_certificate_answer_is(const char *show_ssl_cert, const char *fingerprint)
{
    static const char mark[] = "SHA1 FingerPrint: ";
    const char *at = strstr(show_ssl_cert, mark);
    return at && strncmp(at + strlen(mark), fingerprint, strlen(fingerprint)) == 0;
}

void live_certificate_set(struct live *l, const char *path, const struct digest *content, const char *fingerprint)
{
    struct live_certificate *c = certificate_get(l, path);
    struct digest *d = map_get(&l->files, path);
    c->loaded = true;
    snprintf(c->fingerprint, sizeof(c->fingerprint), "%s", fingerprint);
    if (!d) {
        d = xmalloc(sizeof(*d));
        map_put(&l->files, path, d);
    }
    *d = *content;
}
