/* candidate_render.h — a configuration that is not in force, rendered on the objects that the store has, and checked.
 * Thread:  loop thread only.
 * Owns:    a renderer process and a model of its own. Borrows everything in its spec while it runs.
 * Errors:  none: what is wrong is the outcome.
 *
 * Renderer and check have a lower priority than everything else. Neither the store nor the model in force take part.
 *
 *     LOADING ──loads──► RENDERING ──complete──► CHECKING ──► told
 *        └── does not ──────┴── fails where the one in force does not ──► told
 */
#ifndef HAPTIC_CONTROLLER_CANDIDATE_RENDER_H
#define HAPTIC_CONTROLLER_CANDIDATE_RENDER_H

#include <uv.h>

#include "controller/config.h"
#include "controller/problems.h"
#include "controller/review.h"
#include "engine/renderer.h"
#include "haproxy/check.h"
#include "haproxy/model.h"
#include "store/store.h"

struct candidate_render;

struct candidate_render_spec {
    uv_loop_t *loop;
    struct store *store;
    const char *executable;
    const struct config *in_force, *next;
    const char *program; /* of next (config_program()); copied */
    size_t program_length;
    const struct model *model;       /* of what is in force */
    const struct problems *problems; /* likewise */
    struct check_config check;
};

/* unjudged: why there is no verdict, for people; NULL: v is it. v is the callee's, with its texts. Called once, never
 * from inside candidate_render_start(); the render may be freed in it. */
typedef void candidate_rendered(void *ctx, struct verdict *v, const char *unjudged);

/* Begins to render and check a candidate. The strings and pointers of spec are borrowed until done() or
 * candidate_render_free(), except the program. The caller frees the result. */
struct candidate_render *candidate_render_start(const struct candidate_render_spec *spec, candidate_rendered *done,
                                                void *ctx);
/* NULL is fine; always returns NULL. Run the loop on afterwards. */
struct candidate_render *candidate_render_free(struct candidate_render *r);

#endif
