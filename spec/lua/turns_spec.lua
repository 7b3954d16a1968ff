-- Whose fragments run when, with a clock of the test's own.
local program = require("spec.support.program")

local now, cost, input
local HOST = {
  clock = function() return now end,
  cpu = function() return now end,
  input = function() return input end,
  deadline = 10,
}

-- A template cannot see the clock; this one tells it what it costs by what it asks for.
local SOURCE = "each(resources.things, 't', function(o, out) resources.things:get('cost', o.metadata.name) "
  .. "out:map_entry('m', o.metadata.namespace .. '.' .. o.metadata.name, o.value) end)"

local function engine(options)
  now, cost, input = 1000, {}, false
  local host = {}
  for k, v in pairs(HOST) do host[k] = v end
  host.clock = options and options.clock or host.clock
  local e = program.engine({ libraries = false, checked = false, kinds = { { name = "things", parts = 2 } }, host = host,
    scripts = { { name = "t.lua", source = SOURCE } }, output_bytes = options and options.output_bytes })
  local at = e.host.api.at
  e.host.api.at = function(id, ...)
    now = now + (cost[id:match("things/([^/]+)/")] or 0)
    return at(id, ...)
  end
  return e
end

local function put(e, namespace, name, value)
  e:put("things", { metadata = { namespace = namespace, name = name }, value = value })
end

local function fill(e, namespace, count, value)
  for i = 1, count do put(e, namespace, ("t%03d"):format(i), value) end
end

local function count_of(ran, namespace)
  local n = 0
  for _, id in ipairs(ran) do
    if id:find("things/" .. namespace .. "/", 1, true) then n = n + 1 end
  end
  return n
end

--- Until nothing is left; the number of renderings.
local function finish(e)
  for n = 1, 1000 do
    local r = e:render()
    if not r.unfinished and not r.wait then return n end
    if not r.unfinished then now = now + r.wait end
  end
  error("it does not end")
end

