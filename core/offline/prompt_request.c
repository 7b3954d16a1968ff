/* JSON is YAML, so that one reader serves tests and prompt. */
#include "offline/prompt_request.h"

#include <string.h>

#include "base/alloc.h"
#include "offline/request_run.h"

#define REQUEST_BYTES_MAX ((size_t)2 << 20)

static int read_case(const char *request, struct yaml_docs *docs, struct request_case *ret_case, struct err *err)
{
    struct config_strings warnings = {0};

    if (yaml_parse(request, strlen(request), REQUEST_BYTES_MAX, docs, NULL, err) < 0)
        return -1;
    struct reader r = {.warnings = &warnings, .doc = &docs->items[0], .file = "request", .err = err};
    return request_case_read(&r, yyjson_doc_get_root(r.doc->json), ret_case);
}

int prompt_request(struct workbench *w, const char *haproxy_binary, const char *request, struct stage **stage,
                   struct buf *out, struct buf *ret_case, bool *ret_as_expected, struct err *err)
{
    CLEANUP(buf_done) struct buf expected = {0};
    CLEANUP(request_case_done) struct request_case c = {0};
    struct yaml_docs docs = {0};
    int result = read_case(request, &docs, &c, err);

    *ret_as_expected = true;
    if (result == 0 && *stage == NULL)
        result = stage_new(w, haproxy_binary, NULL, 0, stage, err);
    if (result == 0 && c.expect.is_given) {
        result = request_run(*stage, w, &c, 0, NULL, out, err);
        *ret_as_expected = out->length == 0;
        if (result == 0 && *ret_as_expected)
            buf_puts(out, "as expected");
    } else if (result == 0) {
        result = request_show(*stage, w, &c, out, &expected, err);
    }
    buf_puts(ret_case, request);
    if (expected.length > 0) { /* as the last member */
        ret_case->length -= strlen("}");
        buf_printf(ret_case, "%s\"expect\":%s}", strcmp(request, "{}") == 0 ? "" : ",", buf_str(&expected));
    }
    yaml_docs_done(&docs);
    return result;
}
