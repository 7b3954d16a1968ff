/* JSON is YAML: objects and requests stand in the file as they are held. */
#include "offline/saved_test.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "data/json.h"

#define REQUESTS_MAX 1000

void saved_test_note(struct saved_test *s, const char *request)
{
    if (s->requests.length < REQUESTS_MAX)
        vec_push(&s->requests, xstrdup(request));
}

void saved_test_done(struct saved_test *s)
{
    for (size_t i = 0; i < s->requests.length; i++)
        free(s->requests.items[i]);
    vec_done(&s->requests);
}

struct writing {
    struct buf *out;
    size_t left_out;
};

static bool is_secret(const struct object *o)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;
    struct err ignored;

    if (object_parse(o, SIZE_MAX, &doc, &ignored) < 0)
        return true;
    const char *kind = json_str(yyjson_doc_get_root(doc), "kind");
    return kind != NULL && strcmp(kind, "Secret") == 0;
}

static void put_object(void *ctx, struct object *o)
{
    struct writing *w = ctx;

    if (is_secret(o)) {
        w->left_out++;
        return;
    }
    buf_puts(w->out, "        - ");
    object_text(o, w->out);
    buf_putc(w->out, '\n');
}

static void put_kind(struct store_kind *kind, struct writing *w)
{
    size_t before = w->out->length;

    buf_printf(w->out, "      %s:\n", store_kind_spec(kind)->name);
    size_t header = w->out->length;
    store_each(kind, put_object, w);
    if (w->out->length == header) /* an empty list is no list */
        w->out->length = before;
}

/* "tests/the-cart.yaml" → "the-cart" */
static char *name_of(const char *path)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    char *name = xmemdup0(base, strcspn(base, "."));

    for (char *c = name; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && *c != '-')
            *c = '-';
    return name;
}

static int write_file(const char *path, bool replaces, const struct buf *text, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | (replaces ? O_TRUNC : O_EXCL) | O_CLOEXEC, 0666);
    size_t done = 0;

    if (fd < 0 && errno == EEXIST)
        return err_set(err, ERR_INVALID, "%s exists: \":save! %s\" replaces it", path, path);

    while (fd >= 0 && done < text->length) {
        ssize_t n = write(fd, text->data + done, text->length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_sys(err, errno, "%s", path);
        done += (size_t)n;
    }
    return fd >= 0 ? 0 : err_set_sys(err, errno, "%s", path);
}

int saved_test_write(const struct saved_test *s, struct workbench *w, const char *path, bool replaces,
                     size_t *ret_left_out, struct err *err)
{
    CLEANUP(buf_done) struct buf text = {0};
    CLEANUP(free_ptr) char *name = name_of(path);
    struct writing writing = {.out = &text};
    struct store *store = workbench_store(w);

    buf_printf(&text, "# haptic test -c CONFIGURATION %s\nvalidationTests:\n  \"%s\":\n    fixtures:\n", path, name);
    size_t header = text.length;
    for (size_t i = 0; i < store_kind_count(store); i++)
        put_kind(store_kind_at(store, i), &writing);
    if (text.length == header) {
        text.length = header - 1; /* nothing is loaded */
        buf_puts(&text, " {}\n");
    }
    buf_puts(&text, "    requests:\n");
    for (size_t i = 0; i < s->requests.length; i++)
        buf_printf(&text, "      - %s\n", s->requests.items[i]);
    *ret_left_out = writing.left_out;
    return write_file(path, replaces, &text, err);
}
