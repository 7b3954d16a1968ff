/* Encodes and decodes plain JSON. */
#include "controller/fetch_wish.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "data/json.h"

#define WISH_BYTES_MAX ((size_t)16 << 20)

static char *copy_of(struct yyjson_val *root, const char *field)
{
    const char *text = json_str(root, field);

    return text != NULL ? xstrdup(text) : NULL;
}

int fetch_wish_read(const struct contribution *c, struct fetch_wish *ret_wish, struct err *err)
{
    CLEANUP(json_doc_done) struct yyjson_doc *doc = NULL;

    if (json_parse(c->text->bytes, c->text->length, WISH_BYTES_MAX, &doc, err) < 0)
        return err_wrap(err, "a wish for a URL");
    struct yyjson_val *root = yyjson_doc_get_root(doc), *auth = json_at(root, "auth");
    *ret_wish = (struct fetch_wish){.url = copy_of(root, "url"),
                                    .credentials = copy_of(root, "credentials"),
                                    .secret = copy_of(auth, "secret"),
                                    .bearer = copy_of(auth, "bearer"),
                                    .username = copy_of(auth, "username"),
                                    .password = copy_of(auth, "password"),
                                    .interval_ns = json_int_or(0, root, "interval") * NS_PER_S,
                                    .timeout_ns = json_int_or(0, root, "timeout") * NS_PER_S,
                                    .max_bytes = (size_t)json_int_or(0, root, "max_bytes"),
                                    .content = copy_of(root, "content"),
                                    .etag = copy_of(root, "etag"),
                                    .modified = copy_of(root, "modified")};
    if (ret_wish->url != NULL && ret_wish->credentials != NULL && ret_wish->interval_ns > 0 &&
        ret_wish->timeout_ns > 0 && ret_wish->max_bytes > 0)
        return 0;
    fetch_wish_done(ret_wish);
    return err_set(err, ERR_INVALID, "a wish for a URL lacks a field");
}

void fetch_wish_done(struct fetch_wish *w)
{
    free(w->url);
    free(w->credentials);
    free(w->secret);
    free(w->bearer);
    free(w->username);
    free(w->password);
    free(w->content);
    free(w->etag);
    free(w->modified);
    *w = (struct fetch_wish){0};
}

static int put(struct buf *out, const char *field, const char *text, size_t length, struct err *err)
{
    buf_puts(out, field);
    return json_write_string(out, text, length, err);
}

int fetch_object_write(const struct fetch_content *c, struct buf *out, struct err *err)
{
    buf_puts(out, "{\"apiVersion\":\"" FETCH_API_VERSION "\",\"kind\":\"" FETCH_OBJECT_KIND "\",\"metadata\":{");
    if (put(out, "\"name\":", c->id, strlen(c->id), err) < 0 ||
        put(out, "},\"url\":", c->url, strlen(c->url), err) < 0 ||
        put(out, ",\"credentials\":", c->credentials, strlen(c->credentials), err) < 0)
        return -1;
    if (c->content != NULL && put(out, ",\"content\":", c->content, c->length, err) < 0)
        return err_set(err, ERR_INVALID, "the content is no text in UTF-8");
    if (c->etag != NULL && *c->etag != '\0' && put(out, ",\"etag\":", c->etag, strlen(c->etag), err) < 0)
        return -1;
    if (c->modified != NULL && *c->modified != '\0' &&
        put(out, ",\"modified\":", c->modified, strlen(c->modified), err) < 0)
        return -1;
    if (c->content == NULL && c->message != NULL && put(out, ",\"message\":", c->message, strlen(c->message), err) < 0)
        return -1;
    buf_putc(out, '}');
    return 0;
}
