/* The text of a 403 is the API server's sentence taken apart (User "…" cannot VERB resource "…" in API group "…" in
 * the namespace "…") and put together as advice; where the sentence has another form it is passed on as it is. */
#include "kube/status.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static enum err_kind kind_of(long http_status)
{
    switch (http_status) {
    case 401:
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOTFOUND;
    case 409:
        return ERR_CONFLICT;
    case 410:
        return ERR_GONE;
    case 408:
    case 504:
        return ERR_TIMEOUT;
    case 413:
        return ERR_LIMIT;
    case 429:
        return ERR_IO;
    default:
        return http_status >= 400 && http_status < 500 ? ERR_INVALID : ERR_IO;
    }
}

/* The quoted word after key in text; false if there is none or it does not fit. */
static bool quoted_after(const char *text, const char *key, char *ret_word, size_t size)
{
    const char *start = strstr(text, key);
    if (!start)
        return false;
    start += strlen(key);
    const char *end = strchr(start, '"');
    if (!end || (size_t)(end - start) >= size)
        return false;
    memcpy(ret_word, start, (size_t)(end - start));
    ret_word[end - start] = '\0';
    return true;
}

static int err_forbidden(struct err *err, const char *what, const char *message)
{
    char user[256], resource[128], group[128] = "", namespace[128] = "", verb[32] = "";
    const char *cannot = strstr(message, "\" cannot ");
    if (!quoted_after(message, "User \"", user, sizeof(user)) || !cannot ||
        sscanf(cannot, "\" cannot %31[a-z]", verb) != 1 ||
        !quoted_after(message, " resource \"", resource, sizeof(resource)))
        return err_set(err, ERR_DENIED, "%s: 403: %s", what, message);
    quoted_after(message, " in API group \"", group, sizeof(group));
    bool is_local = quoted_after(message, " in the namespace \"", namespace, sizeof(namespace));
    const char *who = strncmp(user, "system:serviceaccount:", 22) == 0 ? "the service account" : "the user";
    return err_set(err, ERR_DENIED, "%s: 403: %s %s may not %s %s%s%s%s%s%s; add the verb \"%s\" to its %s", what, who,
                   user, verb, resource, group[0] ? "." : "", group,
                   is_local ? " in the namespace \"" : " at the cluster scope", namespace, is_local ? "\"" : "", verb,
                   is_local ? "role" : "cluster role");
}

static int err_of(struct err *err, const char *what, long http_status, const char *message)
{
    switch (http_status) {
    case 401:
        return err_set(err, ERR_DENIED, "%s: 401: the API server does not accept the credentials (%s)", what, message);
    case 403:
        return err_forbidden(err, what, message);
    case 408:
    case 504:
        return err_set(err, ERR_TIMEOUT, "%s: %ld: timeout at the API server: %s", what, http_status, message);
    case 429:
        return err_set(err, ERR_IO, "%s: 429: the API server asks to slow down: %s", what, message);
    default:
        return err_set(err, kind_of(http_status), "%s: %ld: %s", what, http_status, message);
    }
}

int kube_status_value_err(struct err *err, const char *what, yyjson_val *status)
{
    long code = (long)yyjson_get_sint(yyjson_obj_get(status, "code"));
    const char *message = yyjson_get_str(yyjson_obj_get(status, "message"));
    const char *reason = yyjson_get_str(yyjson_obj_get(status, "reason"));
    if (code == 0 && reason && (strcmp(reason, "Expired") == 0 || strcmp(reason, "Gone") == 0))
        code = 410;
    return err_of(err, what, code ? code : 500, message && *message ? message : reason ? reason : "no message");
}

int kube_status_err(struct err *err, const char *what, long http_status, const char *body, size_t length)
{
    yyjson_doc *doc = length ? yyjson_read(body, length, 0) : NULL;
    const char *message = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "message"));
    if (message && *message) {
        err_of(err, what, http_status, message);
    } else {
        /* Not the API server, or an answer from before it looks at the request: the first line, without control
         * characters. */
        char line[200];
        size_t n = 0;
        while (n < length && n < sizeof(line) - 1 && (unsigned char)body[n] >= 0x20 && (unsigned char)body[n] < 0x7f) {
            line[n] = body[n];
            n++;
        }
        line[n] = '\0';
        err_of(err, what, http_status, n ? line : "no message");
    }
    yyjson_doc_free(doc);
    return -1;
}
