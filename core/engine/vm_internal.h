/* vm_internal.h — the inside of a vm, for the files that make it up (vm.c, host.c, heap.c). */
#ifndef HAPTIC_ENGINE_VM_INTERNAL_H
#define HAPTIC_ENGINE_VM_INTERNAL_H

#include "engine/decode.h"
#include "engine/heap.h"
#include "engine/room.h"
#include "engine/texts.h"
#include "engine/vm.h"

enum engine_function {
    ENGINE_CONFIGURE,
    ENGINE_PUT,
    ENGINE_DELETE,
    ENGINE_SKIP,
    ENGINE_REST, /* may be absent */
    ENGINE_RENDER,
    ENGINE_EXPLAIN,
    ENGINE_ASK,
    ENGINE_ANSWER, /* may be absent */
    ENGINE_FUNCTIONS
};

struct vm {
    lua_State *L;
    struct heap heap;
    struct decoder decoder;
    struct texts texts;
    struct vm_output output;
    struct room room;
    size_t rendered_bytes;           /* of fragments, in the render at hand */
    int functions[ENGINE_FUNCTIONS]; /* references in the registry */
    int traceback;
};

#endif
