/* Arbitrary bytes as text templates, in the Lua state that the renderer has. What must hold is written in
 * template_fuzz.lua, which stands in the place of the engine. Here is what Lua cannot do for itself: a budget, an eye
 * on each call that a template makes, and counters for libFuzzer. Lua has no instrumentation: a hook counts pairs of
 * lines instead, and the mutator knows the words of the language, since bytes hardly ever become "{%- end -%}".
 *
 * With FUZZ_LINES in the environment a run ends with how much of the compiler was reached.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/vm_internal.h"

#define HEAP_BYTES ((size_t)256 << 20)
#define COMPILER "@lua/haptic/compiler.lua"
#define HARNESS "@engine.lua"
#define COUNTERS 16384
#define COMPILER_LINES 400
#define FILES 32
/* Longer inputs would only be slower: costs are compared with the length. */
#define INPUT_MAX 4096
/* What is not what is tested. */
#define UNCOUNTED __attribute__((no_sanitize("coverage", "address")))

/* The bytes of template_fuzz.lua, and a NUL. */
extern const char harness_source[];
__asm__(".section .rodata\n"
        "harness_source:\n"
        ".incbin \"template_fuzz.lua\"\n"
        ".byte 0\n"
        ".previous\n");

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

/* libFuzzer's interface has no place for a context. */
static struct {
    struct vm *vm;
    struct buf out;
    struct shared_page page;
    bool counting;
    long used, budget;
    unsigned previous_line, compiler;
    const char *files[FILES];
    bool reached[COMPILER_LINES];
} fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
const char *__asan_default_options(void);

