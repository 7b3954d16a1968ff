/* questions.h — what a renderer was asked and has not answered yet.
 * Thread:  loop thread only.
 */
#ifndef HAPTIC_ENGINE_QUESTIONS_H
#define HAPTIC_ENGINE_QUESTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"

struct question {
    uint64_t number;
    void (*done)(void *ctx, const char *answer);
    void *ctx;
};

/* A zeroed struct has none. */
struct questions {
    VEC(struct question) items; /* oldest first */
    uint64_t number;            /* of the last one */
};

/* The number that the next one will have. */
uint64_t questions_next(struct questions *q);
void questions_add(struct questions *q, void (*done)(void *ctx, const char *answer), void *ctx);
/* Answers come in the order of the questions; false: this is none. */
bool questions_answer(struct questions *q, uint64_t number, const char *answer);
/* Nobody will answer: each is told "". */
void questions_drop(struct questions *q);

#endif
