/* coverage.h — which lines of the configuration's templates ran in tests, and which routes were asked for.
 * Thread:  loop thread only; coverage_take_lines() runs the loop until the renderer has answered.
 * Owns:    copies of everything.
 * Errors:  ERR_SYS: a file cannot be written; ERR_INVALID: a document is no coverage.
 * Source:  geninfo(1): the tracefile of LCOV.
 *
 * Templates are those of the configuration: snippets, maps, files, haproxyConfig; those of the libraries are not
 * counted. A line counts when it is code, or text that is put out. A route is an entry of a map that leads to a
 * backend, in the rendering of any test; a request of a test covers it.
 */
#ifndef HAPTIC_OFFLINE_COVERAGE_H
#define HAPTIC_OFFLINE_COVERAGE_H

#include <yyjson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "offline/workbench.h"

struct coverage {
    struct map templates; /* name → struct covered_template */
    struct map routes;    /* "HOST/PATH (OBJECT)" → struct covered_route */
};

void coverage_init(struct coverage *c);
void coverage_done(struct coverage *c);

/* What ran in a workbench that was made with .coverage. */
void coverage_take_lines(struct coverage *c, struct workbench *w);
/* The routes of a rendering. file, line: of the test that has them. */
void coverage_take_routes(struct coverage *c, struct workbench *w, const char *file, size_t line);
/* A request was answered by this backend. */
void coverage_count_request(struct coverage *c, struct workbench *w, const char *host, const char *path,
                            const char *backend);

/* {"templates": {NAME: {LINE: COUNT}}, "routes": {NAME: {file, line, requests}}}, to add up what several processes saw.
 */
void coverage_put_json(const struct coverage *c, struct buf *out);
int coverage_take_json(struct coverage *c, yyjson_val *document, struct err *err) MUST_CHECK;

/* A short table: a row per template with the lines that did not run, and the routes that nobody asked for. */
void coverage_put_table(const struct coverage *c, struct buf *out);
/* LCOV: a template is a file of lines; the routes are functions of the file of the test. config: says which template is
 * a file of its own. */
int coverage_write_lcov(const struct coverage *c, const struct config *config, const char *path, struct err *err)
    MUST_CHECK;
/* Percentages; 100 when there is nothing to cover. */
double coverage_lines_percent(const struct coverage *c);
double coverage_routes_percent(const struct coverage *c);

#endif
