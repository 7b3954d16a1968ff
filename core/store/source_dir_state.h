/* source_dir_state.h — what a folder of manifests consists of, shared by the files of source_dir only.
 * Thread:  loop thread only.
 *
 *   source_dir.c        when: watch, burst, slow timer; the life of a source
 *   source_dir_look.c   what is in the folder, and which of it is new, changed or gone
 *   source_dir_read.c   one file: its objects, and for which kinds of the store they are
 *   source_dir_round.c  which file defines what; the store brought level with the files that changed
 */
#ifndef HAPTIC_STORE_SOURCE_DIR_STATE_H
#define HAPTIC_STORE_SOURCE_DIR_STATE_H

#include <sys/stat.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"
#include "store/dir_watch.h"
#include "store/manifest_texts.h"
#include "store/source_dir.h"

struct dir_keys {
    char **items;
    size_t length, capacity;
};

/* An object of a file that was read in this round, for one kind of the store. */
struct dir_entry {
    struct store_kind *kind;
    char *key;
    size_t object; /* in the manifest */
};

struct dir_file {
    char *path;
    struct stat stat;
    bool is_seen, is_wrong;
    bool was_right;  /* once: what is wrong since then stays as it was */
    bool is_missing; /* not there when last looked for */
    bool is_gone;    /* not there twice */
    struct dir_keys keys;
    /* while a round runs: */
    bool is_fresh;
    struct manifest manifest;
    bool is_parsed;              /* manifest, or why there is none: */
    struct manifest_text parsed; /* without the text */
    VEC(struct dir_entry) entries;
    bool is_whole; /* the file could be read: what it does not name any more goes, unless it is held */
    /* Keys, and beginnings of keys, that stay because of something that is wrong. */
    struct map held;
    struct dir_keys held_beginnings;
};

struct source_dir {
    uv_timer_t burst, poll;
    unsigned open_handles;
    struct store *store;
    struct dir_keys roots; /* folders, and files that were named themselves */
    source_dir_report *report;
    void *ctx;
    struct dir_watch *watch;
    struct map files;      /* path → file */
    struct map claims;     /* key → claim */
    struct map filters;    /* name of kind → filter */
    struct map troubled;   /* folders that could not be read or watched, and were reported */
    struct map pending;    /* paths that changed while a burst lasted */
    size_t unread_folders; /* when everything was looked at last */
    bool pending_everything, is_burst, is_full_reported;
    bool is_skipped_told;
    size_t skipped; /* names that are not read, before that is told */
    struct buf skipped_names;
    bool is_postponed;            /* something was missing for the first time: look again before anything is done */
    VEC(struct dir_file *) dirty; /* of the round */
    struct dir_keys touched;
};

/* source_dir_look.c */
/* Everything below the folder. only_settled: a file that was written a moment ago is left for the next time. Fills
 * dirty, and is_postponed. */
void dir_look_everywhere(struct source_dir *d, bool only_settled);
void dir_look_at(struct source_dir *d, const char *path); /* one file */

/* source_dir_read.c */
/* Compile the selectors of the store's kinds. */
int dir_filters_make(struct source_dir *d, struct err *err) MUST_CHECK;
void dir_filters_clear(struct map *filters);
bool dir_is_manifest(const char *path);
/* Read and parse files, for dir_file_load(). */
void dir_files_parse(struct dir_file *const *files, size_t count);
/* Fill manifest and entries. False when the file as a whole is wrong, and was reported. */
bool dir_file_load(struct source_dir *d, struct dir_file *file);
/* Does something wrong in the file keep this key, which the file had before? */
bool dir_file_holds(const struct dir_file *file, const char *key);
void dir_file_unload(struct dir_file *file);
void dir_file_free(struct dir_file *file);
/* Report it; line 0: no particular one. */
void dir_file_wrong(struct source_dir *d, struct dir_file *file, size_t line, const char *message);
void dir_keys_clear(struct dir_keys *keys);

/* source_dir_round.c */
void dir_round_run(struct source_dir *d); /* read the dirty files, bring the store level with them */
void dir_claims_done(struct map *claims);

#endif
