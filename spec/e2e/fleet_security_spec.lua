--- A fleet among people who mean it ill: an old bundle that is offered again, bodies that hold places, a member that lies.
--- What is said to nobody without a certificate, and what is refused of a body, is in fleet_spec.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

describe("a fleet among enemies", function()
  local scope, manifests, identity, honest, status_port, http_port, changes

  before_each(function()
    e2e.backends()
    scope = e2e.scope("enemies")
    manifests = scope:manifests()
    identity = scope:fleet_identity()
    status_port, http_port, changes = e2e.port(), e2e.port(), 0
    manifests:write("class.yaml", kube.ingress_class())
    manifests:write("route.yaml", kube.route("moving", "moving.example", { "198.18.1.1" }))
    honest = scope:member({ name = "honest", identity = identity, series = "3.4" })
  end)

  after_each(function() scope:close() end)

  local function start_controller(urls)
    local h = scope:haptic({
      name = "a", source = manifests.path, series = "3.4", http_port = http_port, status_port = status_port,
      config = e2e.config({
        templateSnippets = { ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' } },
      }),
      args = {
        "--haproxy", "fleet", "--members", table.concat(urls, ","), "--fleet-ca", identity.authority.crt,
        "--fleet-cert", identity.controller_crt, "--fleet-key", identity.controller_key,
      },
    })
    h.supervises = false
    return h
  end

  local function change()
    changes = changes + 1
    local address = "198.18.2." .. changes
    manifests:write("route.yaml", kube.route("moving", "moving.example", { address }))
    honest:wait_answer("moving.example", address .. ":8001")
  end

  it("takes no old bundle again", function()
    local h = start_controller({ honest.url }):wait_ready()
    honest:wait_answer("moving.example", "198.18.1.1:8001")
    local old = scope:path("old-bundle")
    local _, status = honest:call("/v1/bundle", "-o", old)
    assert.equal(200, status)
    change()
    local before = honest:state()
    local _, code, said = honest:call("/v1/apply", "--data-binary", "@" .. old)
    assert.equal(409, code)
    assert.equal("stale", cjson.decode(said).result)
    assert.equal(before.digest, honest:state().digest)
    change()
    assert.equal(0, h:count_log("level=ERROR"))
  end)

  it("receives four bodies at a time, and others when one has ended", function()
    start_controller({ honest.url }):wait_ready()
    honest:wait_answer("moving.example", "198.18.1.1:8001")
    local body = scope:path("slow")
    posix.write_file(body, ("x"):rep(400000))
    local held = {}
    for i = 1, 4 do
      held[i] = scope:spawn({
        name = "slow" .. i,
        argv = {
          "curl", "-s", "--limit-rate", "20k", "--data-binary", "@" .. body, "--connect-to",
          ("haptic-agent:%d:127.0.0.1:%d"):format(honest.port, honest.port), "--cacert", identity.authority.crt,
          "--cert", identity.controller_crt, "--key", identity.controller_key,
          ("https://haptic-agent:%d/v1/apply"):format(honest.port),
        },
      })
    end
    scope:wait_for("a fifth body to be refused", 10, function()
      local _, status = honest:call("/v1/apply", "--data-binary", "no offer")
      return status == 503, status
    end)
    -- What needs no body is answered.
    assert.equal("state", honest:state().result)
    for i = 1, 4 do held[i]:close() end
    change()
  end)

  it("goes on with the others when a member lies", function()
    local answers, port = scope:path("answers"), e2e.port()
    local function lie(state, apply)
      posix.write_file(answers .. ".new", cjson.encode({
        ["GET /v1/state"] = state, ["POST /v1/apply"] = apply or state, ["GET /v1/bundle"] = state,
        ["POST /v1/verify"] = apply or state,
      }))
      posix.run({ "mv", answers .. ".new", answers })
    end
    local function state(more)
      local said = {
        result = "state", digest = ("0"):rep(32), transitions = 0, generation = 0, api = 2, version = "0", ready = true,
        configured = true, is_open = false, haproxy = { version = "3.4.0" }, encodings = { "gzip" },
      }
      for key, value in pairs(more or {}) do said[key] = value end
      return { status = 200, body = said }
    end
    lie({ status = 200, body = "no answer at all" })
    local liar = scope:spawn({
      name = "liar",
      argv = {
        "spec/support/e2e_liar", tostring(port), identity.agent_crt, identity.agent_key, identity.authority.crt, answers,
      },
    })
    scope:wait_for("the liar", 10, function() return liar:log():find("ready", 1, true) ~= nil end)
    local h = start_controller({ honest.url, "https://127.0.0.1:" .. port }):wait_ready()
    local stale = { result = "stale", digest = "", highest_transitions = 9e15, highest_holder = "nobody\nelse" }
    for what, lies in pairs({
      ["no answer"] = { { status = 200, body = "no answer at all" } },
      ["one word"] = { { status = 200, body = ("x"):rep(1024) } },
      ["more than an answer may have"] = { { status = 200, body = " ", ["repeat"] = 8000000 } },
      ["deep"] = { { status = 200, body = ("["):rep(100000) } },
      ["wrong types"] = { { status = 200, body = { result = 1, digest = {}, api = "x", haproxy = 7 } } },
      ["another version of the API"] = { state({ api = 99 }) },
      ["level with what it never got"] = { state(), { status = 200, body = { result = "applied", digest = ("f"):rep(32) } } },
      ["a long name"] = { state({ haproxy = { version = ("9"):rep(100000) }, waits_for = ("w"):rep(100000) }) },
      ["refused"] = { state(), { status = 422, body = { result = "refused", digest = "", message = ("m"):rep(50000) } } },
      ["a newer leader"] = { state(), { status = 409, body = stale } },
      ["a result of the future"] = { state(), { status = 299, body = { result = "later", digest = "" } } },
    }) do
      lie(unpack(lies))
      local asked = #liar:log()
      change()
      assert.equal("state", honest:state().result, what)
      scope:wait_for(what .. " to be asked for", 15, function() return #liar:log() > asked end)
    end
    assert.is_true(h:is_running())
    assert.equal(h:state().hash, honest:state().digest)
    -- What is said of itself is all that it can change.
    assert.is_nil(h:log():find("\nelse", 1, true))
    for line in h:log():gmatch("[^\n]+") do assert.is_true(#line < 4000, line:sub(1, 200)) end
  end)
end)
