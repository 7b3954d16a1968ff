/* manifest_state.h — how a manifest is filled, for the manifest*.c files only.
 * Thread:  any.
 */
#ifndef HAPTIC_STORE_MANIFEST_STATE_H
#define HAPTIC_STORE_MANIFEST_STATE_H

#include "store/manifest.h"

/* Keep a document as long as the manifest; its root. */
struct yyjson_val *manifest_keep_copy(struct manifest *m, struct yyjson_doc *doc);
/* The objects of a value: itself, or those of a list. doc: where it is from, for lines; NULL: of no YAML. The last two
 * are what it has where it says nothing; NULL: nothing. */
void manifest_add_value(struct manifest *m, const struct yaml_doc *doc, struct yyjson_val *value,
                        const char *list_api_version, const char *item_kind);
/* The same of all documents. */
void manifest_add_documents(struct manifest *m);

#endif
