/* vm.h — the Lua state of a renderer and the calls into the engine written in Lua.
 * Thread:  one; the renderer process has no other.
 * Owns:    the Lua state.
 * Units:   *_bytes bytes, *_ns nanoseconds.
 * Errors:  ERR_TEMPLATE for what Lua raised, ERR_LIMIT when memory was exhausted: the state is then not to be used
 *          again.
 *
 * Lua gets the base, string, table, math, bit, jit, debug and coroutine libraries, cjson, and `require` of what is
 * embedded. There is no io, os, ffi, package or loading of files: the engine needs none, so no template can find a way
 * to them.
 */
#ifndef HAPTIC_ENGINE_VM_H
#define HAPTIC_ENGINE_VM_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "engine/frame.h"
#include "engine/shared_page.h"

struct vm;

struct vm_options {
    size_t heap_bytes;         /* Lua's heap never grows past this; 0: no limit */
    const char *engine_source; /* in place of the embedded haptic.engine; NULL: that one. For tests */
    bool all_libraries;        /* io, os, ffi, package too. For tests of the jail behind the language */
};

/* Where the engine's output goes: frames are added to out; flush is called when there is much of it. */
struct vm_output {
    struct buf *out;
    void (*flush)(void *ctx);
    bool (*input)(void *ctx); /* does input wait? NULL: never */
    void *ctx;
    struct shared_page *page;
};

int vm_new(const struct vm_options *options, const struct vm_output *output, struct vm **ret_vm, struct err *err)
    MUST_CHECK;
/* Note in the shared page which line of a template runs, from now on (sampler.h). For one state per process. */
void vm_sample(struct vm *vm);
/* Also called for NULL; always returns NULL. */
struct vm *vm_free(struct vm *vm);

struct vm_rendering {
    bool complete, unfinished;
    int64_t run, total;
    int64_t wait_ms; /* -1: nothing waits */
};

/* The engine's functions. A raised error is the engine's own fault; what templates do wrong it reports by frames. */
int vm_configure(struct vm *vm, struct field program, struct buf *ret_problem, struct err *err) MUST_CHECK;
/* kind, id, namespace, name, created, json, then parts */
int vm_put(struct vm *vm, const struct field *fields, size_t count, int64_t created, struct err *err) MUST_CHECK;
int vm_delete(struct vm *vm, struct field kind, struct field id, struct err *err) MUST_CHECK;
/* An object that host.ask() named is known, or no longer known. It was put or deleted before this call. */
int vm_answer(struct vm *vm, struct field kind, struct field id, bool is_known, struct field refusal, struct err *err)
    MUST_CHECK;
int vm_skip(struct vm *vm, struct field fragment, struct err *err) MUST_CHECK;
/* The fragments of a namespace are not run for so long. */
int vm_rest(struct vm *vm, struct field namespace_name, int64_t ms, struct err *err) MUST_CHECK;
int vm_render(struct vm *vm, struct vm_rendering *ret_rendering, struct err *err) MUST_CHECK;
int vm_explain(struct vm *vm, struct field fragment, int64_t kind, struct field scope, struct field key, int64_t line,
               struct buf *ret_where, struct err *err) MUST_CHECK;

/* A prompt's question (lua/haptic/engine.lua, E.ask). */
int vm_ask(struct vm *vm, struct field mode, struct field question, struct buf *ret_answer, struct err *err) MUST_CHECK;
size_t vm_heap_bytes(const struct vm *vm);
/* Is a collection worth its time? */
bool vm_has_garbage(const struct vm *vm);
/* Collect garbage for about slice_ns; true while there is more worth doing. Called when no input waits. */
bool vm_collect(struct vm *vm, int64_t slice_ns);

#endif
