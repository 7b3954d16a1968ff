/* ask.h — objects that are wanted by name, and who brings them.
 * Thread:  loop thread only.
 * Owns:    copies of names and sentences.
 * Errors:  none.
 *
 * Of some kinds not all objects are in the store but those that a template reads. Who needs one says so (asks_add, as
 * often as asks_remove); who can bring it serves the kind: it puts the object into the store, or finds that there is
 * none, and then answers. An answer stays for as long as anybody asks. A kind that nobody serves is answered at once:
 * the store has what there is.
 */
#ifndef HAPTIC_STORE_ASK_H
#define HAPTIC_STORE_ASK_H

#include <stdbool.h>
#include <stddef.h>

struct asks;

/* An object is asked for by the first one, or by nobody any more. */
typedef void asks_server(void *ctx, const char *kind, const char *id, bool is_asked);
/* refusal: "" or a sentence that says why the object may not be read; NULL: what was answered is void. */
typedef void asks_listener(void *ctx, const char *kind, const char *id, const char *refusal);

struct asks *asks_new(void);
struct asks *asks_free(struct asks *a); /* NULL is fine */

/* True when a server answers for this kind. */
bool asks_is_served(const struct asks *a, const char *kind);
bool asks_has(const struct asks *a, const char *kind, const char *id); /* does anybody ask? */
void asks_add(struct asks *a, const char *kind, const char *id);
void asks_remove(struct asks *a, const char *kind, const char *id);
/* NULL: not answered, or not asked for. */
const char *asks_refusal(const struct asks *a, const char *kind, const char *id);

/* From now on server is told; first of all that is asked for already, whose
 * answers are void: listeners hear of that before. NULL: nobody serves. */
void asks_serve(struct asks *a, const char *kind, asks_server *server, void *ctx);
/* Listeners hear of it if it is news. */
void asks_answer(struct asks *a, const char *kind, const char *id, const char *refusal);

/* Adds or removes a listener. A listener may be removed from within a call of a listener. */
void asks_listen(struct asks *a, asks_listener *listener, void *ctx);
void asks_unlisten(struct asks *a, asks_listener *listener, void *ctx);

#endif
