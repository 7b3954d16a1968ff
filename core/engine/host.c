/* Each function checks its arguments, then writes one frame into the output buffer. A raised error unwinds the C stack
 * without cleanup. So before an error is raised, the length of the buffer is set back to the begin of the incomplete
 * frame.
 */
#include "engine/host.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "engine/contribution_check.h"
#include "engine/coverage.h"
#include "engine/ration.h"
#include "engine/rewriter.h"
#include "engine/vm_internal.h"

/* The output is sent when it has reached this size. */
#define FLUSH_BYTES ((size_t)256 << 10)
#define ITEM_FIELDS 6

static struct vm *vm_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct field check_field(lua_State *L, int index)
{
    struct field field;

    field.bytes = luaL_checklstring(L, index, &field.length);
    return field;
}

/* An argument that is a name. */
static struct field check_name(lua_State *L, int index, size_t max)
{
    struct field field = check_field(L, index);

    if (field.length > max)
        luaL_error(L, "a name of %d bytes, more than %d", (int)field.length, (int)max);
    for (size_t i = 0; i < field.length; i++)
        if ((unsigned char)field.bytes[i] < ' ' || field.bytes[i] == 0x7f)
            luaL_error(L, "a name with a control character");
    return field;
}

static void add(struct buf *out, struct field field)
{
    frame_add(out, field.bytes, field.length);
}

static void finish(struct vm *vm, size_t mark)
{
    frame_end(vm->output.out, mark);
    if (vm->output.out->length >= FLUSH_BYTES)
        vm->output.flush(vm->output.ctx);
}

/* Arguments 1 to 4 (id, template, owner kind, owner id) and 5 (created) as fields of a frame that is begun here. */
static size_t begin_with_head(lua_State *L, struct vm *vm, enum frame_type type)
{
    static const size_t max[4] = {AT_HAND_ID_MAX, AT_HAND_TEMPLATE_MAX, AT_HAND_OWNER_KIND_MAX, AT_HAND_OWNER_ID_MAX};
    struct field head[4];

    for (int i = 0; i < 4; i++)
        head[i] = check_name(L, i + 1, max[i]);
    lua_Number created = luaL_checknumber(L, 5);
    size_t mark = frame_begin(vm->output.out, type);
    for (int i = 0; i < 4; i++)
        add(vm->output.out, head[i]);
    frame_add_number(vm->output.out, created > -1e15 && created < 1e15 ? (int64_t)created : 0);
    return mark;
}

/* host.at(fragment_id, template, owner_kind, owner_id) */
static int host_at(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct field id = check_field(L, 1), template_name = check_field(L, 2), owner_kind = check_field(L, 3),
                 owner_id = check_field(L, 4);

    heap_relieve(&vm->heap, L);
    shared_page_begin(vm->output.page, &id, &template_name, &owner_kind, &owner_id);
    return 0;
}

static int32_t item_number(lua_State *L, struct buf *out, size_t mark, int index)
{
    lua_Number number = lua_tonumber(L, index);

    if (!lua_isnumber(L, index) || number != (lua_Number)(int32_t)number) {
        out->length = mark;
        luaL_error(L, "a contribution's kind, rank and order are whole numbers");
    }
    return (int32_t)number;
}

static struct field item_string(lua_State *L, struct buf *out, size_t mark, int index)
{
    struct field field;

    field.bytes = lua_tolstring(L, index, &field.length);
    if (!field.bytes) {
        out->length = mark;
        luaL_error(L, "a contribution's scope, key and text are strings, not %s", luaL_typename(L, index));
    }
    return field;
}

/* This part of the limit of a rendering is reserved for messages about fragments that would exceed it. */
#define MESSAGES_SHARE 8

size_t host_output_max(const struct shared_page *page)
{
    return page->output_bytes - page->output_bytes / MESSAGES_SHARE;
}

/* The data that Lua keeps of a fragment that was sent. Without padding, because it is compared as bytes. */
struct sent {
    struct digest digest;
    uint64_t bytes;
};

static size_t sent_bytes(lua_State *L, int index)
{
    size_t length = 0;
    const char *before = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &length) : NULL;
    struct sent sent;

    if (!before || length != sizeof(sent))
        return 0;
    memcpy(&sent, before, sizeof(sent));
    return (size_t)sent.bytes;
}

static int refuse_fragment(lua_State *L, struct buf *out, size_t mark, const char *why, size_t missing_bytes)
{
    out->length = mark;
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushnumber(L, (lua_Number)missing_bytes);
    return 3;
}

/* The frame that begins at mark is complete: sends it, or drops it when it equals that of argument 8, unless argument 9
 * is true. With argument 10 there is always room for it, because its contents protect others. Results to Lua: its
 * digest and size as one string; or nil and the reason. */
