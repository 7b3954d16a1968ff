/* dump.h — everything that templates see, as lines of JSON: for a prompt elsewhere.
 * Thread:  loop thread only.
 *
 *   {…}                                   the program (docs/design.md, "Program")
 *   {"watchedResources":{…}}              what is watched, as a configuration has it
 *   {"kind":…,"created":…,"id":…,"json":…,"index":[…]}   one line for each object; json is a text
 *
 * Values of Secrets stand in it as handles.
 */
#ifndef HAPTIC_CONTROLLER_DUMP_H
#define HAPTIC_CONTROLLER_DUMP_H

#include "controller/config.h"

/* Objects with more bytes together are not dumped. */
#define DUMP_OBJECTS_MAX ((size_t)128 << 20)

/* program: of a renderer, without line ends. ERR_LIMIT. */
int dump_write(const struct config *c, const struct store *store, const struct buf *program, struct buf *out,
               struct err *err) MUST_CHECK;

#endif
