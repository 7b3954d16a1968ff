/* terminal.h — what the other end of an output can show.
 * Thread:  any; nothing else may change the environment meanwhile.
 */
#ifndef HAPTIC_BASE_TERMINAL_H
#define HAPTIC_BASE_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

/* May colours be written to it? It is a terminal, NO_COLOR is not set or empty (https://no-color.org), and TERM is not
 * "dumb". */
bool terminal_has_colour(FILE *to);

#endif
