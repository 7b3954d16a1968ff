/* source_dir.h — a folder of manifests in the place of an API server.
 * Thread:  loop thread only.
 * Owns:    nothing of the store; the store must outlive it. After source_dir_free() the loop has to run once more to
 *          let go of the handles.
 * Errors:  0, or -1 with *err set (ERR_SYS, ERR_INVALID: a selector); what is wrong in files is reported and not an
 *          error.
 *
 * All *.yaml, *.yml and *.json (in any letter case) below the folder, hidden names apart, symbolic links followed; what
 * is not read is said once. A link that is turned, in the folder or on the path to it, is seen at once. Changes are
 * taken over at once (writes when the writer closes the file; what follows within 20 ms is taken together; a file has
 * to be gone for 20 ms), and everything is looked at every 5 s for what inotify cannot see. While a file cannot be
 * read, all it defined stays. While some of its documents are wrong, the others count, deletions included: what stays
 * is the object that the wrong document names, or, where that cannot be seen, what may have stood there. The same
 * object in two files is an error; the first path wins. apiVersion and the plural of kind select the store's kind; its
 * namespaces and selectors are applied here.
 */
#ifndef HAPTIC_STORE_SOURCE_DIR_H
#define HAPTIC_STORE_SOURCE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/err.h"
#include "store/store.h"

#define SOURCE_DIR_FILE_BYTES_MAX ((size_t)64 << 20)
#define SOURCE_DIR_FILES_MAX 100000
#define SOURCE_DIR_DEPTH_MAX 16

struct source_dir;

enum source_dir_news {
    SOURCE_DIR_WRONG,   /* the file, or an object in it, is not used */
    SOURCE_DIR_WARNING, /* the API server would take the object with a warning */
    SOURCE_DIR_RIGHT,   /* a file that was wrong is right again; the message is NULL */
};

/* line 0: no particular line. */
typedef void source_dir_report(void *ctx, enum source_dir_news news, const char *file, size_t line,
                               const char *message);

/* Loads everything before it returns; all kinds of the store are synced then. */
int source_dir_new(uv_loop_t *loop, struct store *store, const char *dir, source_dir_report *report, void *ctx,
                   struct source_dir **ret_source, struct err *err) MUST_CHECK;
/* The same for several folders and files together, ended by NULL; a file that is named is read whatever its name ends
 * in. Of its folder only this file counts. */
int source_dir_open(uv_loop_t *loop, struct store *store, const char *const *paths, source_dir_report *report,
                    void *ctx, struct source_dir **ret_source, struct err *err) MUST_CHECK;
/* False while there are files, or folders, of which something was never read: they may have objects that nobody knows
 * of. Cost proportional to the files. */
bool source_dir_is_readable(const struct source_dir *d);
/* Kinds were added to the store or removed from it: load again. New kinds are synced then. */
int source_dir_reload(struct source_dir *d, struct err *err) MUST_CHECK;
struct source_dir *source_dir_free(struct source_dir *d); /* NULL is fine; always returns NULL */

#endif
