/* jsonpath_state.h — what a compiled path consists of, for jsonpath_parse.c (makes it) and jsonpath.c (evaluates it)
 * only.
 * Thread:  any; a compiled path is not changed by evaluation.
 */
#ifndef HAPTIC_DATA_JSONPATH_STATE_H
#define HAPTIC_DATA_JSONPATH_STATE_H

#include "data/jsonpath.h"

enum step_kind { STEP_FIELD, STEP_WILDCARD, STEP_INDEX, STEP_SLICE, STEP_DEEP, STEP_UNION, STEP_FILTER };

struct step;
struct steps {
    struct step *items;
    size_t length, capacity;
};

enum scalar_kind { SCALAR_NONE, SCALAR_STRING, SCALAR_NUMBER, SCALAR_BOOL, SCALAR_NULL };

/* A value that can be compared. */
struct scalar {
    enum scalar_kind kind; /* NONE: it cannot */
    const char *string;
    size_t length;
    double number;
    bool boolean;
};

struct operand {
    enum operand_kind { OPERAND_LITERAL, OPERAND_PATH /* @ */, OPERAND_PATH_FROM_ROOT /* $ */ } kind;
    struct scalar literal;
    struct steps path;
};

enum comparison { COMPARE_EXISTS, COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE };

struct step {
    enum step_kind kind;
    char *name; /* FIELD */
    size_t name_length;
    int64_t start, end, stride; /* INDEX: start */
    bool has_end;
    struct steps parts; /* UNION */
    enum comparison comparison;
    struct operand left, right; /* FILTER */
};

struct jsonpath {
    struct steps steps;
};

#endif
