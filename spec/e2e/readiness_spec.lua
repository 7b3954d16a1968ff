--- When an agent says that its HAProxy must not be asked: not because a reload waits for its turn, and not because another
--- controller leads now. All agents of a fleet would say so at the same time, and nobody would be left to ask.

local e2e = require("support.e2e")
local kube = require("support.kube")
local offers = require("support.offer")
local posix = require("support.posix")

describe("a member of a fleet is ready", function()
  local scope, source, identity, members, controller

  setup(function() e2e.backends() end)
  before_each(function()
    scope = e2e.scope("readiness")
    identity = scope:fleet_identity()
    source = scope:manifests()
    source:write("class.json", kube.ingress_class())
    source:write("steady.yaml", kube.route("steady", "steady.example", { "198.18.0.1" }))
  end)
  after_each(function() scope:close() end)

  --- Agents, and a controller that offers them the manifests.
  local function start(count, series)
    local urls = {}
    members = {}
    for i = 1, count do
      members[i] = scope:member({ name = "member" .. i, identity = identity, series = series })
      urls[i] = members[i].url
    end
    controller = scope:haptic({
      source = source.path, series = series,
      config = e2e.config({ templateSnippets = {
        ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' },
      } }),
      args = { "--haproxy", "fleet", "--members", table.concat(urls, ","), "--fleet-ca", identity.authority.crt,
        "--fleet-cert", identity.controller_crt, "--fleet-key", identity.controller_key },
    })
    controller.supervises = false
    controller:wait_ready()
    for _, m in ipairs(members) do
      m:wait_answer("steady.example", "198.18.0.1:8001")
      scope:wait_for(m.name .. " to be ready", 10, function() return m:status("/readyz") == 200 end)
    end
  end

  it("while a reload waits for its turn, at all of them", function()
    start(2, "3.0") -- where a new backend needs a reload
    local waited = 0
    for i = 1, 12 do
      source:write("more-" .. i .. ".yaml", kube.route("more-" .. i, "more-" .. i .. ".example", { "198.18.0.2" }))
      for _ = 1, 5 do
        posix.sleep(0.05)
        for _, m in ipairs(members) do
          local status, why = m:status("/readyz")
          assert.equal(200, status, m.name .. ": " .. tostring(why))
          local state = m:state()
          assert.is_true(state.ready)
          waited = waited + (state.waits_for ~= "" and 1 or 0)
        end
      end
    end
    assert.is_true(waited > 0, "no reload has waited: this has shown nothing")
    for _, m in ipairs(members) do m:wait_answer("more-12.example", "198.18.0.2:8001", 60) end
  end)

  it("while what HAProxy has is read anew for another writer", function()
    start(1, "3.4")
    local m = members[1]
    controller:stop()
    local code, status, bundle = m:call("/v1/bundle")
    assert.equal(0, code)
    assert.equal(200, status)
    local term = 1000000
    local bytes = offers.of(bundle, { transitions = term, generation = 1, holder = "spec" })
    -- It cannot be read for a while.
    local nonce, worker = m:state().nonce, m.haproxy:processes().worker
    posix.kill(worker, "STOP")
    scope:spawn({ name = "later", argv = { "sh", "-c", "sleep 1.5; kill -CONT " .. worker } })
    local path = scope:path("bytes")
    posix.write_file(path, bytes)
    local offer = scope:spawn({ name = "offer", argv = {
      "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", "--connect-to",
      ("haptic-agent:%d:%s:%d"):format(m.port, m.address, m.port), "--cacert", identity.authority.crt, "--cert",
      identity.controller_crt, "--key", identity.controller_key, "--data-binary", "@" .. path, "-H", "Haptic-Nonce: " .. nonce,
      ("https://haptic-agent:%d/v1/apply"):format(m.port),
    } })
    local busy = 0
    while offer:is_running() do
      local ready, why = m:status("/readyz")
      assert.equal(200, ready, why)
      busy = busy + (m:state().state == "applying" and 1 or 0)
      posix.sleep(0.02)
    end
    assert.is_true(busy > 0, "the offer was taken at once: this has shown nothing")
    assert.equal("200", offer:log())
    assert.equal(200, (m:status("/readyz")))
  end)
end)
