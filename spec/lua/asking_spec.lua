-- Objects that are here only because a template reads them.
local program = require("spec.support.program")

local SOURCE = [[
local label = shared("label", function(key)
  local secret = resources.secrets:get("ns", key)
  return secret and secret.label or "none"
end)
local users = each_requested(resources.secrets, "users", function(secret, out, asked)
  out:map_entry("users", asked.name, secret and secret.value or "none")
end)
each(resources.things, "thing", function(thing, out)
  local name = thing.metadata.name
  for _, secret in ipairs(thing.secrets or {}) do
    local found = resources.secrets:get("ns", secret)
    if not found then out:warn("Missing", "no " .. secret) end
    out:map_entry("things", name .. "." .. secret, found and found.value or "none")
  end
  if thing.label then out:map_entry("labels", name, label(thing.label)) end
  if thing.users then
    users("ns", thing.users, "k")
    out:map_entry("guarded", name, thing.users)
  end
  if thing.list then resources.secrets:list() end
end)
]]

local function engine(source, options)
  options = options or {}
  options.libraries = false
  options.kinds = { { name = "things", parts = 2 }, { name = "secrets", parts = 2, lazy = true } }
  options.scripts = { { name = "t.lua", source = source or SOURCE } }
  return program.engine(options)
end

local function object(name, fields)
  local o = { metadata = { name = name, namespace = "ns" } }
  for k, v in pairs(fields or {}) do o[k] = v end
  return o
end

local function answer(e, name, refusal) e.E.answer("secrets", "ns/" .. name, 1, refusal or "") end

--- An engine that has rendered its first state, of nothing.
local function started(source, options)
  local e = engine(source, options)
  assert.is_true(e:render().complete)
  return e
end

local THING = "t.lua:thing/things/ns/a"

