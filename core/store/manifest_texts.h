/* manifest_texts.h — many manifest texts, and long ones, read by several threads.
 * Thread:  any.
 * Owns:    the caller owns the texts, and the manifests that are made of them.
 */
#ifndef HAPTIC_STORE_MANIFEST_TEXTS_H
#define HAPTIC_STORE_MANIFEST_TEXTS_H

#include "store/manifest.h"

/* A text, and what is read from it. */
struct manifest_text {
    const char *text;
    size_t length;
    bool is_json;
    struct manifest manifest; /* when result is 0 */
    int result;
    struct json_position at;
    struct err err;
};
/* manifest_parse() of each, by all processors where that is worth it; long texts in parts. */
void manifest_parse_all(struct manifest_text *texts, size_t count, size_t max_bytes);

#endif