/* Lua's larger blocks are malloc()'s, held from memory that the leak checker does not look into. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static _Noreturn void broken(const char *what)
{
    fprintf(stderr, "ERROR: %s\n", what);
    abort();
}

static bool UNCOUNTED is_template(const lua_Debug *ar)
{
    return ar->source[0] == '=' && strcmp(ar->what, "C") != 0 && ar->source[1] != '[';
}

/* A template calls its own functions, and those that its environment gives it: the harness has listed them. */
static void UNCOUNTED check_call(lua_State *L, lua_Debug *called)
{
    lua_Debug caller;

    if (!lua_getstack(L, 1, &caller))
        return;
    lua_getinfo(L, "S", &caller);
    if (!is_template(&caller))
        return;
    lua_getinfo(L, "Sf", called); /* -1: the function */
    if (!is_template(called)) {
        lua_getglobal(L, "fuzz_allowed");
        lua_pushvalue(L, -2);
        lua_rawget(L, -2);
        if (!lua_toboolean(L, -1)) {
            fprintf(stderr, "%s:%d\n", called->source, called->linedefined);
            broken("a template calls a function that is not of its environment");
        }
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

/* Which file of the engine, from 1; 0: none. The names of its chunks stay where they are, as the engine does. */
static unsigned UNCOUNTED file_of(const char *source)
{
    for (unsigned i = 0; i < FILES; i++) {
        if (fuzz.files[i] == source)
            return i + 1;
        if (!fuzz.files[i]) {
            if (source[0] != '@' || source[1] != 'l' || strncmp(source, "@lua/haptic/", 12) != 0)
                return 0;
            fuzz.files[i] = source;
            if (strcmp(source, COMPILER) == 0)
                fuzz.compiler = i + 1;
            return i + 1;
        }
    }
    return 0;
}

static void UNCOUNTED hook(lua_State *L, lua_Debug *ar)
{
    if (!fuzz.counting)
        return;
    if (ar->event != LUA_HOOKLINE) {
        check_call(L, ar);
        return;
    }
    lua_getinfo(L, "Sl", ar);
    unsigned line = (unsigned)ar->currentline, file = file_of(ar->source);
    if (file) {
        uint8_t *counter = &counters[(fuzz.previous_line * 769 + line + file * 1543) % COUNTERS];
        if (*counter < UINT8_MAX)
            ++*counter;
        fuzz.previous_line = line;
        if (file == fuzz.compiler && line < COMPILER_LINES)
            fuzz.reached[line] = true;
    }
    fuzz.used++;
    if (fuzz.used > fuzz.budget && strcmp(ar->source, HARNESS) != 0)
        luaL_error(L, "fuzz: over the budget");
}

/* fuzz_budget([lines]) → lines that ran since the last call */
static int set_budget(lua_State *L)
{
    fuzz.counting = !lua_isnoneornil(L, 1);
    fuzz.budget = luaL_optlong(L, 1, 0);
    lua_pushinteger(L, fuzz.used);
    fuzz.used = 0;
    return 1;
}

static void flush(void *ctx)
{
    buf_clear(ctx);
}

/* Which lines of the compiler were reached, at the end of the run. */
static void tell_lines(void)
{
    CLEANUP(buf_done) struct buf lines = {0}, sentence = {0};
    struct err err;

    fuzz.counting = false;
    for (int i = 0; i < COMPILER_LINES; i++)
        if (fuzz.reached[i])
            buf_printf(&lines, " %d", i);
    struct field reached = {.bytes = buf_str(&lines), .length = lines.length}, none = {.bytes = ""};
    if (vm_explain(fuzz.vm, reached, 0, none, none, 0, &sentence, &err) < 0)
        broken(err.text);
    fprintf(stderr, "%s\n", buf_str(&sentence));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct vm_output output = {.out = &fuzz.out, .flush = flush, .ctx = &fuzz.out, .page = &fuzz.page};
    struct vm_options options = {.heap_bytes = HEAP_BYTES, .engine_source = harness_source};
    struct err err;

    (void)argc, (void)argv;
    if (vm_new(&options, &output, &fuzz.vm, &err) < 0)
        broken(err.text);
    lua_State *L = fuzz.vm->L;
    lua_pushcfunction(L, set_budget);
    lua_setglobal(L, "fuzz_budget");
    if (luaL_dostring(L, "jit.off()")) /* compiled code calls no hooks */
        broken(lua_tostring(L, -1));
    lua_sethook(L, hook, LUA_MASKLINE | LUA_MASKCALL, 0);
    if (getenv("FUZZ_LINES"))
        atexit(tell_lines);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_done) struct buf problem = {0};
    struct err err;
    struct field input = {.bytes = (const char *)data, .length = size};

    if (size > INPUT_MAX)
        return 0;
    fuzz.previous_line = 0;
    if (vm_configure(fuzz.vm, input, &problem, &err) < 0)
        broken(err.text);
    if (problem.length)
        broken(buf_str(&problem));
    vm_collect(fuzz.vm, 1000000);
    return 0;
}

static const char *const words[] = {
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{-",
    "-}}",
    "{%-",
    "-%}",
    " if true then ",
    " end ",
    " else ",
    "for i = 1, 3 do ",
    "--",
    "--[[",
    "]]",
    "[[",
    "[=[",
    "]=]",
    "\"",
    "'",
    "\\",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\t",
    "\30",
    "-",
    "(",
    ")",
    ";",
    " return ",
    "local x = 1 ",
    "x",
    "args",
    "nil",
    "error('e')",
    "error('e', 0)",
    "error({})",
    "include('x')",
    "include('x', { a = 1 })",
    "include_all('f-*')",
    "raw('a b')",
    "raw(\"\\n\")",
    "function f() return 1 end",
    "f()",
    "..",
    "\"a b\"",
    "global\n",
    "frontend a\n",
    "backend b from base\n",
    "  line\n",
    "key value\n",
    "#",
    "pairs",
    "context.n",
    "context",
    "path:map('m')",
    "fail('no')",
    "pcall(",
    "string",
    "('x'):rep(9)",
    "tostring(",
    "hash('a')",
    "1",
    "{",
    "}",
    "while true do ",
    "\0",
    "\xff",
    "${",
    "%[",
    "goto l ",
    "::l::",
};

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static size_t insert(uint8_t *data, size_t size, size_t max_size, size_t at, const void *bytes, size_t length)
{
    if (length > max_size - size)
        return size;
    memmove(data + at + length, data + at, size - at);
    memcpy(data + at, bytes, length);
    return size + length;
}

/* A stretch of the input again and again: what grows faster than the input shows. */
static size_t repeat(uint8_t *data, size_t size, size_t max_size, uint32_t *state)
{
    uint8_t piece[64];
    size_t at = next(state) % size, length = 1 + next(state) % (sizeof(piece) - 1);
    size_t times = 1u << next(state) % 10;

    if (length > size - at)
        length = size - at;
    memcpy(piece, data + at, length);
    for (size_t i = 0; i < times; i++)
        size = insert(data, size, max_size, at, piece, length);
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint32_t state = seed;
    uint32_t kind = next(&state) % 16;

    if (max_size > INPUT_MAX && size <= INPUT_MAX)
        max_size = INPUT_MAX;
    if (kind < 5 || size > max_size)
        return LLVMFuzzerMutate(data, size, max_size);
    if (kind == 15 && size > 0)
        return repeat(data, size, max_size, &state);
    for (uint32_t n = 1 + next(&state) % 4; n; n--) {
        const char *word = words[next(&state) % ARRAY_LEN(words)];
        size_t length = word[0] ? strlen(word) : 1;
        size = insert(data, size, max_size, size ? next(&state) % (size + 1) : 0, word, length);
    }
    return size;
}