describe("objects that are read by asking", function()
  it("are asked for by the first who reads them, until the last one does not any more", function()
    local e = started()
    e:put("things", object("a", { secrets = { "s" } }))
    e:put("things", object("b", { secrets = { "s", "t" } }))
    e:render()
    assert.same({ "+secrets ns/s", "+secrets ns/t" }, e.host.asked)
    e:put("things", object("a"))
    e:render()
    assert.same({}, e.host.asked)
    e:put("things", object("b", { secrets = { "t" } }))
    e:render()
    assert.same({ "-secrets ns/s" }, e.host.asked)
    e:delete("things", "ns/b")
    e:render()
    assert.same({ "-secrets ns/t" }, e.host.asked)
    e:put("things", object("b", { secrets = { "t" } }))
    e:render()
    assert.same({ "+secrets ns/t" }, e.host.asked)
  end)

  it("do not count before there is an answer: what was put out before stays", function()
    local e = started()
    e:put("things", object("a", { secrets = { "s" } }))
    assert.same({}, e:render().sent)
    assert.same({}, e:output().maps)
    e:put("secrets", object("s", { value = "1" }))
    assert.same({ THING }, e:render().sent)
    assert.equal("a.s 1\n", e:output().maps.things)
    answer(e, "s")
    assert.same({}, e:render().ran)
    e:put("things", object("a", { secrets = { "s", "t" } }))
    assert.same({}, e:render().sent)
    assert.equal("a.s 1\n", e:output().maps.things)
    answer(e, "t")
    assert.same({ THING }, e:render().sent)
    assert.equal("a.s 1\na.t none\n", e:output().maps.things)
    assert.equal("no t", e:output().warnings["ns/a"].Missing)
  end)

  it("are followed: a new version, and that it is gone", function()
    local e = started()
    e:put("things", object("a", { secrets = { "s" } }))
    e:render()
    e:put("secrets", object("s", { value = "1" }))
    answer(e, "s")
    e:render()
    e:put("secrets", object("s", { value = "2" }))
    assert.same({ THING }, e:render().sent)
    e:delete("secrets", "ns/s")
    assert.same({ THING }, e:render().sent)
    assert.equal("a.s none\n", e:output().maps.things)
  end)

  it("that may not be read fail those who read them, and nobody else", function()
    local e = started()
    e:put("things", object("a", { secrets = { "s" } }))
    e:put("things", object("b"))
    e:render()
    answer(e, "s", "not for you")
    e:render()
    assert.matches("secrets ns/s: not for you %(things ns/a%)$", e.host.failures[THING])
    assert.is_nil(e.host.failures["t.lua:thing/things/ns/b"])
    e:put("secrets", object("s", { value = "1" }))
    answer(e, "s")
    e:render()
    assert.is_nil(e.host.failures[THING])
    assert.equal("a.s 1\n", e:output().maps.things)
  end)

  it("make the first rendering wait, also for what the answers ask for", function()
    local e = engine([[
      each(resources.things, "thing", function(thing, out)
        local first = resources.secrets:get("ns", "first")
        local second = first and resources.secrets:get("ns", first.next)
        out:map_entry("m", thing.metadata.name, second and second.value or "none")
      end)
      each(resources.things, "other", function(thing, out) out:map_entry("o", thing.metadata.name, "x") end)
    ]])
    e:put("things", object("a"))
    local r = e:render()
    assert.same({ false, { "t.lua:other/things/ns/a" } }, { r.complete, r.sent })
    e:put("secrets", object("first", { next = "second" }))
    e.E.answer("secrets", "ns/first", 1, "")
    assert.is_false(e:render().complete)
    assert.same({ "+secrets ns/second" }, e.host.asked)
    e:put("secrets", object("second", { value = "2" }))
    r = e:render()
    assert.same({ true, { THING } }, { r.complete, r.sent })
    assert.same({}, e.host.waits)
  end)

  it("that are not answered are told when the first rendering is not to wait any longer", function()
    local e = engine()
    e:put("things", object("a", { secrets = { "s" } }))
    e:put("things", object("b"))
    assert.is_false(e:render().complete)
    local r = e:render()
    assert.is_true(r.complete)
    assert.same({ THING }, e.host.waits)
    answer(e, "s")
    assert.same({ THING }, e:render().sent)
  end)

  it("may be read in a shared value", function()
    local e = started()
    e:put("things", object("a", { label = "s" }))
    e:put("things", object("b", { label = "s" }))
    assert.same({}, e:render().sent)
    answer(e, "s") -- there is none, which is what the value was while it was not known
    assert.equal(2, #e:render().sent)
    assert.equal("a none\nb none\n", e:output().maps.labels)
    e:put("secrets", object("s", { label = "x" }))
    e:render()
    assert.equal("a x\nb x\n", e:output().maps.labels)
    e:put("things", object("a"))
    e:put("things", object("b"))
    e:render()
    e:put("secrets", object("s", { label = "y" }))
    e:render()
    assert.same({ "-secrets ns/s" }, e.host.asked)
  end)

  it("belong to requested fragments, which come before those who ask for these", function()
    for _, is_first in ipairs({ false, true }) do
      local e = is_first and engine() or started()
      e:put("things", object("a", { users = "s" }))
      assert.same({}, e:render().sent)
      assert.same({}, e:render().sent)
      e:put("secrets", object("s", { value = "1" }))
      answer(e, "s")
      assert.same({ "t.lua:users/secrets/ns/s/k", THING }, e:render().sent)
      assert.equal("s 1\n", e:output().maps.users)
    end
  end)

  it("leave a protecting fragment closed while they are not known", function()
    local e = started([[
      each(resources.things, "guard", { guards = true }, function(thing, out)
        out:map_entry("guards", thing.metadata.name, resources.secrets:get("ns", "s") and "open" or "shut")
      end)
    ]])
    e:put("things", object("a"))
    assert.same({ "t.lua:guard/things/ns/a#guard" }, e:render().sent)
    e:put("secrets", object("s"))
    answer(e, "s")
    local r = e:render()
    assert.same({ "t.lua:guard/things/ns/a" }, r.sent)
    assert.same({ "t.lua:guard/things/ns/a#guard" }, r.gone)
  end)

  it("are not known any more when their source begins anew", function()
    local e = started()
    e:put("things", object("a", { secrets = { "s" } }))
    e:render()
    e:put("secrets", object("s", { value = "1" }))
    answer(e, "s")
    e:render()
    e:delete("secrets", "ns/s")
    e.E.answer("secrets", "ns/s", 0, "")
    assert.same({}, e:render().sent)
    assert.equal("a.s 1\n", e:output().maps.things)
    e:put("secrets", object("s", { value = "2" }))
    answer(e, "s")
    e:render()
    assert.equal("a.s 2\n", e:output().maps.things)
  end)

  it("cannot be listed, nor have a fragment each", function()
    local e = started()
    e:put("things", object("a", { list = true }))
    e:render()
    assert.matches("secrets:list: only objects that a template names are read", e.host.failures[THING], 1, true)
    local ok, message = pcall(engine, 'each(resources.secrets, "x", function() end)')
    assert.is_false(ok)
    assert.matches("t.lua:1: each: only those secrets are read that a template names", message, 1, true)
  end)

  it("end in what all would be, in whatever order answers come", function()
    local seed = os.time()
    math.randomseed(seed)
    for round = 1, 40 do
      local e, left = engine(), {}
      local truth = {}
      for i = 1, 6 do truth["s" .. i] = math.random(3) > 1 and tostring(i) or nil end
      for i = 1, 8 do
        local fields = { secrets = {}, label = math.random(2) == 1 and "s" .. math.random(6) or nil,
          users = math.random(2) == 1 and "s" .. math.random(6) or nil }
        for j = 1, math.random(0, 2) do fields.secrets[j] = "s" .. math.random(6) end
        e:put("things", object("t" .. i, fields))
        left["t" .. i] = fields
      end
      repeat
        e:render()
        local asked = e.host.asked
        for i = #asked, 2, -1 do
          local j = math.random(i)
          asked[i], asked[j] = asked[j], asked[i]
        end
        for _, line in ipairs(asked) do
          local name = line:match("^%+secrets ns/(.*)")
          if truth[name] then e:put("secrets", object(name, { value = truth[name], label = truth[name] })) end
          answer(e, name)
          if math.random(2) == 1 then e:render() end
        end
      until #asked == 0
      e:render()
      local plain = program.engine({ libraries = false, scripts = { { name = "t.lua", source = SOURCE } },
        kinds = { { name = "things", parts = 2 }, { name = "secrets", parts = 2 } } })
      for name, fields in pairs(left) do plain:put("things", object(name, fields)) end
      for name, value in pairs(truth) do plain:put("secrets", object(name, { value = value, label = value })) end
      plain:render()
      assert.same(plain:output().maps, e:output().maps, "seed " .. seed .. ", round " .. round)
    end
  end)
end)
