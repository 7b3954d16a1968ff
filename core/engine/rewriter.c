/* The pattern belongs to a userdata. This is an upvalue of the function that filters the output of templates. So
 * nothing is held across a call that may raise an error.
 */
#include "engine/rewriter.h"

#include <lauxlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/pattern.h"

#define STEPS_MAX 100000
/* HAProxy has no lines of this length. */
#define RESULT_MAX ((size_t)1 << 20)
#define TEXT_MAX 4096
#define TYPE "haptic.rewriter"

struct rewriter {
    struct pattern *pattern;
    char *replacement;
    struct buf out;
};

static int rewriter_gc(lua_State *L)
{
    struct rewriter *r = lua_touserdata(L, 1);

    pattern_free(STEAL(r->pattern));
    free(STEAL(r->replacement));
    buf_done(&r->out);
    return 0;
}

/* rewrite(line) → line, or nil and a message */
static int rewrite(lua_State *L)
{
    struct rewriter *r = lua_touserdata(L, lua_upvalueindex(1));
    size_t length;
    const char *line = luaL_checklstring(L, 1, &length);
    struct err err;

    if (pattern_replace(r->pattern, line, length, r->replacement, &r->out, &err) == 0) {
        lua_pushlstring(L, buf_str(&r->out), r->out.length);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

int rewriter_push(lua_State *L)
{
    const char *pattern = luaL_checkstring(L, 1), *replacement = luaL_checkstring(L, 2);
    struct err err;

    if (strlen(pattern) > TEXT_MAX || strlen(replacement) > TEXT_MAX)
        return luaL_error(L, "a rule of more than %d bytes", TEXT_MAX);
    struct rewriter *r = lua_newuserdata(L, sizeof(*r)); /* 3 */
    *r = (struct rewriter){.out = {.max = RESULT_MAX}};
    if (luaL_newmetatable(L, TYPE)) { /* 4 */
        lua_pushcfunction(L, rewriter_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, 3);
    if (pattern_new(pattern, &r->pattern, &err) < 0)
        return luaL_error(L, "%s", err.text);
    pattern_limit(r->pattern, STEPS_MAX);
    r->replacement = xstrdup(replacement);
    lua_pushcclosure(L, rewrite, 1);
    return 1;
}
