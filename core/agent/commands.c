/* The list of commands that are sent together. */
#include "agent/agent_state.h"

#include <stdlib.h>

void batch_done(struct batch *b)
{
    for (size_t i = 0; i < b->strings.length; i++)
        free(b->strings.items[i]);
    vec_done(&b->strings);
    vec_done(&b->commands);
    vec_done(&b->types);
}

size_t batch_add_read(struct batch *b, char *command)
{
    vec_push(&b->strings, command);
    vec_push(&b->commands, command);
    return b->commands.length - 1;
}
