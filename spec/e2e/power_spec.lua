--- The power is cut while an agent takes an offer: at each of its calls that change a file, with what was not synced lost
--- (spec/core/power). Whatever is found afterwards, HAProxy can start with it, and the agent serves the former state or
--- the offered one.
---
--- Each 18th step, beginning somewhere; all with E2E_FULL=1.

local e2e = require("support.e2e")
local kube = require("support.kube")
local offers = require("support.offer")
local posix = require("support.posix")

local EVERY = e2e.is_full and 1 or 18
local LIBRARY = (os.getenv("BENCH_PROGRAMS") or e2e.program():gsub("/core/haptic$", "/tools/benchmark"))
  :gsub("/tools/benchmark$", "/spec/core/libspec_power.so")
if EVERY > 1 then io.stderr:write("power_spec: each 18th step only; E2E_FULL=1 takes all\n") end

describe("an agent whose power is cut", function()
  local scope, identity, former, offered

  --- The bundle of a member that was given these routes by a controller.
  local function bundle_of(manifests, m, address)
    manifests:write("moving.yaml", kube.route("moving", "moving.example", { address }))
    m:wait_answer("moving.example", address .. ":8001")
    local path = scope:path("bundle")
    local _, status = m:call("/v1/bundle", "-o", path)
    assert.equal(200, status)
    return posix.read_file(path)
  end

  setup(function()
    e2e.backends()
    scope = e2e.scope("power-bundles")
    identity = scope:fleet_identity()
    local manifests = scope:manifests()
    manifests:write("class.yaml", kube.ingress_class())
    local m = scope:member({ name = "author", identity = identity, series = "3.4" })
    local function config(more)
      return e2e.config({ templateSnippets = {
        ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' },
        ["frontend-http-450-more"] = { template = more },
      } })
    end
    local h = scope:haptic({
      name = "controller", source = manifests.path, series = "3.4", http_port = e2e.port(), status_port = e2e.port(),
      config = config("# nothing\n"),
      args = {
        "--haproxy", "fleet", "--members", m.url, "--fleet-ca", identity.authority.crt, "--fleet-cert",
        identity.controller_crt, "--fleet-key", identity.controller_key,
      },
    })
    h.supervises = false
    h:wait_ready()
    former = bundle_of(manifests, m, "198.18.0.1")
    -- Needs a reload, and has a route, a map and a file more.
    manifests:write("more.yaml", kube.route("more", "more.example", { "198.18.0.3" }))
    posix.write_file(h.config_file, require("support.http").encode(config(
      'http-request set-header X-M %[req.hdr(host),map({{ path:map("m.map") }},none)]\n'
        .. 'http-request deny if { path -f {{ path:file("denied.lst") }} }\n')))
    h:signal("HUP")
    scope:wait_for("the new configuration", 10, function()
      return posix.read_file(m.directory .. "/haproxy.cfg"):find("denied.lst", 1, true) ~= nil
    end)
    m:wait_answer("more.example", "198.18.0.3:8001")
    offered = bundle_of(manifests, m, "198.18.0.2")
    h:stop()
    m:stop()
  end)

  teardown(function() scope:close() end)

  --- A member that serves the former state, and ends at the power file's word.
  local function start(steps, name, power)
    return steps:member({
      name = name, identity = identity, series = "3.4", env = { LD_PRELOAD = LIBRARY, HAPTIC_SPEC_POWER = power },
    })
  end

  local function check(m, where)
    local output, code = m.haproxy:check("3.4")
    assert.equal(0, code, where .. ": HAProxy cannot start by itself: " .. output)
  end

  --- Cut at step n of taking the bytes. Returns the number of steps when it has fewer.
  local function cut(steps, n, bytes, digests)
    local name = "m" .. n
    local power = steps:path(name .. ".power")
    local m = start(steps, name, power)
    local where = "at step " .. n
    steps:wait_for("the former state to be taken", 10, function()
      local taken, said = m:offer(offers.of(former, { transitions = 5, generation = 1, holder = "spec" }))
      return taken == 200, tostring(taken) .. " " .. tostring(said and said.message) .. "\n" .. e2e.tail(m.process:log(), 5)
    end)
    m:wait_answer("moving.example", "198.18.0.1:8001")
    local nonce = m:state().nonce
    posix.write_file(power, ("%d %s\n"):format(n, m.directory))
    local status, said = m:offer(bytes, nonce)
    if status == 0 then
      assert(m.process:wait(5), where .. ": the agent breaks a connection off")
    else
      posix.sleep(2.2) -- the directory is written one to two seconds later
    end
    local count = tonumber(posix.read_file(power .. ".count"))
    os.remove(power)
    if m.process:is_running() then
      assert.equal(200, status, (said.message or "") .. e2e.tail(m.process:log(), 20))
      assert.is_true(count < n, where)
      return count
    end
    m:kill_all()
    check(m, where)
    m:start()
    steps:wait_for("HAProxy to serve " .. where, 20, function()
      local code, why = m:status("/readyz")
      return code == 200, tostring(code) .. " " .. tostring(why) .. e2e.tail(m.process:log(), 5)
    end)
    local digest = m:state().digest
    assert.is_true(digest == digests[1] or digest == digests[2], where .. ": " .. digest)
    local is_new = digest == digests[2]
    local _, answer = m:ask("moving.example")
    assert.equal(is_new and "198.18.0.2:8001" or "198.18.0.1:8001", answer, where)
    assert.equal(is_new and 200 or 404, (m:ask("more.example")), where)
    assert.equal(is_new, posix.read_file(m.directory .. "/haproxy.cfg"):find("denied.lst", 1, true) ~= nil, where)
    -- A file that nothing names may stay until the directory is compared.
    assert.is_true(not is_new or posix.is_file(m.directory .. "/files/denied.lst"), where)
    check(m, where .. ", afterwards")
    -- It takes what comes next.
    assert.equal(200, (m:offer(offers.of(offered, { transitions = 6, generation = 1, holder = "spec" }))), where)
    m:wait_answer("more.example", "198.18.0.3:8001")
    m:stop()
    return nil
  end

  for what, options in pairs({ ["everything"] = {}, ["a change"] = { is_delta = true } }) do
    it("serves the former state or the offered one, offered as " .. what, function()
      local steps = e2e.scope("power")
      local digests = { offers.digest(former), offers.digest(offered) }
      local bytes = offers.of(offered, {
        transitions = 5, generation = 2, holder = "spec", from = options.is_delta and digests[1] or nil,
      })
      math.randomseed(posix.pid())
      local n = math.random(1, EVERY)
      io.stderr:write("power_spec: begins at step " .. n .. "\n")
      local all
      repeat
        all = cut(steps, n, bytes, digests)
        n = n + EVERY
      until all
      io.stderr:write(("power_spec: %s: %d steps\n"):format(what, all))
      assert.is_true(all >= 15, all .. " steps: the calls are not seen")
      steps:close()
    end)
  end
end)
