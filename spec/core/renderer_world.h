/* renderer_world.h — a watched renderer with a small engine in Lua of the test's own, so that it can misbehave on
 * purpose; it has all libraries (but the jail is the real one). */
#ifndef SPEC_CORE_RENDERER_WORLD_H
#define SPEC_CORE_RENDERER_WORLD_H

#include "engine_support.h"

#define FAST_NS (NS_PER_S / 2)

/* One fragment per object. spec.text decides: "hang" does not end, "fail" fails, else it is the fragment's text. */
#define EACH_OBJECT \
    "local host, objects, skipped, on = ...\n" \
    "local put, delete, dirty, complete, puts = on.put, on.delete, {}, true, 0\n" \
    "function on.put(kind, id, ...)\n" \
    "  put(kind, id, ...) dirty[kind .. '/' .. id] = true puts = puts + 1\n" \
    "end\n" \
    "function on.delete(kind, id)\n" \
    "  delete(kind, id) dirty[kind .. '/' .. id] = nil host.gone(kind .. '/' .. id)\n" \
    "end\n" \
    "local function body(o)\n" \
    "  local text = host.decode_object(o.json).spec.text\n" \
    "  if text == 'hang' then while true do end end\n" \
    "  if text == 'fail' then error('it failed', 0) end\n" \
    "  if text == 'puts' then return puts end\n" \
    "  return prefix .. text\n" \
    "end\n" \
    "return function()\n" \
    "  local ids, gone = {}, {}\n" \
    "  for id in pairs(dirty) do ids[#ids + 1] = id end\n" \
    "  table.sort(ids)\n" \
    "  for _, id in ipairs(ids) do\n" \
    "    local o = objects[id]\n" \
    "    if skipped[id] then\n" \
    "      host.failed(id, 'each.lua', o.kind, o.id, o.created, 'skipped')\n" \
    "      skipped[id] = nil\n" \
    "    else\n" \
    "      host.at(id, 'each.lua', o.kind, o.id)\n" \
    "      local ok, text = pcall(body, o)\n" \
    "      if ok then host.fragment(id, 'each.lua', o.kind, o.id, o.created, {3, 0, 0, 'file', '', text .. ''}, 1)\n" \
    "      else host.failed(id, 'each.lua', o.kind, o.id, o.created, text) end\n" \
    "    end\n" \
    "  end\n" \
    "  dirty = {}\n" \
    "  local was = complete complete = false\n" \
    "  return was, #ids, #ids\n" \
    "end\n"

static UNUSED void set_program(struct watched *w, const char *source)
{
    CLEANUP(free_ptr) char *quoted = json_quoted(source);
    CLEANUP(free_ptr)
    char *program = xasprintf(
        "{\"kinds\":[{\"name\":\"other\",\"parts\":2},{\"name\":\"things\",\"parts\":2}],\"source\":%s}", quoted);

    renderer_set_program(w->renderer, program, strlen(program));
}

static UNUSED struct watched *start(const struct renderer_limits *limits, const char *source)
{
    struct watched *w = watched_new(limits);

    watched_kind(w, "things");
    watched_kind(w, "other");
    set_program(w, source);
    return w;
}

static UNUSED struct watched *start_each(const struct renderer_limits *limits)
{
    return start(limits, "prefix = 'the '\n" EACH_OBJECT);
}

/* What main() does: it is the renderer too. */
#define RENDERER_MAIN(argc, argv, tests) \
    do { \
        if ((argc) == 2 && strcmp((argv)[1], "renderer") == 0) \
            worker_run(&(struct vm_options){.engine_source = open_engine, .all_libraries = true}); \
        log_set_level(LOG_ERROR); \
        return cmocka_run_group_tests(tests, NULL, NULL); \
    } while (0)

#endif
