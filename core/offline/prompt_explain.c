/* What is meant is told by its form. */
#include "offline/prompt_explain.h"

#include <stdlib.h>
#include <string.h>

#include "haproxy/disk.h"
#include "offline/origin.h"
#include "offline/origin_route.h"

int prompt_explain(struct workbench *w, const char *binary, struct yyjson_val *command, struct buf *out,
                   struct err *err)
{
    const char *what = json_str(command, "what"), *kind = json_str(command, "kind"), *id = json_str(command, "id");
    const struct finding_code_row *row = what ? finding_code_find(what) : NULL;
    size_t length = strlen(DISK_CONFIG ":");

    if (row != NULL) {
        finding_code_write(row, out);
        return 0;
    }
    if (what != NULL && strncmp(what, DISK_CONFIG ":", length) == 0)
        return origin_of_line(w, strtoul(what + length, NULL, 10), out, err);
    if (what != NULL && strchr(what, '/') != NULL)
        return origin_of_route(w, binary, what, out, err);
    if (kind != NULL && id != NULL)
        return origin_of_object(w, kind, id, out, err);
    return err_set(err, ERR_INVALID,
                   "explain: write \"shop.test/cart\", \"haproxy.cfg:12\", an object, or the code of a finding");
}
