/* Outside of a protected call nothing may raise an error, and even pushing a string may raise one. So each call from C
 * is described in a struct. One C function, run by lua_cpcall(), pushes the arguments, calls the engine under
 * lua_pcall() with a traceback, and copies the results out. The struct is on the caller's stack, and owns no memory
 * that a raised error could leak.
 */
#include "engine/vm.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "engine/embedded.h"
#include "engine/host.h"
#include "engine/sampler.h"
#include "engine/vm_internal.h"
#include "engine/worker.h"

#define MODULE_NAME_MAX 64

/* lua-cjson.h is installed beside the headers of PUC Lua, which must not be found instead of LuaJIT's. */
int luaopen_cjson(lua_State *L);

static const char *const function_names[ENGINE_FUNCTIONS] = {
    [ENGINE_CONFIGURE] = "configure", [ENGINE_PUT] = "put",         [ENGINE_DELETE] = "delete", [ENGINE_SKIP] = "skip",
    [ENGINE_RENDER] = "render",       [ENGINE_EXPLAIN] = "explain", [ENGINE_ASK] = "ask",       [ENGINE_REST] = "rest",
    [ENGINE_ANSWER] = "answer",
};

/* Message handler: a traceback for a string; for other values only the type, since converting them could raise an error
 * again. */
static int traceback(lua_State *L)
{
    if (!lua_isstring(L, 1)) {
        lua_pushfstring(L, "(the error is a %s value)", luaL_typename(L, 1));
        lua_replace(L, 1);
    }
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

/* "haptic.fragments" → the embedded lua/haptic/fragments.lua; left on the stack as a function. */
static void push_embedded_module(lua_State *L, const char *name)
{
    struct embedded_file file;
    char path[MODULE_NAME_MAX + 16] = "lua/";
    size_t length = strlen(name);

    if (length > MODULE_NAME_MAX)
        luaL_error(L, "module '%s' not found", name);
    char *at = path + strlen(path);
    for (size_t i = 0; i < length; i++)
        *at++ = name[i] == '.' ? '/' : name[i];
    memcpy(at, ".lua", 5);
    if (!embedded_find(path, &file))
        luaL_error(L, "module '%s' not found: it is not part of the program", name);
    lua_pushfstring(L, "@%s", path); /* chunk name */
    if (luaL_loadbufferx(L, file.bytes, file.length, lua_tostring(L, -1), "t"))
        lua_error(L);
    lua_remove(L, -2);
}

/* require(name): a loaded module, else one that a library has preloaded (string.buffer, table.new), else an embedded
 * one. */
static int require_module(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED"); /* 2 */
    lua_getfield(L, 2, name);
    if (lua_toboolean(L, -1))
        return 1;
    lua_pop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD"); /* 3 */
    lua_getfield(L, 3, name);                       /* 4: loader */
    if (lua_isnil(L, 4)) {
        lua_pop(L, 1);
        push_embedded_module(L, name);
    }
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1); /* 4: module */
    if (lua_isnil(L, 4)) {
        lua_pushboolean(L, 1);
        lua_replace(L, 4);
    }
    lua_pushvalue(L, 4);
    lua_setfield(L, 2, name);
    return 1;
}

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

/* next() as a function of C, for lua/haptic/traversal.lua. */
static int next_of_table(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int load_next(lua_State *L)
{
    lua_pushcfunction(L, next_of_table);
    return 1;
}

static void open_libraries(lua_State *L, bool all)
{
    static const struct luaL_Reg libraries[] = {
        {"", luaopen_base},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math},
        {LUA_DBLIBNAME, luaopen_debug},
        {LUA_BITLIBNAME, luaopen_bit},
        {LUA_JITLIBNAME, luaopen_jit},
    };
    /* Functions that read files or print cannot work without descriptors. */
    static const char *const removed[] = {"dofile", "loadfile", "print", "module", "newproxy"};

    if (all)
        luaL_openlibs(L);
    for (size_t i = 0; i < ARRAY_LEN(libraries) && !all; i++)
        open_library(L, libraries[i].name, libraries[i].func);
    for (size_t i = 0; i < ARRAY_LEN(removed) && !all; i++) {
        lua_pushnil(L);
        lua_setglobal(L, removed[i]);
    }
    luaL_findtable(L, LUA_REGISTRYINDEX, "_PRELOAD", 4);
    lua_pushcfunction(L, luaopen_cjson);
    lua_setfield(L, -2, "cjson");
    lua_pushcfunction(L, load_next);
    lua_setfield(L, -2, "haptic.next");
    lua_pop(L, 1);
    lua_pushcfunction(L, require_module);
    lua_setglobal(L, "require");
}

struct setup {
    struct vm *vm;
    const struct vm_options *options;
};