static int finish_unless_known(lua_State *L, struct vm *vm, size_t mark, size_t items)
{
    struct buf *out = vm->output.out;
    struct sent sent = {.digest = digest_of(out->data + mark, out->length - mark),
                        .bytes = ration_cost(out->length - mark, items)};
    size_t before = sent_bytes(L, 8);
    struct field namespace_name = room_namespace(check_field(L, 4));
    bool known = before && memcmp(lua_tostring(L, 8), &sent, sizeof(sent)) == 0;

    bool must = lua_toboolean(L, 10);

    if (!must && !known && sent.bytes > before && !room_fits(&vm->room, namespace_name, sent.bytes - before))
        return refuse_fragment(L, out, mark, "room", sent.bytes - before);
    if (known && !lua_toboolean(L, 9)) {
        out->length = mark;
    } else {
        size_t max = host_output_max(vm->output.page);
        if (!must && (vm->rendered_bytes > max || sent.bytes > max - vm->rendered_bytes))
            return refuse_fragment(L, out, mark, "later", 0);
        vm->rendered_bytes += sent.bytes;
        room_change(&vm->room, namespace_name, before, sent.bytes);
        finish(vm, mark);
    }
    lua_pushlstring(L, (const char *)&sent, sizeof(sent));
    return 1;
}

/* host.fragment(id, template, owner_kind, owner_id, created, items, n, before, again) → digest, or nil and why not */
static int host_fragment(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct buf *out = vm->output.out;
    size_t max = vm->output.page->fragment_bytes;

    luaL_checktype(L, 6, LUA_TTABLE);
    lua_Integer count = luaL_checkinteger(L, 7);
    if (count < 0 || count > CONTRIBUTIONS_MAX)
        return luaL_error(L, "%d contributions of one fragment, more than %d", (int)count, CONTRIBUTIONS_MAX);
    size_t mark = begin_with_head(L, vm, FRAME_FRAGMENT);
    luaL_checkstack(L, ITEM_FIELDS, "host.fragment");
    size_t messages = 0;
    for (int i = 0; i < (int)count; i++) {
        /* -6 kind, -5 rank, -4 order, -3 scope, -2 key, -1 text */
        for (int field = 1; field <= ITEM_FIELDS; field++)
            lua_rawgeti(L, 6, i * ITEM_FIELDS + field);
        struct field scope = item_string(L, out, mark, -3), key = item_string(L, out, mark, -2),
                     text = item_string(L, out, mark, -1);
        struct contribution_input input = {
            .kind = (enum contribution_kind)item_number(L, out, mark, -6),
            .rank = item_number(L, out, mark, -5),
            .order = item_number(L, out, mark, -4),
            .scope = scope.bytes,
            .scope_length = scope.length,
            .key = key.bytes,
            .key_length = key.length,
            .text = text.bytes,
            .text_length = text.length,
        };
        const char *problem = contribution_problem(&input);
        if (!problem && contribution_is_message(input.kind) && ++messages > CONTRIBUTION_MESSAGES_MAX)
            problem = "too many messages of one fragment";
        if (problem) {
            out->length = mark;
            return luaL_error(L, "contribution %s of %s: %s", key.bytes, scope.bytes, problem);
        }
        if (scope.length + key.length + text.length > max - (out->length - mark)) {
            out->length = mark;
            return luaL_error(L, "the output of one fragment is larger than %d bytes", (int)max);
        }
        frame_add_number(out, input.kind);
        frame_add_number(out, input.rank);
        frame_add_number(out, input.order);
        add(out, scope);
        add(out, key);
        add(out, text);
        lua_pop(L, ITEM_FIELDS);
    }
    return finish_unless_known(L, vm, mark, (size_t)count);
}

/* host.gone(id, digest, owner_id) */
static int host_gone(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct field id = check_name(L, 1, AT_HAND_ID_MAX);
    size_t bytes = sent_bytes(L, 2), mark = frame_begin(vm->output.out, FRAME_GONE);

    add(vm->output.out, id);
    finish(vm, mark);
    if (bytes)
        room_change(&vm->room, room_namespace(check_field(L, 3)), bytes, 0);
    return 0;
}

/* host.waits(id) */
static int host_waits(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct field id = check_name(L, 1, AT_HAND_ID_MAX);
    size_t mark = frame_begin(vm->output.out, FRAME_WAITS);

    add(vm->output.out, id);
    finish(vm, mark);
    return 0;
}

/* host.ask(kind, id, wanted) */
static int host_ask(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct field kind = check_name(L, 1, AT_HAND_OWNER_KIND_MAX), id = check_name(L, 2, AT_HAND_OWNER_ID_MAX);
    size_t mark = frame_begin(vm->output.out, FRAME_NEED);

    add(vm->output.out, kind);
    add(vm->output.out, id);
    frame_add_number(vm->output.out, lua_toboolean(L, 3));
    finish(vm, mark);
    return 0;
}

/* host.held(namespace, by_size, by_time) */
static int host_held(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct field namespace_name = check_name(L, 1, AT_HAND_OWNER_ID_MAX);
    lua_Integer by_size = luaL_checkinteger(L, 2), by_time = luaL_checkinteger(L, 3);
    size_t mark = frame_begin(vm->output.out, FRAME_HELD);

    add(vm->output.out, namespace_name);
    frame_add_number(vm->output.out, by_size);
    frame_add_number(vm->output.out, by_time);
    finish(vm, mark);
    return 0;
}

