/* version.h — the program's version, from the build. */
#ifndef HAPTIC_CMD_VERSION_H
#define HAPTIC_CMD_VERSION_H

#ifndef HAPTIC_VERSION
#error "the build defines HAPTIC_VERSION"
#endif

#endif