/* Leaves nothing on the stack; references keep the values that calls need. */
static int set_up(lua_State *L)
{
    const struct setup *setup = lua_touserdata(L, 1);
    struct vm *vm = setup->vm;
    const char *source = setup->options->engine_source;

    open_libraries(L, setup->options->all_libraries);
    lua_pushcfunction(L, traceback);
    vm->traceback = luaL_ref(L, LUA_REGISTRYINDEX);
    if (source) {
        if (luaL_loadbufferx(L, source, strlen(source), "@engine.lua", "t"))
            return lua_error(L);
        lua_call(L, 0, 1);
    } else {
        lua_pushcfunction(L, require_module);
        lua_pushliteral(L, "haptic.engine");
        lua_call(L, 1, 1);
    }
    host_push(L, vm);
    lua_call(L, 1, 1); /* -1: E */
    for (int i = 0; i < ENGINE_FUNCTIONS; i++) {
        lua_getfield(L, -1, function_names[i]);
        /* a test's engine lacks them */
        if (!lua_isfunction(L, -1) && i != ENGINE_ASK && i != ENGINE_REST && i != ENGINE_ANSWER)
            return luaL_error(L, "the engine lacks the function %s", function_names[i]);
        vm->functions[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 0;
}

/* Memory ran out outside of a protected call. */
static int panic(lua_State *L)
{
    (void)L;
    _exit(WORKER_EXIT_MEMORY);
}

/* Take the error message off the stack. */
static int take_error(lua_State *L, int status, const char *what, struct err *err)
{
    const char *message = lua_isstring(L, -1) ? lua_tostring(L, -1) : "(no message)";

    err_set(err, status == LUA_ERRMEM ? ERR_LIMIT : ERR_TEMPLATE, "%s: %s", what, message);
    lua_settop(L, 0);
    return -1;
}

int vm_new(const struct vm_options *options, const struct vm_output *output, struct vm **ret_vm, struct err *err)
{
    struct vm *vm = xcalloc(1, sizeof(*vm));
    struct setup setup = {.vm = vm, .options = options};

    vm->output = *output;
    room_init(&vm->room, host_output_max(output->page));
    vm->L = heap_open(&vm->heap, options->heap_bytes);
    vm->heap.first_bytes = output->page->garbage_bytes;
    if (!vm->L) {
        room_done(&vm->room);
        free(vm);
        return err_set(err, ERR_LIMIT, "no memory for a Lua state");
    }
    lua_atpanic(vm->L, panic);
    int status = lua_cpcall(vm->L, set_up, &setup);
    if (status) {
        take_error(vm->L, status, "load the engine", err);
        vm_free(vm);
        return -1;
    }
    heap_load_begin(&vm->heap, vm->L);
    *ret_vm = vm;
    return 0;
}

void vm_sample(struct vm *vm)
{
    sampler_start(vm->L, vm->output.page, vm->output.page->deadline_ns);
}

struct vm *vm_free(struct vm *vm)
{
    if (vm) {
        heap_close(&vm->heap, vm->L);
        decoder_done(&vm->decoder);
        texts_done(&vm->texts);
        room_done(&vm->room);
        free(vm);
    }
    return NULL;
}

/* One call of an engine function: the arguments are strings and numbers; the results are numbers, a boolean or a
 * string. */
#define CALL_FIELDS_MAX 16
struct call {
    struct vm *vm;
    enum engine_function function;
    size_t count;
    struct {
        bool is_number;
        lua_Number number;
        struct field field;
    } arguments[CALL_FIELDS_MAX];
    int results;
    struct buf *ret_text; /* first result */
    struct vm_rendering *ret_rendering;
    int status;
    struct err *err;
};

static void take_results(lua_State *L, const struct call *call)
{
    if (call->ret_text) {
        size_t length = 0;
        const char *text = lua_tolstring(L, -1, &length);
        buf_add(call->ret_text, text ? text : "", text && length < MESSAGE_MAX ? length : text ? MESSAGE_MAX : 0);
    }
    if (call->ret_rendering) {
        call->ret_rendering->complete = lua_toboolean(L, -5);
        call->ret_rendering->run = lua_tointeger(L, -4);
        call->ret_rendering->total = lua_tointeger(L, -3);
        call->ret_rendering->unfinished = lua_toboolean(L, -2);
        lua_Number wait_s = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : -1;
        call->ret_rendering->wait_ms = wait_s < 0 ? -1 : wait_s < 3600 ? (int64_t)(wait_s * 1000) : 3600000;
    }
}

static int run_call(lua_State *L)
{
    struct call *call = lua_touserdata(L, 1);

    luaL_checkstack(L, CALL_FIELDS_MAX + 4, "engine call");
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->vm->traceback); /* 2 */
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->vm->functions[call->function]);
    for (size_t i = 0; i < call->count; i++) {
        if (call->arguments[i].is_number)
            lua_pushnumber(L, call->arguments[i].number);
        else
            lua_pushlstring(L, call->arguments[i].field.bytes, call->arguments[i].field.length);
    }
    call->status = lua_pcall(L, (int)call->count, call->results, 2);
    if (call->status)
        take_error(L, call->status, function_names[call->function], call->err);
    else
        take_results(L, call);
    return 0;
}

