/* A name is relative to the folder of the configuration. */
#include "controller/config_template.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

static int read_file(const char *path, struct buf *out, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char chunk[16384];
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_sys(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is no file", path);
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        if (buf_try_add(out, chunk, (size_t)n, err) < 0)
            return err_wrap(err, "%s", path);
    if (n < 0)
        return err_set_sys(err, errno, "%s", path);
    return strlen(buf_str(out)) == out->length ? 0 : err_set(err, ERR_INVALID, "%s has a byte that is zero", path);
}

int config_template_read(struct reader *r, yyjson_val *at, const char *key, char **text, char **file)
{
    CLEANUP(buf_done) struct buf out = {.max = CONFIG_FILE_MAX};
    const char *slash = strrchr(r->file, '/');
    struct err why;

    if (*text != NULL && *file != NULL)
        return reader_fail(r, at, key, "has both \"template\" and \"file\"");
    if (*text != NULL)
        return 0;
    if (*file == NULL) {
        CLEANUP(free_ptr) char *missing = xasprintf("%s%stemplate", key, *key ? "." : "");
        return reader_fail(r, at, missing, "is missing; or write \"file\", with the name of a file that has it");
    }
    if (r->has_no_lines)
        return reader_fail(r, at, key, "\"file\" is for configurations in files; write \"template\"");
    if (**file != '/' && slash != NULL) {
        char *path = xasprintf("%.*s/%s", (int)(slash - r->file), r->file, *file);
        free(*file);
        *file = path;
    }
    if (read_file(*file, &out, &why) < 0)
        return reader_fail(r, at, key, why.text);
    *text = out.length > 0 ? buf_steal(&out) : xstrdup("");
    return 0;
}

static void add_files(const struct config_texts *texts, struct buf *out)
{
    for (size_t i = 0; i < texts->items.length; i++)
        if (texts->items.items[i].file != NULL)
            buf_printf(out, "%c%s", 0, texts->items.items[i].text);
}

struct digest config_template_digest(const struct config *c, const char *text, size_t length)
{
    CLEANUP(buf_done) struct buf all = {0};

    buf_add(&all, text, length);
    add_files(&c->snippets, &all);
    add_files(&c->maps, &all);
    add_files(&c->files, &all);
    add_files(&c->certificates, &all);
    add_files(&c->crt_lists, &all);
    if (c->haproxy_config_file != NULL)
        buf_printf(&all, "%c%s", 0, c->haproxy_config);
    return digest_of(buf_str(&all), all.length);
}
