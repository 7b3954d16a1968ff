--- Objects that stand under several values of an index: each look-up finds them, and a rendering after changes equals
--- one that begins with the last state.
local program = require("spec.support.program")

local SEPARATOR = "\31"

local SOURCE = [[
for _, parent in ipairs({ "a", "b", "c", "d" }) do
  fragment("of " .. parent, function(out)
    local names = {}
    for i, route in ipairs(resources.routes:fetch(parent)) do names[i] = route.metadata.name end
    out:map_entry("parents.map", parent, #names > 0 and table.concat(names, ",") or "none")
    local section = resources.routes:fetch(parent, "s1")
    out:map_entry("sections.map", parent, tostring(#section))
  end)
end
fragment("all", function(out) out:map_entry("all.map", "count", tostring(#resources.routes:list())) end)
]]

local function list(values) return #values == 0 and "" or table.concat(values, SEPARATOR) end

local function engine()
  return program.engine({ libraries = false, checked = false, kinds = { { name = "routes", parts = 2 } },
    scripts = { { name = "t.lua", source = SOURCE } },
    parts = { routes = function(o) return list(o.parents), list(o.sections) end } })
end

local function route(name, parents, sections)
  return { kind = "Route", metadata = { namespace = "ns", name = name }, parents = parents, sections = sections or {} }
end

local function map(e, name)
  local entries = {}
  for _, f in pairs(e.host.fragments) do
    for _, item in ipairs(f.items) do
      if item.kind == 2 and item.scope == name then entries[item.key] = item.text end
    end
  end
  return entries
end

describe("an index with several values", function()
  it("has an object under each of them, once", function()
    local e = engine()
    e:put("routes", route("one", { "a", "b" }, { "s1", "s2" }))
    e:put("routes", route("two", { "b" }, { "s2" }))
    e:put("routes", route("none", {}))
    e:render()
    assert.same({ a = "one", b = "one,two", c = "none", d = "none" }, map(e, "parents.map"))
    assert.same({ a = "1", b = "1", c = "0", d = "0" }, map(e, "sections.map"))
    assert.same({ count = "3" }, map(e, "all.map"))
  end)

  it("moves it when a value comes or goes, and runs only who has read these keys", function()
    local e = engine()
    e:put("routes", route("one", { "a", "b" }))
    e:render()
    e:put("routes", route("one", { "b", "c" }))
    assert.same({ "t.lua:of a", "t.lua:of b", "t.lua:of c", "t.lua:all" }, e:render().ran)
    assert.same({ a = "none", b = "one", c = "one", d = "none" }, map(e, "parents.map"))
    e:delete("routes", "ns/one")
    assert.same({ "t.lua:of b", "t.lua:of c", "t.lua:all" }, e:render().ran)
    assert.same({ a = "none", b = "none", c = "none", d = "none" }, map(e, "parents.map"))
  end)

  it("renders after changes what it renders from the start", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    print("seed " .. seed)
    local parents, sections = { "a", "b", "c", "d", "x/y", "\\" }, { "s1", "s2", "" }
    local function some(of)
      local chosen = {}
      for _, value in ipairs(of) do
        if math.random(2) == 1 then chosen[#chosen + 1] = value end
      end
      return chosen
    end
    local e, state = engine(), {}
    for _ = 1, 60 do
      for _ = 1, math.random(4) do
        local name = "r" .. math.random(8)
        if math.random(4) == 1 then
          state[name] = nil
          e:delete("routes", "ns/" .. name)
        else
          state[name] = route(name, some(parents), some(sections))
          e:put("routes", state[name])
        end
      end
      e:render()
      local fresh = engine()
      for _, o in pairs(state) do fresh:put("routes", o) end
      fresh:render()
      for _, name in ipairs({ "parents.map", "sections.map", "all.map" }) do
        assert.same(map(fresh, name), map(e, name))
      end
    end
  end)
end)
