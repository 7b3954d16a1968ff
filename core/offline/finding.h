/* finding.h — what the offline commands have to say about a configuration or its objects.
 * Thread:  loop thread only.
 * Owns:    copies of all texts.
 * Source:  SARIF 2.1.0; JUnit XML as CI servers read it; GitHub workflow commands.
 *
 * A finding has a stable code (finding_codes), a level that its code decides, a place, the object that it is about, the
 * problem and, where it is known, the remedy. Findings are printed in the order of their places, each once.
 */
#ifndef HAPTIC_OFFLINE_FINDING_H
#define HAPTIC_OFFLINE_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/map.h"
#include "base/vec.h"

enum finding_level { FINDING_INFO, FINDING_WARNING, FINDING_ERROR };

enum finding_code {
    FINDING_MANIFEST,         /* HT0101 */
    FINDING_FIELD_IGNORED,    /* HT0102 */
    FINDING_CONFIG,           /* HT0103 */
    FINDING_MANIFEST_WARNING, /* HT0104 */
    FINDING_PROGRAM,          /* HT0201 */
    FINDING_FRAGMENT_FAILED,  /* HT0202 */
    FINDING_RENDERER_KILLED,  /* HT0203 */
    FINDING_REFUSED_OBJECT,   /* HT0301 */
    FINDING_REFUSED,          /* HT0302 */
    FINDING_UNCHECKED,        /* HT0303 */
    FINDING_TEMPLATE_WARNS,   /* HT0401 */
    FINDING_KEY_LOST,         /* HT0402 */
    FINDING_NOT_FETCHED,      /* HT0403 */
    FINDING_FETCH_REFUSED,    /* HT0404 */
    FINDING_TEST_FAILED,      /* HT0501 */
    FINDING_TESTS_WRONG,      /* HT0502 */
    FINDING_NO_CONTROLLER,    /* HT0601 */
    FINDING_POD,              /* HT0602 */
    FINDING_UNREACHABLE,      /* HT0603 */
    FINDING_NOT_READY,        /* HT0604 */
    FINDING_LEASE,            /* HT0605 */
    FINDING_REPLICAS,         /* HT0606 */
    FINDING_OBJECTS,          /* HT0607 */
    FINDING_NOT_IN_FORCE,     /* HT0608 */
    FINDING_WATCH,            /* HT0609 */
    FINDING_CERTIFICATES,     /* HT0610 */
    FINDING_VERSION,          /* HT0611 */
    FINDING_MEMBERS,          /* HT0612 */
};

/* One row for each code: what `haptic explain CODE` and docs/errors.md say. */
struct finding_code_row {
    const char *code;
    enum finding_level level;
    const char *title;   /* one line */
    const char *meaning; /* what happened, and what the running controller does then */
    const char *remedy;
    const char *example; /* the beginning of a message with this code; tests produce it */
};
const struct finding_code_row *finding_code_row(enum finding_code code);
size_t finding_code_count(void);
/* NULL when there is no such code; letters in either case. */
const struct finding_code_row *finding_code_find(const char *text);
/* Adds the lines that `haptic explain CODE` prints. */
void finding_code_write(const struct finding_code_row *row, struct buf *out);

/* A place and what is wrong there; all strings are copied, NULL or 0: not known. */
struct finding {
    enum finding_code code;
    const char *file; /* of a template, a manifest or the configuration */
    size_t line, column;
    const char *object;  /* "ingresses shop/web" */
    const char *field;   /* of the file or of the object: "spec.rules[0].host" */
    const char *context; /* with which HAProxy it was found: "HAProxy 3.2.1" */
    const char *message;
    const char *excerpt; /* the line of the file */
};
/* Its message, and its object unless the message names it. malloc'ed. */
char *finding_text(const struct finding *f);

struct findings {
    VEC(struct finding) items; /* owns the strings */
    struct map seen;
};
void findings_done(struct findings *f);
/* Add it, unless the same was said already. */
void findings_add(struct findings *f, const struct finding *finding);
size_t findings_count(const struct findings *f, enum finding_level at_least);

enum finding_format { FINDING_TEXT, FINDING_JSON, FINDING_JUNIT, FINDING_SARIF, FINDING_GITHUB };
/* ERR_INVALID names the formats. */
int finding_format_parse(const char *text, enum finding_format *ret_format, struct err *err) MUST_CHECK;
/* Append a text as XML: of an attribute or an element. */
void finding_put_xml(struct buf *out, const char *text);
/* Sort and append all of them. colour: for FINDING_TEXT. version: of the program. */
void findings_write(struct findings *f, enum finding_format format, bool colour, const char *version, struct buf *out);

#endif
