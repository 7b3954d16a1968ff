/* yyjson parses the text into scratch memory that is kept between calls. yyjson knows the number of members of each
 * value, so each table is made with its final size, which makes this faster than growing tables during parsing. The
 * scratch memory belongs to the decoder, so an error that Lua raises in between leaks nothing.
 */
#include "engine/decode.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <yyjson.h>

#include "base/alloc.h"

#define DEPTH_MAX 200
/* Larger scratch memory is given back. */
#define SCRATCH_KEEP_BYTES ((size_t)1 << 20)
/* A number with more than 64 bits stays text, and is then read as the nearest double. */
#define READ_FLAGS YYJSON_READ_BIGNUM_AS_RAW

void decoder_done(struct decoder *d)
{
    free(d->scratch);
    *d = (struct decoder){0};
}

static bool push_value(lua_State *L, yyjson_val *value, int depth);

static bool push_object(lua_State *L, yyjson_val *object, int depth)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(object);
    yyjson_val *key;

    lua_createtable(L, 0, (int)yyjson_obj_size(object));
    while ((key = yyjson_obj_iter_next(&it))) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        if (yyjson_is_null(value))
            continue;
        lua_pushlstring(L, yyjson_get_str(key), yyjson_get_len(key));
        if (!push_value(L, value, depth))
            return false;
        lua_rawset(L, -3);
    }
    return true;
}

static bool push_array(lua_State *L, yyjson_val *array, int depth)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *value;

    lua_createtable(L, (int)yyjson_arr_size(array), 0);
    for (int i = 1; (value = yyjson_arr_iter_next(&it)); i++) {
        if (yyjson_is_null(value))
            continue;
        if (!push_value(L, value, depth))
            return false;
        lua_rawseti(L, -2, i);
    }
    return true;
}

static bool push_value(lua_State *L, yyjson_val *value, int depth)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_OBJ:
    case YYJSON_TYPE_ARR:
        if (depth == DEPTH_MAX)
            return false;
        luaL_checkstack(L, 3, "nested JSON");
        return yyjson_is_obj(value) ? push_object(L, value, depth + 1) : push_array(L, value, depth + 1);
    case YYJSON_TYPE_STR:
        lua_pushlstring(L, yyjson_get_str(value), yyjson_get_len(value));
        return true;
    case YYJSON_TYPE_NUM:
        lua_pushnumber(L, yyjson_get_num(value));
        return true;
    case YYJSON_TYPE_RAW:
        lua_pushnumber(L, strtod(yyjson_get_raw(value), NULL));
        return true;
    case YYJSON_TYPE_BOOL:
        lua_pushboolean(L, yyjson_get_bool(value));
        return true;
    default:
        lua_pushnil(L);
        return true;
    }
}

static bool reserve(struct decoder *d, size_t size)
{
    if (d->size >= size)
        return true;
    decoder_done(d);
    d->scratch = malloc(size); /* not xmalloc: a large object must not end the process */
    d->size = d->scratch ? size : 0;
    return d->scratch != NULL;
}

const char *decoder_push(struct decoder *d, lua_State *L, const char *json, size_t length)
{
    int top = lua_gettop(L);
    yyjson_read_err problem;
    yyjson_alc allocator;
    const char *message = NULL;

    if (!reserve(d, yyjson_read_max_memory_usage(length, READ_FLAGS)) ||
        !yyjson_alc_pool_init(&allocator, d->scratch, d->size))
        return "no memory";
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)json, length, READ_FLAGS, &allocator, &problem);
    if (!doc) {
        message = problem.msg;
    } else if (!push_value(L, yyjson_doc_get_root(doc), 0)) {
        lua_settop(L, top);
        message = "nested too deep";
    }
    if (d->size > SCRATCH_KEEP_BYTES)
        decoder_done(d);
    return message;
}
