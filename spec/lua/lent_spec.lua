--- What a template is handed is read-only: what one changes, no other sees.
local program = require("spec.support.program")
local seal = require("haptic.seal")

local function engine(source)
  return program.engine({ libraries = false, checked = false,
    kinds = { { name = "things", parts = 2 }, { name = "parts", parts = 2 } },
    scripts = { { name = "t.lua", source = source } } })
end

local function thing(name, fields)
  local o = { kind = "Thing", metadata = { name = name, namespace = "ns" } }
  for k, v in pairs(fields or {}) do o[k] = v end
  return o
end

--- The one value of a map, by key.
local function value(e, key)
  return (e:output().maps.m or ""):match("%f[^%z\n]" .. key .. " ([^\n]*)\n")
end

--- Which fragments failed: names and messages.
local function failures(e)
  local list = {}
  for id, message in pairs(e.host.failures) do list[#list + 1] = id .. ": " .. message end
  table.sort(list)
  return list
end

describe("an object that a template changes", function()
  -- Things t1 … t9 all read the part p; t5 changes it. All say what they see.
  local READERS = [[
each(resources.things, "see", function(o, out)
  local part = resources.parts:get("ns", "p")
  if o.metadata.name == "t5" then %s end
  out:map_entry("m", o.metadata.name, part.spec.list[1] .. "/" .. #part.spec.list .. "/" .. (part.spec.x or "-"))
end)]]
  local CHANGES = {
    ["a field set"] = "part.spec.x = 'evil'",
    ["a field changed"] = "part.spec.list[1] = 'evil'",
    ["an item added"] = "table.insert(part.spec.list, 'evil')",
    ["an item removed"] = "table.remove(part.spec.list, 1) part.spec.list[1] = 'evil'",
    ["a list sorted"] = "table.sort(part.spec.list, function(a, b) return a > b end)",
    ["another table put in place"] = "part.spec = { list = { 'evil' } }",
    ["itself put inside"] = "part.spec.list[1] = 'evil' part.self = part",
  }

  for what, change in pairs(CHANGES) do
    it("is seen by nobody else, whoever read it before and later: " .. what, function()
      local e = engine(READERS:format(change))
      e:put("parts", thing("p", { spec = { list = { "a", "b" } } }))
      for i = 1, 9 do e:put("things", thing("t" .. i)) end
      for round = 1, 4 do
        e:render()
        for i = 1, 9 do
          if i ~= 5 then assert.equal("a/2/-", value(e, "t" .. i), "round " .. round .. ", t" .. i) end
        end
        assert.same({}, (function()
          local others = {}
          for id in pairs(e.host.failures) do if id ~= "t.lua:see/things/ns/t5" then others[#others + 1] = id end end
          return others
        end)())
        -- Once with all, then with one of each.
        e:put("things", thing("t" .. round, { n = round }))
        e:put("things", thing("t5", { n = round }))
      end
      assert.matches("t5: .*the template changed the object ns/p at ", failures(e)[1])
    end)
  end

  it("is seen by nobody else either when the changer runs alone", function()
    local e = engine(READERS:format("part.spec.list[1] = 'evil'"))
    e:put("parts", thing("p", { spec = { list = { "a", "b" } } }))
    for i = 1, 9 do e:put("things", thing("t" .. i)) end
    e:render()
    for n = 1, 5 do
      e:put("things", thing("t5", { n = n }))
      e:render()
      e:put("things", thing("t6", { n = n }))
      e:render()
      assert.equal("a/2/-", value(e, "t6"))
    end
  end)

  it("reaches no shared value, and no reader of it", function()
    local e = engine([[
local first = shared("first", function() return resources.parts:get("ns", "p").spec.list[1] end)
each(resources.things, "see", function(o, out)
  local part = resources.parts:get("ns", "p")
  if o.metadata.name == "t1" then part.spec.list[1] = "evil" end
  out:map_entry("m", o.metadata.name, first())
end)]])
    e:put("parts", thing("p", { spec = { list = { "a" } } }))
    for i = 1, 3 do e:put("things", thing("t" .. i)) end
    e:render()
    assert.equal("a", value(e, "t2"))
    assert.equal("a", value(e, "t3"))
  end)

  it("is found out in a shared value's function too", function()
    local e = engine([[
local first = shared("first", function()
  local part = resources.parts:get("ns", "p")
  part.spec.list[1] = "evil"
  return part.spec.list[1]
end)
each(resources.things, "see", function(o, out)
  out:map_entry("m", o.metadata.name, resources.parts:get("ns", "p").spec.list[1])
end)
fragment("ask", function(out) out:map_entry("m", "ask", first()) end)]])
    e:put("parts", thing("p", { spec = { list = { "a" } } }))
    for i = 1, 3 do e:put("things", thing("t" .. i)) end
    e:render()
    for i = 1, 3 do assert.equal("a", value(e, "t" .. i)) end
  end)

  it("does not keep the rendering from its end, however it is changed", function()
    local e = engine([[
local n = 0
each(resources.things, "see", function(o, out)
  local part = resources.parts:get("ns", "p")
  n = n + 1
  if n % 2 == 0 then part.spec["x" .. n] = n end
  out:map_entry("m", o.metadata.name, part.spec.list[1])
end)]])
    e:put("parts", thing("p", { spec = { list = { "a" } } }))
    for i = 1, 5 do e:put("things", thing("t" .. i)) end
    assert.is_true(#e:render().ran < 200)
  end)
end)

describe("a shared value", function()
  local READERS = [[
local v = shared("v", function() return %s end)
each(resources.things, "see", function(o, out)
  local t = v()
  if o.metadata.name == "t2" then %s end
  out:map_entry("m", o.metadata.name, t.a.b)
end)]]

  it("that a reader changes is as it was to all others", function()
    local e = engine(READERS:format("{ a = { b = 'good' } }", "t.a.b = 'evil'"))
    for i = 1, 4 do e:put("things", thing("t" .. i)) end
    for round = 1, 3 do
      e:render()
      for _, i in ipairs({ 1, 3, 4 }) do assert.equal("good", value(e, "t" .. i)) end
      assert.matches("^t.lua:see/things/ns/t2: .*changed the shared value t.lua:v; shared values are read%-only",
        failures(e)[1])
      assert.is_nil(failures(e)[2])
      e:put("things", thing("t" .. (round + 1), { n = round }))
    end
  end)

  it("that two readers change does not keep the rendering from its end", function()
    local e = engine(READERS:format("{ a = { b = 'good' } }", "t.a.b = 'evil' end if o.metadata.name == 't3' then t.a = { b = 'evil' }"))
    for i = 1, 4 do e:put("things", thing("t" .. i)) end
    assert.is_true(#e:render().ran < 50)
    assert.equal("good", value(e, "t1"))
    assert.equal("good", value(e, "t4"))
    assert.equal(2, #failures(e))
  end)

  it("that contains itself fails those who ask, by name", function()
    for _, cyclic in ipairs({ "(function() local t = {} t.t = t return t end)()",
      "(function() local a, b = {}, {} a.b, b.a = b, a return { a } end)()",
      "(function() local t = {} t[t] = 1 t.x = { t } return t end)()" }) do
      local e = engine(READERS:format(cyclic, ""))
      e:put("things", thing("t1"))
      e:render()
      assert.matches("^t.lua:see/things/ns/t1: t.lua:.*the shared value t.lua:v contains itself", failures(e)[1])
      -- What it read changes: it is computed again, beside another one that is fine.
      e:put("things", thing("t1", { n = 1 }))
      e:render()
      assert.equal(1, #failures(e))
    end
  end)

  it("that is nested too deep fails those who ask", function()
    local e = engine(READERS:format("(function() local t = {} local r = t for i = 1, 1e5 do t.t = {} t = t.t end return r end)()", ""))
    e:put("things", thing("t1"))
    e:render()
    assert.matches("is nested deeper than 200 levels", failures(e)[1])
  end)

  it("may have a table in several places, however often", function()
    local e = engine([[
local v = shared("v", function()
  resources.parts:list()
  local t = { "x" }
  for i = 1, 60 do t = { t, t } end
  return t
end)
each(resources.things, "see", function(o, out)
  local t = v()
  while type(t) == "table" do t = t[1] end
  out:map_entry("m", o.metadata.name, t)
end)]])
    e:put("things", thing("t1"))
    e:render()
    assert.equal("x", value(e, "t1"))
    e:put("parts", thing("p"))
    assert.same({}, e:render().ran) -- the value is the same as before
    assert.same({}, failures(e))
  end)
end)

describe("a seal", function()
  it("breaks at every change, and holds without one", function()
    math.randomseed(tonumber(os.getenv("SEED")) or os.time())
    local seed = math.random(1e9)
    math.randomseed(seed)
    local function random_table(depth)
      local t = {}
      for _ = 1, math.random(0, 6) do
        local k = math.random(2) == 1 and #t + 1 or "k" .. math.random(20)
        t[k] = depth > 0 and math.random(3) == 1 and random_table(depth - 1) or math.random(3) == 1 and "s" or math.random(5)
      end
      return t
    end
    local function tables_in(t, list)
      list[#list + 1] = t
      for _, v in pairs(t) do if type(v) == "table" then tables_in(v, list) end end
      return list
    end
    for i = 1, 2000 do
      local t = random_table(3)
      local s = seal.make(t)
      assert.is_true(seal.holds(t, s), "seed " .. seed .. ", " .. i)
      local all = tables_in(t, {})
      local victim = all[math.random(#all)]
      local k = next(victim)
      local way = math.random(3)
      if way == 1 or k == nil then
        victim.added = true
      elseif way == 2 then
        victim[k] = nil
      else
        victim[k] = type(victim[k]) == "table" and {} or victim[k] == "s" and "S" or "other"
      end
      assert.is_false(seal.holds(t, s), "seed " .. seed .. ", " .. i .. ", way " .. way)
    end
  end)

  it("is not broken by a number that is none", function()
    local t = { 0 / 0 }
    assert.is_true(seal.holds(t, (seal.make(t))))
    t[1] = 1
    assert.is_false(seal.holds(t, (seal.make({ 0 / 0 }))))
  end)
end)

