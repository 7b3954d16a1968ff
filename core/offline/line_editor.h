/* line_editor.h — lines that a person types: editing, history, completion. Behind it is libedit; from a pipe, lines are
 * read plainly.
 * Thread:  loop thread only; reading blocks.
 * Owns:    the terminal's state while a line is read.
 */
#ifndef HAPTIC_OFFLINE_LINE_EDITOR_H
#define HAPTIC_OFFLINE_LINE_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

struct line_editor;

/* Candidates for the last word of a line's beginning, one in each line; malloc'ed, NULL: none. */
typedef char *line_editor_complete(void *ctx, const char *line);

/* Where the history is kept: in XDG_STATE_HOME, or at home. malloc'ed; NULL: nowhere. */
char *line_editor_history(void);
/* history_file: read now written at the end; NULL: none. */
struct line_editor *line_editor_new(const char *history_file, line_editor_complete *complete, void *ctx);
struct line_editor *line_editor_free(struct line_editor *e); /* NULL is fine */
enum line_read { LINE_READ, LINE_INTERRUPTED, LINE_END };
/* The next line without its end; valid until the next call. */
enum line_read line_editor_read(struct line_editor *e, const char *prompt, const char **ret_line);
/* Into the history, as one entry also when it has several lines. */
void line_editor_remember(struct line_editor *e, const char *text);
bool line_editor_is_terminal(const struct line_editor *e);

#endif
