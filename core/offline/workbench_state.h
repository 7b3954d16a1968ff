/* workbench_state.h — what a workbench consists of, for its files only.
 * Thread:  loop thread only.
 *
 *   workbench.c        life, rendering, files
 *   workbench_read.c   configuration, objects and HAProxy's capabilities, before the first rendering
 *   workbench_check.c  what HAProxy says of a rendering
 *   workbench_status.c what is wished for the status of objects
 *   workbench_findings.c what templates warn of, and what an object lost to another one
 *   workbench_fetch.c  URLs without a content
 *   workbench_question.c what is asked of the renderer
 *   workbench_progress.c how long something takes
 *   workbench_watch.c  waiting for a change
 *   workbench_view.c   what others read
 */
#ifndef HAPTIC_OFFLINE_WORKBENCH_STATE_H
#define HAPTIC_OFFLINE_WORKBENCH_STATE_H

#include "controller/default_certificate.h"
#include "haproxy/scratch.h"
#include "offline/workbench.h"
#include "store/source_dir.h"

enum rendering { RENDERING_NONE, RENDERING_RUNS, RENDERING_DONE, RENDERING_REFUSED };

struct workbench {
    uv_loop_t *loop;
    struct findings *findings;
    struct workbench_options options; /* strings borrowed */
    struct config *config;
    char *program; /* of a dump; NULL: the configuration's */
    struct haproxy_caps caps;
    char *probed; /* the program that said so; NULL: none did */
    struct store *store;
    struct default_certificate default_certificate;
    struct source_dir *source;
    struct renderer *renderer;
    struct model *model;
    struct map fragments; /* id → struct fragment, referenced */
    struct map failures;  /* id → struct failure */
    enum rendering rendering;
    struct scratch stdin_copy;
    char *stdin_path;
    size_t objects_put; /* into the store, while it is read */
    uv_timer_t progress;
    bool shows_progress;
    const char *doing;
    int64_t since_ns;
    bool complete;      /* every fragment has been reported */
    bool replacing;     /* other templates are being tried: what those in force render is not waited for */
    uint64_t requested; /* number of the rendering that is waited for */
    struct render_stats stats;
    workbench_changed *changed; /* NULL: nobody listens */
    void *changed_ctx;
    bool has_news;           /* an object or a file has changed since the last rendering began */
    bool awaits;             /* that is waited for */
    bool is_faulty;          /* see workbench_is_clean() */
    char *answer;            /* of a prompt's question; NULL: not there yet */
    bool validated, refused; /* the check under way: it has ended; a part of no object is refused */
    char *with;              /* the HAProxy of the check under way */
    unsigned questions;
};

/* workbench_progress.c: say on stderr what is done, when it takes longer than two seconds. */
void workbench_begin(struct workbench *w, const char *doing);
void workbench_end(struct workbench *w);
/* workbench_view.c: "ingresses shop/web"; NULL without an owner. malloc'ed. */
char *workbench_object_name(const char *owner_kind, const char *owner_id);

/* workbench_fetch.c: findings for URLs that have no content here, or are not allowed */
void workbench_report_unfetched(struct workbench *w);

/* workbench_findings.c: what templates warn of, and keys and objects that an older object has, each with the line of
 * the template */
void workbench_report_fragments(struct workbench *w);

/* workbench_dump.c: the same from a dump */
int workbench_dump_config(struct workbench *w, struct err *err) MUST_CHECK;
/* Only which HAProxy the controller has. */
int workbench_dump_caps(struct workbench *w, struct err *err) MUST_CHECK;
/* Machine and settings of the controller in a program that is not its own. */
int workbench_dump_adopt(const struct workbench *w, struct buf *program, struct err *err) MUST_CHECK;
int workbench_dump_objects(struct workbench *w, struct err *err) MUST_CHECK;

/* workbench_watch.c: note changes of the store from now on. */
void workbench_follow(struct workbench *w);
/* Something has changed: who awaits it goes on. */
void workbench_note_news(struct workbench *w);

/* workbench_read.c. Each: 0, or -1 when the input cannot be read. */
/* A configuration that is wrong is a finding, and not usable. */
int workbench_read_config(struct workbench *w, bool *ret_usable, struct err *err) MUST_CHECK;
int workbench_read_caps(struct workbench *w, struct err *err) MUST_CHECK;
int workbench_make_store(struct workbench *w, struct err *err) MUST_CHECK;
int workbench_read_objects(struct workbench *w, struct err *err) MUST_CHECK;

#endif
