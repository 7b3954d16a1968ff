/* Chunks of templates are named "=NAME"; those of the engine "@PATH", and are not counted. */
#include "engine/coverage.h"

#include <lauxlib.h>
#include <luajit.h>

static char counts_key;

/* Stack: counts of all templates; nil before coverage_begin(). */
static void push_counts(lua_State *L)
{
    lua_pushlightuserdata(L, &counts_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

static void on_line(lua_State *L, lua_Debug *at)
{
    if (!lua_getinfo(L, "Sl", at) || at->source[0] != '=' || at->currentline <= 0)
        return;
    push_counts(L); /* 1 */
    lua_pushstring(L, at->source + 1);
    lua_rawget(L, -2); /* 2: of this template */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushstring(L, at->source + 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_rawgeti(L, -1, at->currentline); /* 3 */
    lua_Integer count = lua_tointeger(L, -1);
    lua_pushinteger(L, count + 1);
    lua_rawseti(L, -3, at->currentline);
    lua_pop(L, 3);
}

int coverage_begin(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_FLUSH);
    push_counts(L);
    if (lua_isnil(L, -1)) {
        lua_pushlightuserdata(L, &counts_key);
        lua_newtable(L);
        lua_rawset(L, LUA_REGISTRYINDEX);
    }
    lua_pop(L, 1);
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    return 0;
}

int coverage_push(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    push_counts(L);
    if (!lua_isnil(L, -1)) {
        lua_pushstring(L, name);
        lua_rawget(L, -2);
    }
    return 1;
}