static void call_string(struct call *call, struct field field)
{
    call->arguments[call->count++].field = field;
}

static void call_number(struct call *call, int64_t number)
{
    call->arguments[call->count].is_number = true;
    call->arguments[call->count++].number = (lua_Number)number;
}

static int run(struct vm *vm, struct call *call, enum engine_function function, struct err *err)
{
    call->vm = vm;
    call->function = function;
    call->err = err;
    int status = lua_cpcall(vm->L, run_call, call);
    if (status)
        return take_error(vm->L, status, function_names[function], err);
    if (call->status)
        return -1; /* the page still contains the running fragment */
    shared_page_end(vm->output.page);
    return 0;
}

int vm_configure(struct vm *vm, struct field program, struct buf *ret_problem, struct err *err)
{
    struct call call = {.results = 1, .ret_text = ret_problem};

    call_string(&call, program);
    if (run(vm, &call, ENGINE_CONFIGURE, err) < 0)
        return -1;
    if (ret_problem->length == 0) { /* everything is rendered again */
        size_t max_bytes = vm->room.max_bytes;
        room_done(&vm->room);
        room_init(&vm->room, max_bytes);
    }
    return 0;
}

int vm_put(struct vm *vm, const struct field *fields, size_t count, int64_t created, struct err *err)
{
    struct call call = {0};
    struct field packed;

    if (count < 5 || count >= CALL_FIELDS_MAX)
        return err_set(err, ERR_INVALID, "an object with %zu fields", count);
    if (texts_pack(&vm->texts, fields[0], fields[4], &packed, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (i == 4)
            call_number(&call, created);
        call_string(&call, i == 4 ? packed : fields[i]);
    }
    heap_load_check(&vm->heap, vm->L);
    return run(vm, &call, ENGINE_PUT, err);
}

int vm_delete(struct vm *vm, struct field kind, struct field id, struct err *err)
{
    struct call call = {0};

    call_string(&call, kind);
    call_string(&call, id);
    return run(vm, &call, ENGINE_DELETE, err);
}

int vm_answer(struct vm *vm, struct field kind, struct field id, bool is_known, struct field refusal, struct err *err)
{
    struct call call = {0};

    if (vm->functions[ENGINE_ANSWER] == LUA_REFNIL)
        return 0;
    call_string(&call, kind);
    call_string(&call, id);
    call_number(&call, is_known);
    call_string(&call, refusal);
    return run(vm, &call, ENGINE_ANSWER, err);
}

int vm_skip(struct vm *vm, struct field fragment, struct err *err)
{
    struct call call = {0};

    call_string(&call, fragment);
    return run(vm, &call, ENGINE_SKIP, err);
}

int vm_rest(struct vm *vm, struct field namespace_name, int64_t ms, struct err *err)
{
    struct call call = {0};

    if (vm->functions[ENGINE_REST] == LUA_REFNIL)
        return 0;
    call_string(&call, namespace_name);
    call_number(&call, ms);
    return run(vm, &call, ENGINE_REST, err);
}

int vm_render(struct vm *vm, struct vm_rendering *ret_rendering, struct err *err)
{
    struct call call = {.results = 5, .ret_rendering = ret_rendering};

    heap_load_end(&vm->heap, vm->L);
    vm->rendered_bytes = 0;
    int status = run(vm, &call, ENGINE_RENDER, err);
    heap_first_end(&vm->heap, vm->L);
    return status;
}

int vm_explain(struct vm *vm, struct field fragment, int64_t kind, struct field scope, struct field key, int64_t line,
               struct buf *ret_where, struct err *err)
{
    struct call call = {.results = 1, .ret_text = ret_where};

    call_string(&call, fragment);
    call_number(&call, kind);
    call_string(&call, scope);
    call_string(&call, key);
    call_number(&call, line);
    return run(vm, &call, ENGINE_EXPLAIN, err);
}

int vm_ask(struct vm *vm, struct field mode, struct field question, struct buf *ret_answer, struct err *err)
{
    struct call call = {.results = 1, .ret_text = ret_answer};

    call_string(&call, mode);
    call_string(&call, question);
    return run(vm, &call, ENGINE_ASK, err);
}

size_t vm_heap_bytes(const struct vm *vm)
{
    return vm->heap.used_bytes;
}

struct collection {
    struct vm *vm;
    int64_t slice_ns;
    bool more;
};

/* Finalizers may run and raise errors. */
static int run_collection(lua_State *L)
{
    struct collection *collection = lua_touserdata(L, 1);

    collection->more = heap_collect(&collection->vm->heap, L, collection->slice_ns);
    return 0;
}

bool vm_has_garbage(const struct vm *vm)
{
    return heap_has_work(&vm->heap);
}

bool vm_collect(struct vm *vm, int64_t slice_ns)
{
    struct collection collection = {.vm = vm, .slice_ns = slice_ns};

    if (!vm_has_garbage(vm))
        return false;
    if (lua_cpcall(vm->L, run_collection, &collection))
        lua_settop(vm->L, 0);
    return collection.more;
}
