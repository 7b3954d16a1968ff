--- One member of a fleet has a fault of each class: the others are not delayed, and when the fault has ended it serves the
--- same as they do. The former configuration or the next one is served at each moment, never a mixture.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("a fleet of which one member has a fault", function()
  local scope, manifests, members, controller, cut
  local changes = 0

  --- What goes to that address of this network is lost.
  local function route(what, address)
    local output, code = posix.run({ "ip", "route", what, "blackhole", address .. "/32", "table", "local" })
    assert(code == 0, output)
    cut = what == "add" and address or nil
  end

  local function signal(pids, name)
    for _, pid in ipairs(pids) do posix.kill(pid, name) end
  end

  --- Each begins a fault of a member and returns what ends it. silent: its HAProxy answers nothing meanwhile.
  local FAULTS = {
    { "its master is killed", function(m)
      signal({ m.haproxy:processes().master }, "KILL")
    end },
    { "its master is stopped", function(m)
      local master = m.haproxy:processes().master
      signal({ master }, "STOP")
      return function() signal({ master }, "CONT") end
    end },
    { "its worker is killed", function(m)
      signal({ m.haproxy:processes().worker }, "KILL")
    end },
    { "its worker is stopped", function(m)
      local worker = m.haproxy:processes().worker
      signal({ worker }, "STOP")
      return function() signal({ worker }, "CONT") end
    end, silent = true },
    { "its HAProxy is killed", function(m)
      local pids = m.haproxy:processes()
      signal({ pids.master, pids.worker }, "KILL")
    end },
    { "its agent is killed", function(m)
      m:kill()
      return function() m:start() end
    end },
    { "its agent is stopped", function(m)
      m.process:signal("STOP")
      return function() m.process:signal("CONT") end
    end },
    { "its agent and its HAProxy are killed", function(m)
      m:kill_all()
      return function() m:start() end
    end, silent = true },
    { "the network to it is cut", function(m)
      route("add", m.address)
      return function() route("del", m.address) end
    end },
  }

  --- Two changes: an endpoint, which needs no reload, and a new route, which needs one on 3.0.
  local function change()
    changes = changes + 1
    local address, host = "198.18.2." .. changes, ("new%d.example"):format(changes)
    manifests:write("moving.yaml", kube.route("moving", "moving.example", { address }))
    manifests:write("new" .. changes .. ".yaml", kube.route("new" .. changes, host, { "198.18.0.1" }))
    return function(m, seconds)
      m:wait_answer("moving.example", address .. ":8001", seconds)
      m:wait_answer(host, "198.18.0.1:8001", seconds)
    end
  end

  local function wait_level()
    local digests
    scope:wait_for("three verified members with one digest", 40, function()
      digests = {}
      for i, m in ipairs(members) do
        local ok, state = pcall(m.state, m)
        digests[i] = ok and state.ready and not state.is_open and state.digest or "not ready"
      end
      return controller:metric("haptic_members_verified") == 3 and digests[1] ~= "not ready" and digests[1] == digests[2]
        and digests[2] == digests[3], table.concat(digests, " ") .. cjson.encode(controller:state().members)
    end)
  end

  setup(function()
    e2e.backends()
    scope = e2e.scope("fleet_faults")
    local identity = scope:fleet_identity()
    manifests = scope:manifests()
    manifests:write("class.yaml", kube.ingress_class())
    manifests:write("steady.yaml", kube.route("steady", "steady.example", { "198.18.0.1" }))
    manifests:write("moving.yaml", kube.route("moving", "moving.example", { "198.18.0.2" }))
    members = {}
    local urls = {}
    for i, series in ipairs({ "3.0", "3.4", "3.0" }) do
      members[i] = scope:member({ name = "member" .. i, identity = identity, series = series, address = "127.0.9." .. i })
      urls[i] = members[i].url
    end
    controller = scope:haptic({
      name = "controller", source = manifests.path, series = "3.0", http_port = e2e.port(), status_port = e2e.port(),
      config = e2e.config({ templateSnippets = {
        ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' },
      } }),
      args = {
        "--haproxy", "fleet", "--members", table.concat(urls, ","), "--fleet-ca", identity.authority.crt, "--fleet-cert",
        identity.controller_crt, "--fleet-key", identity.controller_key,
      },
    })
    controller.supervises = false
    wait_level()
  end)
  teardown(function()
    if cut then route("del", cut) end
    scope:close()
  end)

  for number, fault in ipairs(FAULTS) do
    it("goes on when " .. fault[1], function()
      local faulty = members[1 + number % 2]
      local finish = fault[2](faulty)
      local served, problem = pcall(function()
        local wait = change()
        for _, m in ipairs(members) do
          if m ~= faulty then wait(m, 20) end
        end
        if not fault.silent then faulty:wait_answer("steady.example", "198.18.0.1:8001", 20) end
        return wait
      end)
      if finish then finish() end
      assert(served, problem)
      for _, m in ipairs(members) do problem(m, 40) end
      wait_level()
    end)
  end
end)
