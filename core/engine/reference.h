/* reference.h — the files of HAProxy's directory that a text names.
 * Thread:  any.
 * Owns:    nothing; names point into the text.
 */
#ifndef HAPTIC_ENGINE_REFERENCE_H
#define HAPTIC_ENGINE_REFERENCE_H

#include <stddef.h>

/* "maps/host.map", "files/503.http", "certs/shop.pem": path is the whole of it, name what follows the slash. */
struct reference {
    const char *path, *name;
    size_t path_length, name_length;
    enum reference_folder { REFERENCE_MAPS, REFERENCE_FILES, REFERENCE_CERTS } folder;
};

/* Call fn for each name that stands in text as a path relative to the directory, in the order of the folders. The same
 * name may come several times. A longer path that ends so ("/etc/maps/x") is none. */
void references_each(const char *text, size_t length, void (*fn)(void *ctx, const struct reference *r), void *ctx);

#endif