describe("turns", function()
  it("do not cut the first rendering of many cheap fragments, nor one that nobody waits for", function()
    local e = engine()
    fill(e, "big", 500, "1")
    fill(e, "small", 3, "1")
    cost.big = 0.01
    local r = e:render()
    assert.same({ true, 503, false }, { r.complete, r.run, r.unfinished })
    now = now + 100
    fill(e, "big", 400, "2")
    r = e:render()
    assert.same({ 400, false }, { r.run, r.unfinished })
  end)

  it("let others' input in after one turn, and their output out before the rest", function()
    local e = engine()
    fill(e, "big", 100, "1")
    fill(e, "small", 3, "1")
    e:render()
    now, cost.big = now + 100, 0.04
    fill(e, "big", 100, "2")
    input = true
    local r = e:render()
    assert.same({ 2, true }, { r.run, r.unfinished }) -- two are a turn
    input = false
    put(e, "small", "t001", "2")
    r = e:render()
    assert.same({ "t.lua:t/things/small/t001" }, r.ran)
    assert.is_true(r.unfinished)
    assert.equal(finish(e), 1)
    assert.matches("big.t100 2\n", e:output().maps.m)
  end)

  it("come to whoever owes much, too, however much the others have to do", function()
    local e = engine()
    fill(e, "big", 40, "1")
    fill(e, "small", 1, "1")
    e:render()
    now, cost.big, cost.small, input = now + 100, 0.04, 0.001, true
    fill(e, "big", 40, "2")
    local renderings = 0
    repeat
      renderings = renderings + 1
      put(e, "small", "t001", "v" .. renderings)
      now = now + 0.05
      local r = e:render()
      assert.equal(1, count_of(r.ran, "small")) -- each change in the very rendering that follows it
    until not r.unfinished
    assert.is_true(renderings < 400, renderings .. " renderings")
    assert.matches("big.t040 2\n", e:output().maps.m)
  end)

  it("are followed by a rest where one fragment takes long", function()
    local e = engine()
    fill(e, "big", 5, "1")
    fill(e, "small", 1, "1")
    e:render()
    now, cost.big = now + 100, 1
    fill(e, "big", 5, "2")
    local r = e:render()
    assert.equal(1, r.run)
    assert.is_false(r.unfinished)
    assert.is_true(r.wait > 2.9 and r.wait <= 3, tostring(r.wait))
    assert.same({ size = 0, time = 4 }, e.host.held.big)
    put(e, "small", "t001", "2")
    assert.same({ "t.lua:t/things/small/t001" }, e:render().ran)
    assert.equal(0, e:render().run)
    finish(e)
    assert.matches("big.t005 2\n", e:output().maps.m)
    assert.is_nil(e.host.held.big)
  end)

  it("of a namespace that ended a renderer come after the first rendering is complete", function()
    local e = engine()
    e.E.rest("big", 5000)
    fill(e, "big", 3, "1")
    fill(e, "small", 2, "1")
    local r = e:render()
    assert.is_true(r.complete)
    assert.equal(0, count_of(r.ran, "big"))
    assert.same({ "t.lua:t/things/big/t001", "t.lua:t/things/big/t002", "t.lua:t/things/big/t003" }, (function()
      table.sort(e.host.waits)
      return e.host.waits
    end)())
    assert.equal(5, r.wait)
    now = now + 5
    r = e:render()
    assert.same({ false, 3 }, { r.complete, r.run })
  end)

  it("end the first rendering when it takes too long; what is left follows", function()
    local e = engine()
    cost.big = 1
    fill(e, "big", 50, "1")
    fill(e, "small", 10, "1")
    local r = e:render()
    assert.is_true(r.complete)
    assert.is_true(r.unfinished)
    assert.equal(10, count_of(r.ran, "small"))
    assert.equal(50 - count_of(r.ran, "big"), #e.host.waits)
    assert.is_true(#e.host.waits > 20)
    finish(e)
    assert.matches("big.t050 1\n", e:output().maps.m)
  end)

  it("give a first rendering time for each of its fragments, and do not count what it waits for a processor", function()
    local e = engine()
    cost.big = 0.0055
    fill(e, "big", 4000, "1")
    local r = e:render()
    assert.same({ true, 4000, false }, { r.complete, r.run, r.unfinished })

    local slow = engine({ clock = function() return now * 10 end })
    cost.big = 0.004
    fill(slow, "big", 4000, "1")
    r = slow:render()
    assert.same({ true, 4000, false }, { r.complete, r.run, r.unfinished })
  end)

  it("say the same in the end, whatever the costs", function()
    local e, free = engine(), engine()
    local function world(x)
      fill(x, "a", 20, "1")
      fill(x, "b", 20, "1")
      x:render()
      fill(x, "a", 20, "2")
      x:delete("things", "b/t007")
      fill(x, "c", 5, "2")
    end
    cost = {}
    world(free)
    free:render()
    cost, input = { a = 0.3, b = 0.01, c = 0.02 }, true
    world(e)
    finish(e)
    assert.equal(free.host:dump(), e.host:dump())
  end)
end)

describe("room", function()
  it("is shared by namespaces; what waits is rendered when there is some", function()
    local e = engine({ output_bytes = 4000 })
    put(e, "greedy", "t1", ("x"):rep(900))
    put(e, "greedy", "t2", ("x"):rep(900))
    put(e, "greedy", "t3", ("x"):rep(900))
    put(e, "victim", "v", "1")
    e:render()
    assert.is_nil(e.host.failures["t.lua:t/things/victim/v"])
    assert.matches("held back: namespace greedy has its share", e.host.failures["t.lua:t/things/greedy/t3"])
    assert.same({ size = 1, time = 0 }, e.host.held.greedy)
    put(e, "victim", "v", "2")
    e:render()
    assert.matches("victim.v 2\n", e:output().maps.m)
    assert.same({ size = 1, time = 0 }, e.host.held.greedy)
    -- Smaller is always possible.
    put(e, "greedy", "t1", "y")
    local r = e:render()
    assert.same({ "t.lua:t/things/greedy/t1", "t.lua:t/things/greedy/t3" }, r.ran)
    assert.same({}, e.host.failures)
    assert.is_nil(e.host.held.greedy)
  end)

  it("that was refused is forgotten with its object", function()
    local e = engine({ output_bytes = 2000 })
    put(e, "greedy", "t1", ("x"):rep(900))
    put(e, "greedy", "t2", ("x"):rep(900))
    e:render()
    e:delete("things", "greedy/t2")
    assert.same({ "t.lua:t/things/greedy/t2" }, e:render().gone)
    e:delete("things", "greedy/t1")
    assert.equal(0, e:render().run)
    assert.equal(0, e.host.total)
  end)
end)
