/* prompt_complete.h — what the end of a line at the prompt could become.
 * Thread:  loop thread only; runs the loop until the renderer has answered.
 * Owns:    nothing.
 *
 * Commands and files behind them; hosts and paths of the rendering inside of host = "…", path = "…" and explain("…");
 * anything else is Lua's, and the renderer's to know (lua/haptic/repl.lua).
 */
#ifndef HAPTIC_OFFLINE_PROMPT_COMPLETE_H
#define HAPTIC_OFFLINE_PROMPT_COMPLETE_H

#include "offline/workbench.h"

/* One candidate in each line, in order; malloc'ed. A candidate begins with what is typed of it. */
char *prompt_complete(struct workbench *w, const char *line);

#endif
