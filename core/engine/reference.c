/* memmem() for each folder's prefix is faster than any search that looks at words. */
#include "engine/reference.h"

#include <stdbool.h>
#include <string.h>

#define NAME_MAX_BYTES 250 /* as haproxy/disk takes them */

static const char *const prefixes[] = {
    [REFERENCE_MAPS] = "maps/", [REFERENCE_FILES] = "files/", [REFERENCE_CERTS] = "certs/"};

static bool is_of_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-' || c == '+' || c == '@' || c == ':' || c == '~';
}

/* True when a path begins there. "opt@maps/x" and "./maps/x" are paths, too. */
static bool begins(const char *text, const char *at)
{
    if (at == text)
        return true;
    char before = at[-1];
    if (before == '/' && at - text >= 2 && at[-2] == '.' && (at - text == 2 || (!is_of_name(at[-3]) && at[-3] != '/')))
        return true;
    return before == '@' || before == ':' || (!is_of_name(before) && before != '/');
}

void references_each(const char *text, size_t length, void (*fn)(void *ctx, const struct reference *r), void *ctx)
{
    const char *end = text + length;
    for (size_t folder = 0; folder < sizeof(prefixes) / sizeof(prefixes[0]); folder++) {
        size_t prefix = strlen(prefixes[folder]);
        for (const char *at = text; (at = memmem(at, (size_t)(end - at), prefixes[folder], prefix));) {
            const char *name = at + prefix, *stop = name;
            while (stop < end && is_of_name(*stop))
                stop++;
            size_t name_length = (size_t)(stop - name);
            /* False for the folder itself, for a file in a subfolder, and for a hidden file. */
            if (begins(text, at) && name_length > 0 && name_length <= NAME_MAX_BYTES && *name != '.' &&
                (stop == end || *stop != '/'))
                fn(ctx, &(struct reference){.path = at,
                                            .name = name,
                                            .path_length = prefix + name_length,
                                            .name_length = name_length,
                                            .folder = (enum reference_folder)folder});
            at = stop;
        }
    }
}
