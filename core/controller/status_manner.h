/* status_manner.h — how the status of objects is written.
 * Thread:  any.
 */
#ifndef HAPTIC_CONTROLLER_STATUS_MANNER_H
#define HAPTIC_CONTROLLER_STATUS_MANNER_H

#include "controller/write_manner.h"

#define STATUS_MANAGER "haptic-status"

extern const struct write_manner status_manner;

#endif
