/* Everything that is not unreserved in RFC 3986 is percent-encoded, in segments and in query values alike. */
#include "kube/path.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void add_encoded(struct buf *b, const char *text)
{
    char *encoded = curl_easy_escape(NULL, text, 0);
    if (!encoded)
        abort();
    buf_puts(b, encoded);
    curl_free(encoded);
}

static bool is_name(const char *text, size_t length)
{
    if (length == 0 || length > 253)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_inner = i > 0 && i + 1 < length;
        if (!islower(c) && !isdigit(c) && !(is_inner && (c == '-' || c == '.')))
            return false;
    }
    return true;
}

int kube_path_check(const char *api_version, const char *resource, struct err *err)
{
    const char *slash = strchr(api_version, '/');
    const char *version = slash ? slash + 1 : api_version;
    if ((slash && !is_name(api_version, (size_t)(slash - api_version))) || !is_name(version, strlen(version)))
        return err_set(err, ERR_INVALID,
                       "api_version \"%s\": want VERSION or GROUP/VERSION, such as networking.k8s.io/v1", api_version);
    if (!is_name(resource, strlen(resource)))
        return err_set(err, ERR_INVALID, "resource \"%s\": want the plural name in lower case, such as ingresses",
                       resource);
    return 0;
}

void kube_path_add_version(struct buf *b, const char *api_version)
{
    buf_printf(b, "%s/%s", strchr(api_version, '/') ? "/apis" : "/api", api_version);
}

void kube_path_add(struct buf *b, const char *api_version, const char *namespace, const char *resource,
                   const char *name)
{
    kube_path_add_version(b, api_version);
    if (namespace) {
        buf_puts(b, "/namespaces/");
        add_encoded(b, namespace);
    }
    buf_printf(b, "/%s", resource);
    if (name) {
        buf_putc(b, '/');
        add_encoded(b, name);
    }
}

void kube_path_add_query(struct buf *b, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(b, "%c%s=", strchr(buf_str(b), '?') ? '&' : '?', name);
    add_encoded(b, value);
}

void kube_path_add_label(struct buf *b, const char *api_version, const char *resource)
{
    const char *slash = strchr(api_version, '/');
    buf_puts(b, resource);
    if (slash)
        buf_printf(b, ".%.*s", (int)(slash - api_version), api_version);
}

void kube_selection_add_path(struct buf *b, const struct kube_selection *s)
{
    kube_path_add(b, s->api_version, s->namespace, s->resource, NULL);
    kube_path_add_query(b, "labelSelector", s->label_selector);
    kube_path_add_query(b, "fieldSelector", s->field_selector);
}

char *kube_selection_label(const struct kube_selection *s)
{
    CLEANUP(buf_done) struct buf label = {0};
    kube_path_add_label(&label, s->api_version, s->resource);
    if (s->namespace)
        buf_printf(&label, " in %s", s->namespace);
    return buf_steal(&label);
}
