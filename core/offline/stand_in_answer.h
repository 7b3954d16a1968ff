/* stand_in_answer.h — what a stand-in answers: what its script says, or its name; to calls of gRPC a message.
 * Thread:  any.
 * Owns:    nothing.
 * Source:  libmicrohttpd; gRPC over HTTP2.
 */
#ifndef HAPTIC_OFFLINE_STAND_IN_ANSWER_H
#define HAPTIC_OFFLINE_STAND_IN_ANSWER_H

#include <microhttpd.h>

#include "offline/stand_in.h"

/* script: NULL without. MHD_NO: the connection is to be closed. */
enum MHD_Result stand_in_answer(struct MHD_Connection *connection, const struct stand_in_server *server,
                                const struct stand_in_script *script, const struct stand_in_record *r);

#endif