/* host.fits(namespace, bytes) → boolean */
static int host_fits(lua_State *L)
{
    struct field namespace_name = check_field(L, 1);
    lua_Number bytes = luaL_checknumber(L, 2);

    lua_pushboolean(L, bytes >= 0 && bytes < 1e15 && room_fits(&vm_of(L)->room, namespace_name, (size_t)bytes));
    return 1;
}

/* host.released() → number */
static int host_released(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)vm_of(L)->room.released);
    return 1;
}

/* Seconds. Templates cannot call these functions. */
static int host_clock(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_now_ns() / (lua_Number)NS_PER_S);
    return 1;
}

/* host.cpu() → processor seconds of this process, which has one thread. The clock of the thread is exact. With the timer
 * of LuaJIT's profiler (ITIMER_PROF) Linux advances the clock of the process at ticks only. */
static int host_cpu(lua_State *L)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / (lua_Number)NS_PER_S);
    return 1;
}

/* host.input() → does any wait? */
static int host_input(lua_State *L)
{
    struct vm *vm = vm_of(L);

    lua_pushboolean(L, vm->output.input && vm->output.input(vm->output.ctx));
    return 1;
}

/* host.failed(id, template, owner_kind, owner_id, created, message) */
static int host_failed(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct field message = check_field(L, 6);

    if (message.length > MESSAGE_MAX)
        message.length = MESSAGE_MAX;
    size_t mark = begin_with_head(L, vm, FRAME_FAILED);
    add(vm->output.out, message);
    finish(vm, mark);
    return 0;
}

/* host.log(level, message) */
static int host_log(lua_State *L)
{
    struct vm *vm = vm_of(L);
    enum log_level level;
    struct field message = check_field(L, 2);

    if (log_level_parse(luaL_checkstring(L, 1), &level, NULL) < 0)
        return luaL_argerror(L, 1, "trace, debug, info, warn or error expected");
    if (message.length > MESSAGE_MAX)
        message.length = MESSAGE_MAX;
    size_t mark = frame_begin(vm->output.out, FRAME_LOG);
    frame_add_number(vm->output.out, level);
    add(vm->output.out, message);
    finish(vm, mark);
    return 0;
}

/* host.digest(string) → hex */
static int host_digest(lua_State *L)
{
    struct field bytes = check_field(L, 1);
    char hex[DIGEST_HEX_SIZE];

    lua_pushstring(L, digest_hex(digest_of(bytes.bytes, bytes.length), hex));
    return 1;
}

static int decode(lua_State *L, struct vm *vm, struct field json)
{
    const char *problem = decoder_push(&vm->decoder, L, json.bytes, json.length);

    if (!problem)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, problem);
    return 2;
}

/* host.decode(json) → value, or nil and a message */
static int host_decode(lua_State *L)
{
    return decode(L, vm_of(L), check_field(L, 1));
}

/* host.decode_object(text of an object as put() got it) → value, or nil and a message */
static int host_decode_object(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct field json;
    struct err err;

    if (texts_unpack(&vm->texts, check_field(L, 1), &json, &err) == 0)
        return decode(L, vm, json);
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

/* host.address_parse(text) → the 4 or 16 bytes of an IPv4 or IPv6 address, or nil */
static int host_address_parse(lua_State *L)
{
    struct field text = check_field(L, 1);
    unsigned char bytes[sizeof(struct in6_addr)];

    if (strlen(text.bytes) != text.length)
        lua_pushnil(L);
    else if (inet_pton(AF_INET, text.bytes, bytes) == 1)
        lua_pushlstring(L, (const char *)bytes, sizeof(struct in_addr));
    else if (inet_pton(AF_INET6, text.bytes, bytes) == 1)
        lua_pushlstring(L, (const char *)bytes, sizeof(struct in6_addr));
    else
        lua_pushnil(L);
    return 1;
}

void host_push(lua_State *L, struct vm *vm)
{
    static const struct luaL_Reg functions[] = {
        {"at", host_at},
        {"fragment", host_fragment},
        {"gone", host_gone},
        {"failed", host_failed},
        {"log", host_log},
        {"digest", host_digest},
        {"decode", host_decode},
        {"decode_object", host_decode_object},
        {"waits", host_waits},
        {"held", host_held},
        {"fits", host_fits},
        {"released", host_released},
        {"clock", host_clock},
        {"cpu", host_cpu},
        {"input", host_input},
        {"address_parse", host_address_parse},
        {"cover", coverage_begin},
        {"covered", coverage_push},
        {"rewriter", rewriter_push},
        {"ask", host_ask},
    };

    lua_createtable(L, 0, (int)ARRAY_LEN(functions));
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        lua_pushlightuserdata(L, vm);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_pushnumber(L, (lua_Number)vm->output.page->fragment_bytes);
    lua_setfield(L, -2, "fragment_bytes");
    lua_pushnumber(L, (lua_Number)vm->output.page->deadline_ns / (lua_Number)NS_PER_S);
    lua_setfield(L, -2, "deadline");
    lua_pushinteger(L, CONTRIBUTIONS_MAX);
    lua_setfield(L, -2, "contributions");
}
