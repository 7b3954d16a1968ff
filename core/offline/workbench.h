/* workbench.h — a configuration and objects from files, rendered once, as the controller would do it.
 * Thread:  loop thread only; the calls run the loop until they are done.
 * Owns:    configuration, store, sources, renderer process and model.
 * Errors:  ERR_SYS, ERR_NOTFOUND, ERR_INVALID: the input cannot be read, or an option is wrong. What is wrong in the
 *          input is no error but a finding.
 *
 * It is the controller's own path: the same store, renderer process, model and check. There is no second rendering.
 */
#ifndef HAPTIC_OFFLINE_WORKBENCH_H
#define HAPTIC_OFFLINE_WORKBENCH_H

#include <uv.h>

#include "controller/config.h"
#include "engine/renderer.h"
#include "haproxy/disk.h"
#include "haproxy/model.h"
#include "haproxy/version.h"
#include "offline/finding.h"
#include "store/store.h"

struct workbench;

struct workbench_options {
    const char *executable;  /* this program, for the renderer */
    const char *config_file; /* NULL: the built-in configuration */
    /* must outlive the workbench, as all strings; files and folders, "-": standard input; ended by NULL; may be
     * empty */
    const char *const *sources;
    const char *const *extra_context; /* "key=value", ended by NULL */
    const char *const *contexts;      /* JSON objects, merged over the configuration's extraContext; NULL: none */
    const char *haproxy_binary;       /* "haproxy": looked up in PATH */
    const char *haproxy_version;      /* render for that version without such a program; NULL: ask the program */
    bool coverage;                    /* count which lines of templates run: slow */
    bool timings;                     /* note what fragments cost: timings.h */
    bool no_report;                   /* a rendering adds no findings about fragments and URLs */
    bool progress;                    /* say on stderr what takes longer than two seconds */
    /* Of a running controller, in the place of sources and, without config_file, of the configuration; NULL: none. */
    const char *dump;
    /* The handle under which what runs has the default certificate that the controller made; NULL: another one. There
     * is no value of it here. */
    const char *default_certificate;
};

/* Read everything. findings gets what is wrong in it; it must live as long as the workbench. NULL in *ret_workbench
 * with 0: the configuration is wrong, and a finding says so. */
int workbench_new(uv_loop_t *loop, const struct workbench_options *options, struct findings *findings,
                  struct workbench **ret_workbench, struct err *err) MUST_CHECK;
struct workbench *workbench_free(struct workbench *w); /* NULL is fine; run the loop until it is empty afterwards */
/* The same at the end of the process, to which the memory of the objects and of the model is left: freeing that of
 * 10 000 Ingresses piece by piece takes 0.1 s. */
struct workbench *workbench_leave(struct workbench *w);

/* Render. False: the templates do not load, and a finding says so. */
bool workbench_render(struct workbench *w);
/* The same without looking through all fragments for failures, so that a change costs what it costs a controller. */
bool workbench_render_only(struct workbench *w);
const struct render_stats *workbench_stats(const struct workbench *w); /* of the last rendering */
/* Hear of each fragment whose output changes while workbench_render() runs; before or now is NULL for a new one and one
 * that is gone. changed NULL: no more. */
typedef void workbench_changed(void *ctx, const struct fragment *before, const struct fragment *now);
void workbench_listen(struct workbench *w, workbench_changed *changed, void *ctx);
/* Put a prompt's question to the renderer and wait: see renderer_ask(). Changed files are taken over first. malloc'ed;
 * "" when the renderer ended. */
char *workbench_ask(struct workbench *w, const char *mode, const char *question);
/* Where a line (from 0) of a contribution was written: "ingress.lua:42", "" unknown. malloc'ed. */
char *workbench_where(struct workbench *w, const char *fragment_id, const struct contribution *c, unsigned line);
/* All fragments, in no order; one by its name, NULL: there is none. */
void workbench_each_fragment(const struct workbench *w, void (*fn)(void *ctx, const struct fragment *f), void *ctx);
const struct map *workbench_fragment_map(const struct workbench *w); /* id → struct fragment */
const struct fragment *workbench_fragment(const struct workbench *w, const char *id);
/* URLs that the last rendering wants and that have no content here; allowed: the configuration lets them be fetched. */
void workbench_each_unfetched(struct workbench *w, void (*fn)(void *ctx, bool allowed, const char *why), void *ctx);
/* Walk the fragments of one object in the order of their names; kind: name of a watched kind. */
void workbench_each_of(struct workbench *w, const char *kind, const char *id,
                       void (*fn)(void *ctx, const struct fragment *f), void *ctx);
/* Read the configuration file again; the next workbench_render() is by its templates. */
int workbench_reload(struct workbench *w, struct err *err) MUST_CHECK;
/* Ask one HAProxy whether it would load what was rendered. May be called for several programs. */
int workbench_validate(struct workbench *w, const char *haproxy_binary, struct err *err) MUST_CHECK;
/* False as soon as a file or template was wrong, or HAProxy refused something: former output is in use then, which a
 * new workbench does not have. While it is true, whatever is rendered and checked after a change is what a new one
 * gives. */
bool workbench_is_clean(const struct workbench *w);
/* Run the loop until objects have changed, or a file was found wrong, since the last rendering began; or until *end. */
void workbench_await(struct workbench *w, const bool *end);
/* All files: haproxy.cfg, maps, files, certificates. Handles stand for the values of Secrets. */
void workbench_files(struct workbench *w, struct disk_files *ret_files);
/* The same of any model. */
void workbench_model_files(const struct model *m, enum model_state state, struct disk_files *ret_files);
/* What the templates wish for the status of objects: "status/KIND/NAMESPACE/NAME.json". */
void workbench_status(struct workbench *w, struct disk_files *ret_files);
/* The objects that the templates want to exist: "objects/KIND/NAMESPACE/NAME.json". */
void workbench_objects(struct workbench *w, struct disk_files *ret_files);

/* What owners of objects are told, a line for each, in order: "Warning REASON KIND NAMESPACE/NAME MESSAGE". */
void workbench_events(struct workbench *w, struct buf *out);

/* From a dump: values of Secrets are concealed (offline/concealed.h). */
bool workbench_is_concealed(const struct workbench *w);
/* Take what was rendered as accepted, without asking HAProxy. */
void workbench_accept(struct workbench *w);
const struct haproxy_caps *workbench_caps(const struct workbench *w);
const struct config *workbench_config(const struct workbench *w);
/* What the templates are told besides the objects: the program, as JSON (docs/design.md, section 11). */
int workbench_program(const struct workbench *w, struct buf *out, struct err *err) MUST_CHECK;
/* Where findings go from now on. */
void workbench_set_findings(struct workbench *w, struct findings *findings);
struct model *workbench_model(struct workbench *w);
struct store *workbench_store(struct workbench *w);
struct renderer *workbench_renderer(struct workbench *w);
/* Fragments of the last rendering. */
size_t workbench_fragments(const struct workbench *w);
/* Objects of watched kinds that were read from the files. */
size_t workbench_objects_read(const struct workbench *w);

#endif
