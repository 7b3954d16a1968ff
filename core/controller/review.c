/* Texts come from templates, which may write any bytes. Bytes that are not UTF-8 or not printable become "?". */
#include "controller/review.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/json.h"

#define WARNING_MAX 300
#define CUT "…"

static const char *text_or(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

int review_read(yyjson_val *document, struct review *ret_review, struct err *err)
{
    yyjson_val *request = json_at(document, "request");
    const char *api_version = json_str(document, "apiVersion"), *kind = json_str(document, "kind");

    if (api_version == NULL || strcmp(api_version, "admission.k8s.io/v1") != 0 || kind == NULL ||
        strcmp(kind, "AdmissionReview") != 0)
        return err_set(err, ERR_INVALID, "not an AdmissionReview of admission.k8s.io/v1");
    yyjson_val *object = json_at(request, "object"), *old = json_at(request, "oldObject");
    *ret_review = (struct review){.uid = json_str(request, "uid"),
                                  .group = text_or(json_str(request, "resource", "group"), ""),
                                  .version = json_str(request, "resource", "version"),
                                  .resource = json_str(request, "resource", "resource"),
                                  .subresource = text_or(json_str(request, "subResource"), ""),
                                  .operation = json_str(request, "operation"),
                                  .namespace = text_or(json_str(request, "namespace"), ""),
                                  .name = text_or(json_str(request, "name"), ""),
                                  .object = yyjson_is_obj(object) ? object : NULL,
                                  .old_object = yyjson_is_obj(old) ? old : NULL};
    if (ret_review->uid == NULL || ret_review->version == NULL || ret_review->resource == NULL ||
        ret_review->operation == NULL)
        return err_set(err, ERR_INVALID, "the request has no uid, resource or operation");
    return 0;
}

bool review_has_version(const struct review *r, const char *api_version)
{
    size_t length = strlen(r->group);

    if (length == 0)
        return strcmp(api_version, r->version) == 0;
    return strncmp(api_version, r->group, length) == 0 && api_version[length] == '/' &&
           strcmp(api_version + length + 1, r->version) == 0;
}

/* ---- texts ---- */

/* Length of the UTF-8 character at s; 0 when there is none. */
static size_t character(const unsigned char *s)
{
    size_t length = s[0] < 0x80                    ? 1
                    : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                    : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                    : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                   : 0;

    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

/* Appends a text as one line of at most max bytes. */
static void add_line(struct buf *out, const char *text, size_t max)
{
    size_t start = out->length;
    bool was_blank = false;

    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        size_t length = character(s);
        if (out->length - start + length > max) {
            buf_puts(out, CUT);
            return;
        }
        bool is_blank = *s == ' ' || *s == '\n' || *s == '\t';
        if (is_blank && !was_blank)
            buf_putc(out, ' ');
        else if (length == 0 || (length == 1 && (*s < 0x20 || *s == 0x7f) && !is_blank))
            buf_putc(out, '?');
        else if (!is_blank)
            buf_add(out, s, length);
        was_blank = is_blank;
        s += length > 0 ? length : 1;
    }
}

void verdict_warn(struct verdict *v, const char *text)
{
    struct buf line = {0};

    if (v->warnings.length >= REVIEW_WARNINGS_MAX)
        return;
    add_line(&line, text, WARNING_MAX);
    for (size_t i = 0; i < v->warnings.length; i++)
        if (strcmp(v->warnings.items[i], buf_str(&line)) == 0) {
            buf_done(&line);
            return;
        }
    vec_push(&v->warnings, buf_steal(&line));
}

void verdict_deny(struct verdict *v, unsigned code, const char *text)
{
    if (v->message.length >= REVIEW_TEXT_MAX)
        return;
    if (!v->is_denied)
        v->code = code;
    v->is_denied = true;
    if (v->message.length > 0)
        buf_puts(&v->message, "; ");
    add_line(&v->message, text, REVIEW_TEXT_MAX);
}

void verdict_done(struct verdict *v)
{
    buf_done(&v->message);
    for (size_t i = 0; i < v->warnings.length; i++)
        free(v->warnings.items[i]);
    vec_done(&v->warnings);
}

/* ---- the answer ---- */

static void put_string(struct buf *out, const char *text)
{
    if (json_write_string(out, text, strlen(text), NULL) < 0)
        buf_puts(out, "\"?\"");
}

void review_answer(const char *uid, const struct verdict *v, struct buf *out)
{
    buf_puts(out, "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{\"uid\":");
    put_string(out, uid);
    buf_printf(out, ",\"allowed\":%s", v->is_denied ? "false" : "true");
    for (size_t i = 0; i < v->warnings.length; i++) {
        buf_puts(out, i == 0 ? ",\"warnings\":[" : ",");
        put_string(out, v->warnings.items[i]);
    }
    if (v->warnings.length > 0)
        buf_putc(out, ']');
    if (v->is_denied) {
        buf_printf(out, ",\"status\":{\"code\":%u,\"message\":", v->code);
        put_string(out, buf_str(&v->message));
        buf_putc(out, '}');
    }
    buf_puts(out, "}}\n");
}
