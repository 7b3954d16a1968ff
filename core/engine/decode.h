/* decode.h — JSON as Lua values.
 * Thread:  one.
 * Owns:    the scratch memory of the parser.
 * Errors:  what is no JSON is a message; running out of Lua's memory raises.
 *
 * null is absent: Kubernetes means the same by both.
 */
#ifndef HAPTIC_ENGINE_DECODE_H
#define HAPTIC_ENGINE_DECODE_H

#include <lua.h>
#include <stddef.h>

struct decoder {
    void *scratch;
    size_t size;
};

void decoder_done(struct decoder *d);
/* Push the value of a JSON text. NULL, or why it is none and nothing is pushed. */
const char *decoder_push(struct decoder *d, lua_State *L, const char *json, size_t length);

#endif
