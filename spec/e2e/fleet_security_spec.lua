--- A fleet among people who mean it ill: an old bundle that is offered again, bodies that hold places, a member that lies.
--- What is said to nobody without a certificate, and what is refused of a body, is in fleet_spec.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local offers = require("support.offer")
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

  local function start_controller(urls, drift)
    local h = scope:haptic({
      name = "a", source = manifests.path, series = "3.4", http_port = http_port, status_port = status_port,
      config = e2e.config({
        dataplane = { driftPreventionInterval = drift },
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

  it("takes no offer twice", function()
    local h = start_controller({ honest.url }):wait_ready()
    honest:wait_answer("moving.example", "198.18.1.1:8001")
    h:stop()
    local path = scope:path("bundle")
    honest:call("/v1/bundle", "-o", path)
    local bundle = posix.read_file(path)
    local offer = offers.of(bundle, { transitions = 7, generation = 1, holder = "spec" })
    local function offered(bytes, nonce)
      local status, said = honest:offer(bytes, nonce)
      return { status, said.result }
    end
    local first = honest:state().nonce
    assert.matches("^" .. ("%x"):rep(32) .. "$", first)
    assert.same({ 200, "applied" }, offered(offer, first))
    assert.are_not.equal(first, honest:state().nonce)
    local before = honest:state()
    assert.same({ 409, "replayed" }, offered(offer, first))
    assert.same({ 409, "replayed" }, offered(offer, ("0"):rep(32)))
    assert.same({ 409, "replayed" }, offered(offer, ""))
    -- An older writer learns that it is one.
    assert.same({ 409, "stale" }, offered(bundle, first))
    local after = honest:state()
    assert.same({ before.digest, before.transitions, before.nonce, before.haproxy.operations },
      { after.digest, after.transitions, after.nonce, after.haproxy.operations })
    assert.same({ 200, "applied" }, offered(offer))
    -- A controller of the former version names none; a later term is its own.
    assert.same({ 200, "applied" }, offered(offers.of(bundle, { transitions = 8, generation = 1, holder = "older" }), ""))
    assert.same({ 200, "applied" }, offered(offers.of(bundle, { transitions = 8, generation = 2, holder = "older" }), ""))
    -- Another agent has another nonce; so has the same one after a restart.
    local last = honest:state().nonce
    honest:kill()
    honest:start()
    scope:wait_for("the agent to be ready", 10, function() return honest:status("/readyz") == 200 end)
    assert.same({ 409, "replayed" },
      offered(offers.of(bundle, { transitions = 8, generation = 3, holder = "older" }), last))
  end)

  it("writes and reads through no link in its directory", function()
    local h = start_controller({ honest.url }):wait_ready()
    honest:wait_answer("moving.example", "198.18.1.1:8001")
    local outside = scope:path("outside")
    posix.run({ "mkdir", outside })
    local names = { "haproxy.cfg", "fence", "bundle", "bundle.previous", "journal", ".bundle.tmp", ".haproxy.cfg.tmp" }
    for _, name in ipairs(names) do
      posix.write_file(outside .. "/" .. name, "not yours\n")
    end
    local function is_untouched()
      for _, name in ipairs(names) do
        assert.equal("not yours\n", posix.read_file(outside .. "/" .. name), name)
      end
      assert.equal(#names, #posix.run({ "ls", "-A", outside }):gsub("[^\n]", ""))
    end
    local d = honest.directory
    -- While it runs: what is written next.
    for _, name in ipairs(names) do
      posix.run({ "ln", "-sfn", outside .. "/" .. name, d .. "/" .. name })
    end
    manifests:write("more.yaml", kube.route("more", "more.example", { "198.18.1.2" }))
    posix.sleep(1.5)
    is_untouched()
    -- At a start: what is read.
    honest:kill()
    for _, name in ipairs(names) do
      posix.run({ "ln", "-sfn", outside .. "/" .. name, d .. "/" .. name })
    end
    local is_up = pcall(honest.start, honest)
    is_untouched()
    if is_up then
      assert.is_nil(honest.process:log():find("not yours", 1, true))
    end
    -- Without them all is well again.
    if is_up then honest:kill() end
    for _, name in ipairs(names) do
      posix.run({ "sh", "-c", '[ ! -L "$1" ] || rm "$1"', "sh", d .. "/" .. name })
    end
    honest.ended = false
    honest:start()
    change()
    -- A folder that is a link is named and left alone. The agent may make the folder again before the link is there.
    posix.run({ "sh", "-c", [[mv "$1/maps" "$2/maps" && ls -l "$2/maps" >"$2/before"
      until ln -sT "$2/maps" "$1/maps" 2>/dev/null; do rm -r "$1/maps"; done]], "sh", d, outside })
    manifests:write("other.yaml", kube.route("other", "other.example", { "198.18.1.3" }))
    posix.sleep(2.5)
    local _, same = posix.run({ "sh", "-c", 'ls -l "$1/maps" | diff - "$1/before"', "sh", outside })
    assert.equal(0, same)
    assert.is_true(h:is_running())
    honest:kill()
    local started, why = pcall(honest.start, honest)
    assert.is_false(started)
    assert.matches("maps is a link", why)
    posix.run({ "rm", d .. "/maps" })
    honest.ended = false
    honest:start()
    change()
  end)

  it("ends a body that stands still", function()
    start_controller({ honest.url }):wait_ready()
    honest:wait_answer("moving.example", "198.18.1.1:8001")
    local still = scope:spawn({
      name = "still",
      argv = { "sh", "-c", [[
        { printf 'POST /v1/apply HTTP/1.1\r\nHost: haptic-agent\r\nContent-Length: 1000\r\n\r\nabc'; sleep 60; } |
          exec openssl s_client -connect "127.0.0.1:$1" -servername haptic-agent -CAfile "$2" -cert "$3" -key "$4" -quiet]],
        "sh", tostring(honest.port), identity.authority.crt, identity.controller_crt, identity.controller_key },
    })
    change()
    -- Not at once: whoever is slow may be slow.
    posix.sleep(5)
    assert.is_true(still:is_running())
    change()
    local count = "ss -tnH state established '( sport = :" .. honest.port .. " )' | wc -l"
    local function connections() return tonumber((posix.run({ "sh", "-c", count }))) end
    local before = connections()
    scope:wait_for("its connection to be closed", 20, function() return connections() < before, connections() end)
    change()
    still:signal("KILL")
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

  it("believes no member that only repeats the digest that it is told", function()
    local answers, port = scope:path("answers"), e2e.port()
    local url = "https://127.0.0.1:" .. port
    local h = start_controller({ honest.url, url }, "1s"):wait_ready()
    honest:wait_answer("moving.example", "198.18.1.1:8001")
    local said = { result = "applied", digest = h:state().hash, transitions = 0, generation = 0 }
    local state = { proves = true, api = 3, version = "0", ready = true, haproxy = { version = "3.4.0" } }
    for key, value in pairs(said) do state[key] = value end
    posix.write_file(answers, cjson.encode({
      ["GET /v1/state"] = { status = 200, body = state }, ["POST /v1/apply"] = { status = 200, body = said },
      ["POST /v1/verify"] = { status = 200, body = said },
    }))
    scope:spawn({
      name = "liar",
      argv = {
        "spec/support/e2e_liar", tostring(port), identity.agent_crt, identity.agent_key, identity.authority.crt, answers,
      },
    })
    scope:wait_for("the liar to be found out", 30, function()
      local disproved = h:metric("haptic_member_disproved_total", { member = url })
      return (disproved or 0) >= 2, disproved
    end)
    assert.equal(0, h:metric("haptic_member_verified", { member = url }))
    assert.is_true(h:count_log("Member cannot prove that it has the accepted configuration") >= 1)
    assert.equal(0, h:metric("haptic_member_disproved_total", { member = honest.url }))
    assert.equal(1, h:metric("haptic_member_verified", { member = honest.url }))
    change()
    for _, m in ipairs(h:state().members) do
      assert.equal(m.member == url, m.doubted)
    end
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
        result = "state", digest = ("0"):rep(32), transitions = 0, generation = 0, api = 3, version = "0", ready = true,
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
    local last = { result = "stale", digest = "", highest_transitions = 2147483646, highest_holder = "nobody" }
    for what, lies in pairs({
      ["no answer"] = { { status = 200, body = "no answer at all" } },
      ["one word"] = { { status = 200, body = ("x"):rep(1024) } },
      ["more than an answer may have"] = { { status = 200, body = " ", ["repeat"] = 8000000 } },
      ["deep"] = { { status = 200, body = ("["):rep(100000) } },
      ["wrong types"] = { { status = 200, body = { result = 1, digest = {}, api = "x", haproxy = 7 } } },
      ["another version of the API"] = { state({ api = 99 }) },
      ["level with what it never got"] = { state(), { status = 200, body = { result = "applied", digest = ("f"):rep(32) } } },
      ["level with nothing"] = { state(), { status = 200, body = { result = "applied", digest = "" } } },
      ["a long name"] = { state({ haproxy = { version = ("9"):rep(100000) }, waits_for = ("w"):rep(100000) }) },
      ["refused"] = { state(), { status = 422, body = { result = "refused", digest = "", message = ("m"):rep(50000) } } },
      ["a newer leader"] = { state(), { status = 409, body = stale } },
      ["a leader with the last number"] = { state(), { status = 409, body = last } },
      ["a result of the future"] = { state(), { status = 299, body = { result = "later", digest = "" } } },
    }) do
      lie(unpack(lies))
      local asked = #liar:log()
      change()
      assert.equal("state", honest:state().result, what)
      scope:wait_for(what .. " to be asked for", 15, function() return #liar:log() > asked end)
      -- And it is left alone for a time, which grows. In a second it could be asked hundreds of times.
      local _, before = liar:log():gsub("\n", "")
      posix.sleep(1)
      local _, after = liar:log():gsub("\n", "")
      assert.is_true(after - before <= 12, ("%s: asked %d times"):format(what, after - before))
    end
    assert.is_true(h:is_running())
    assert.equal(h:state().hash, honest:state().digest)
    -- The next leader has to have numbers, too.
    local transitions = honest:state().transitions
    assert.is_true(transitions < 1000, "the fence was raised to " .. transitions)
    -- What is said of itself is all that it can change.
    assert.is_nil(h:log():find("\nelse", 1, true))
    for line in h:log():gmatch("[^\n]+") do assert.is_true(#line < 4000, line:sub(1, 200)) end
  end)
end)
