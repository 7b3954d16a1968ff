-- A tenant at random: sizes and rates. Whatever he does, another namespace's change is rendered at once and within so
-- much work, and what of his was held back is rendered when there is room.
--
-- HAPTIC_SEED: another sequence. TENANT_SECONDS: go on for so long (a few rounds otherwise).
local program = require("spec.support.program")

local seed = tonumber(os.getenv("HAPTIC_SEED") or "1")
local first_seed = seed
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % n + 1
end
local function pick(list) return list[random(#list)] end

local LIMIT = 400000
-- In seconds of the clock that the engine is given: a turn, the longest fragment, and what goes before the victim's.
local TURN = 0.05

-- Work is counted, not measured: by the bytes that are decoded and put out.
local function new_world()
  local now = 1000
  local host = {
    clock = function() return now end,
    cpu = function() return now end,
    input = function() return random(2) == 1 end,
    deadline = 10,
  }
  local e = program.engine({ checked = false, host = host, output_bytes = LIMIT })
  local decode, at = e.host.api.decode, e.host.api.at
  e.host.api.decode = function(json)
    now = now + #json * 2e-6
    return decode(json)
  end
  e.host.api.at = function(id, ...)
    now = now + 0.0005 + (e.host.bytes[id] or 0) * 2e-6
    return at(id, ...)
  end
  return e, function(seconds)
    if seconds then now = now + seconds end
    return now
  end
end

local function endpoints(count, refused)
  local list = {}
  for i = 1, count do
    list[i] = { (refused and "127.0.%d.%d" or "10.0.%d.%d"):format(math.floor(i / 250), i % 250 + 1) }
  end
  return list
end

local function put_route(e, namespace, name, ports, count, refused, version)
  local list, slice_ports, paths = {}, {}, {}
  for p = 1, ports do
    list[p] = { name = "p" .. p, port = 1000 + p }
    slice_ports[p] = { name = "p" .. p, port = 8000 + p, protocol = "TCP" }
    paths[p] = { "/" .. p .. (version or ""), "Prefix", name, 1000 + p }
  end
  e:put("services", program.service(name, list, { namespace = namespace }))
  e:put("endpoints", program.slice(name .. "-1", name, nil, endpoints(count, refused), { namespace = namespace, ports = slice_ports }))
  e:put("ingresses", program.ingress(name, { namespace = namespace, rules = { { host = name .. "." .. namespace .. ".example", paths = paths } } }))
end

local function victim_change(e, n) e:put("endpoints", program.slice("v-1", "v", nil,
  { { "10.9." .. math.floor(n / 250) % 250 .. "." .. n % 250 + 1 } }, { namespace = "victim", ports = { { name = "p1", port = 8001, protocol = "TCP" } } })) end

local function has_server(e, n)
  local f = e.host.fragments["ingress.lua:backend/services/victim/v/1001"]
  local address = "10.9." .. math.floor(n / 250) % 250 .. "." .. n % 250 + 1
  for _, item in ipairs(f and f.items or {}) do
    if item.text:find(" " .. address .. ":", 1, true) then return true end
  end
  return false
end

--- All that can be rendered, is.
local function settle(e, clock)
  for _ = 1, 5000 do
    local r = e:render()
    if not r.unfinished and not r.wait then return end
    if not r.unfinished then clock(r.wait) end
  end
  error("it does not come to an end")
end

local function round(what)
  local e, clock = new_world()
  local tenant = {}
  put_route(e, "victim", "v", 1, 1)
  for i = 1, random(8) do
    local t = { name = "t" .. i, ports = random(12), count = pick({ 1, 5, 50, 300 }), refused = random(3) == 1 }
    tenant[i] = t
    put_route(e, "greedy", t.name, t.ports, t.count, t.refused)
  end
  local first = e:render()
  assert.is_true(first.complete, what)
  assert.is_truthy(e.host.fragments["ingress.lua:routes/ingresses/victim/v"], what) -- whatever the others need
  local longest = 0
  for n = 1, 20 + random(20) do
    -- The tenant changes some, grows, shrinks, goes.
    for _ = 1, random(4) do
      local t = pick(tenant)
      local action = random(10)
      if action <= 5 then
        t.count = pick({ 1, 5, 50, 300, 600 })
        put_route(e, "greedy", t.name, t.ports, t.count, t.refused, n)
      elseif action <= 7 then
        local name = "t" .. #tenant + 1
        tenant[#tenant + 1] = { name = name, ports = random(12), count = pick({ 5, 300 }), refused = false }
        put_route(e, "greedy", name, tenant[#tenant].ports, tenant[#tenant].count, false)
      elseif #tenant > 1 then
        local gone = table.remove(tenant, random(#tenant))
        for _, kind in ipairs({ "ingresses", "services" }) do e:delete(kind, "greedy/" .. gone.name) end
        e:delete("endpoints", "greedy/" .. gone.name .. "-1")
      end
    end
    if random(2) == 1 then e:render() end -- the victim comes in the middle of it, or beside it
    victim_change(e, n)
    local before = clock()
    local r = e:render()
    local renderings = 1
    while not has_server(e, n) do
      renderings = renderings + 1
      assert.is_true(renderings <= 2, what .. ": the victim's change waits for more than one rendering")
      r = e:render()
    end
    local work = clock() - before
    longest = math.max(longest, work)
    assert.is_true(work < TURN * 6, ("%s: %.3f s of work before the victim's change was out, after %d fragments"):format(what, work, r.run))
    assert.is_true(e.host.total <= LIMIT, what)
    assert.is_nil(e.host.held.victim, what)
    for id in pairs(e.host.failures) do assert.is_nil(id:find("/victim/", 1, true), what .. " " .. id) end
    clock(random(100) / 1000)
  end
  -- The tenant becomes modest: everything of his is there, as if it had been rendered from nothing.
  while #tenant > 3 do
    local gone = table.remove(tenant)
    for _, kind in ipairs({ "ingresses", "services" }) do e:delete(kind, "greedy/" .. gone.name) end
    e:delete("endpoints", "greedy/" .. gone.name .. "-1")
  end
  settle(e, clock)
  for _, t in ipairs(tenant) do put_route(e, "greedy", t.name, math.min(t.ports, 3), 5, t.refused) end
  settle(e, clock)
  assert.same({}, e.host.failures, what)
  assert.same({}, e.host.held, what)
  local fresh, fresh_clock = new_world()
  put_route(fresh, "victim", "v", 1, 1)
  for _, t in ipairs(tenant) do put_route(fresh, "greedy", t.name, math.min(t.ports, 3), 5, t.refused) end
  victim_change(e, 1)
  victim_change(fresh, 1)
  settle(e, clock)
  settle(fresh, fresh_clock)
  assert.equal(fresh.host:dump(), e.host:dump(), what)
  return longest
end

describe("a tenant at random", function()
  it("never harms another one, and gets what he was held back when there is room", function()
    local seconds = tonumber(os.getenv("TENANT_SECONDS") or "0")
    local start, rounds, longest = os.time(), 0, 0
    repeat
      rounds = rounds + 1
      longest = math.max(longest, round(("HAPTIC_SEED=%d round %d"):format(first_seed, rounds)))
      collectgarbage()
    until rounds >= 6 and os.time() - start >= seconds
    if seconds > 0 then
      print(("HAPTIC_SEED=%d: %d rounds, at most %.3f s of work before a victim's change was out"):format(first_seed, rounds, longest))
    end
  end)
end)
