--- haptic diff: what it says of a change is what the controller then does.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

--- Does a route answer like this?
local function answers(host, path, wanted)
  return function(haptic) return select(2, e2e.ask(haptic.http_port, host, path)) == wanted end
end

local STEPS = {
  { "an endpoint is replaced", function(d)
    d:write("web.yaml", kube.route("web", "web.test", { "198.18.0.9" }))
  end, answers("web.test", nil, "198.18.0.9:8001") },
  { "a path is added", function(d)
    d:write("path.yaml", kube.ingress({ name = "path", host = "web.test", paths = { { path = "/more", service = "web" } } }))
  end, answers("web.test", "/more", "198.18.0.9:8001") },
  { "a route with a Service of its own is added", function(d)
    d:write("two.yaml", kube.route("two", "two.test", { "198.18.0.2" }))
  end, answers("two.test", nil, "198.18.0.2:8001") },
  { "an Ingress goes", function(d) os.remove(d.path .. "/path.yaml") end,
    answers("web.test", "/less", "198.18.0.9:8001") },
}

describe("haptic diff", function()
  local scope

  setup(function() e2e.backends() end)
  before_each(function() scope = e2e.scope("diff") end)
  after_each(function() scope:close() end)

  --- What it prints, and its exit status.
  local function diff(words)
    return posix.run({ "sh", "-c", e2e.program() .. " diff " .. words .. " 2>&1" })
  end

  --- Each step by a controller that runs, and by the command: both say the same. Returns whether there was a reload.
  --- steps: {title, change(folder), is_there(haptic)}.
  local function follows(haptic, source, words, steps)
    local before, after, reload_seen = scope:path("before"), scope:manifests(), false
    for _, step in ipairs(steps) do
      posix.run({ "sh", "-c", ("rm -rf %s; cp -r %s %s; cp %s/* %s"):format(before, source.path, before, source.path, after.path) })
      step[2](after)
      local text, code = diff(("%s %s %s"):format(words, before, after.path))
      assert.equal(0, code, text)
      local reloads = haptic:state().haproxy.reloads
      step[2](source)
      scope:wait_for(step[1], 20, function() return step[3](haptic) end)
      scope:wait_for("quiet", 20, function()
        local s = haptic:state()
        return s.live and s.problem == ""
      end)
      local said = text:find(": a reload: ", 1, true) ~= nil
      if said then
        scope:wait_for("a reload: " .. step[1], 20, function() return haptic:state().haproxy.reloads > reloads end)
      end
      assert.equal(said and reloads + 1 or reloads, haptic:state().haproxy.reloads, step[1] .. ": " .. text)
      reload_seen = reload_seen or said
    end
    return reload_seen
  end

  for _, series in ipairs({ "3.0", "3.4" }) do
    it("knows what the controller will do, on " .. series, function()
      local source = scope:manifests()
      source:write("class.yaml", kube.ingress_class())
      source:write("web.yaml", kube.route("web", "web.test", { "198.18.0.1" }))
      local haptic = scope:haptic({ source = source.path, series = series })
      haptic:wait_ready()
      scope:wait_answer(haptic.http_port, "web.test", "198.18.0.1:8001")
      assert.equal(series == "3.0", follows(haptic, source, "--haproxy-binary " .. e2e.haproxy_binary(series), STEPS))
    end)

    it("knows what becomes of certificates, on " .. series, function()
      local source, certificates = scope:manifests(), {}
      for i, name in ipairs({ "web.test", "web.test", "two.test" }) do certificates[i] = scope:certificate({ names = { name } }) end
      local function secret(folder, name, certificate)
        folder:write(name .. "-tls.yaml", e2e.tls_secret(name .. "-tls", certificate.cert, certificate.key))
      end
      local function ingress(folder, name)
        local ing = kube.ingress({ name = name, host = name .. ".test", service = "web" })
        ing.spec.tls = { { hosts = { name .. ".test" }, secretName = name .. "-tls" } }
        folder:write(name .. ".yaml", ing)
      end
      source:write("class.yaml", kube.ingress_class())
      source:write("pods.yaml", kube.service("web"), kube.slice("web", { "198.18.0.1" }))
      secret(source, "web", certificates[1])
      ingress(source, "web")
      local haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({ watchedResources = {
        secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } } }) })
      haptic:wait_ready()
      scope:wait_peer(haptic.https_port, "web.test", certificates[1])
      local function peer(name, certificate)
        return function(h) return e2e.peer(h.https_port, name) == certificate.fingerprint end
      end
      assert.is_false(follows(haptic, source, ("-c %s --haproxy-binary %s"):format(haptic.config_file, e2e.haproxy_binary(series)), {
        { "a certificate is renewed", function(d) secret(d, "web", certificates[2]) end, peer("web.test", certificates[2]) },
        { "another one comes", function(d)
          secret(d, "two", certificates[3])
          ingress(d, "two")
        end, peer("two.test", certificates[3]) },
        { "it goes", function(d) os.remove(d.path .. "/two.yaml") end,
          function(h) return e2e.peer(h.https_port, "two.test") ~= certificates[3].fingerprint end },
      }))
    end)
  end

  it("says nothing to do, names owners, and has exit statuses", function()
    local source, other = scope:manifests(), scope:manifests()
    for _, d in ipairs({ source, other }) do
      d:write("class.yaml", kube.ingress_class())
      d:write("web.yaml", kube.route("web", "web.test", { "198.18.0.1" }))
    end
    local text, code = diff("--detailed-exitcode " .. source.path .. " " .. other.path)
    assert.matches("^HAProxy %S+: nothing to do\n$", text)
    assert.equal(0, code)
    other:write("web.yaml", kube.route("web", "web.test", { "198.18.0.2" }))
    text, code = diff("--detailed-exitcode --fail-on reload " .. source.path .. " " .. other.path)
    assert.matches("^HAProxy %S+: %d+ runtime commands?, no reload\n~ ingress.lua:backend/services/default/web/80\n"
      .. "  backend default_web_80 body\n    %- server 198.18.0.1_8001 198.18.0.1:8001\n    %+ server 198.18.0.2_8001 198.18.0.2:8001\n$", text)
    assert.equal(2, code)
    local new = scope:path("new.yaml")
    posix.write_file(new, "templateSnippets:\n  frontend-http-450-x: {template: 'http-request deny if { path /no }'}\n")
    text, code = diff(("-C %s --fail-on reload %s"):format(new, source.path))
    assert.matches("^HAProxy %S+: a reload: frontend http changed %(frontend%-http%-450%-x:1%)\n", text)
    assert.matches("\n    %+ http%-request deny if { path /no }\n", text)
    assert.equal(1, code)
    text, code = diff(("-o json -C %s --haproxy-binary %s --haproxy-binary %s %s")
      :format(new, e2e.haproxy_binary("3.0"), e2e.haproxy_binary("3.4"), source.path))
    assert.equal(0, code, text)
    local document = cjson.decode(text)
    -- One line for all versions; those for which the same is to do stand together.
    local both = ("--haproxy-binary %s --haproxy-binary %s"):format(e2e.haproxy_binary("3.0"), e2e.haproxy_binary("3.4"))
    assert.matches("^HAProxy 3%.0%S*, 3%.4%S*: a reload: frontend http changed %(frontend%-http%-450%-x:1%)\n%+ ",
      (diff(("-C %s %s %s"):format(new, both, source.path))))
    local more = scope:manifests()
    more:write("class.yaml", kube.ingress_class())
    more:write("web.yaml", kube.route("web", "web.test", { "198.18.0.1" }))
    more:write("two.yaml", kube.route("two", "two.test", { "198.18.0.2" }))
    assert.matches("^HAProxy 3%.0%S*: a reload: [^\n;]+; HAProxy 3%.4%S*: %d+ runtime commands, no reload\n%+ ",
      (diff(("%s %s %s"):format(both, source.path, more.path))))
    assert.equal(2, #document.verdicts)
    assert.matches("^3%.4", document.verdicts[2].haproxy)
    assert.same({ operations = 0, reason = "frontend http changed", place = "frontend-http-450-x:1" },
      { operations = document.verdicts[2].operations, reason = document.verdicts[2].reload.reason, place = document.verdicts[2].reload.place })
    local change = document.changes[1]
    assert.same({ "added", "base.lua:frontend-http-450-x", "base.lua" }, { change.change, change.fragment, change.template })
    assert.same({ kind = "section", scope = "frontend http", key = "base.lua:frontend-http-450-x", removed = {},
      added = { "http-request deny if { path /no }" } }, change.parts[1])
    assert.equal(0, document.report.errors)
    text = diff("-o json " .. source.path .. " " .. other.path)
    document = cjson.decode(text)
    assert.equal(cjson.null, document.verdicts[1].reload)
    assert.is_true(document.verdicts[1].operations > 0)
    assert.equal("services default/web", document.changes[1].object)
    posix.write_file(new, "templateSnippets:\n  frontend-http-450-x: {template: 'no-such-directive'}\n")
    text, code = diff(("-o json -C %s %s"):format(new, source.path))
    assert.equal(1, code)
    document = cjson.decode(text)
    assert.same({ 0, 0, "HT0302" }, { #document.verdicts, #document.changes, document.report.findings[1].code })
    text = diff(("-o github -C %s %s"):format(new, source.path))
    assert.matches("^::error title=HT0302", text)
    text, code = diff(("-C %s %s"):format(new, source.path))
    assert.matches("unknown keyword 'no%-such%-directive'", text)
    assert.equal(1, code)
    assert.equal(2, select(2, diff("")))
    assert.equal(2, select(2, diff("--fail-on rain " .. source.path)))
    assert.equal(1, select(2, diff("--detailed-exitcode " .. scope:path("nobody"))))
  end)

  it("has a running member as a side, by its agent", function()
    local source, identity = scope:manifests(), scope:fleet_identity()
    local secret = "agent-secret-0c1d"
    source:write("class.yaml", kube.ingress_class())
    source:write("web.yaml", kube.route("web", "web.test", { "198.18.0.1" }))
    source:write("secret.yaml", cjson.encode({ apiVersion = "v1", kind = "Secret",
      metadata = { name = "users", namespace = "default", uid = "0c1d", resourceVersion = "7" },
      type = "Opaque", stringData = { password = secret } }))
    local config = e2e.config({
      watchedResources = { secrets = { apiVersion = "v1", resources = "secrets" } },
      templateSnippets = { ["users.lua"] = { template = 'fragment("users", function(out)\n'
        .. '  local s = resources.secrets:get("default", "users")\n'
        .. '  if s then out:section("userlist users", function(b) b:line("user", "ada", "insecure-password", s.data.password) end) end\nend)\n' } },
    })
    local m = scope:member({ name = "member", identity = identity, series = "3.4" })
    local h = scope:haptic({ name = "controller", source = source.path, series = "3.4", config = config, args = {
      "--haproxy", "fleet", "--members", m.url, "--fleet-ca", identity.authority.crt, "--fleet-cert", identity.controller_crt,
      "--fleet-key", identity.controller_key,
    } })
    h.supervises = false
    h:wait_ready()
    scope:wait_answer(h.http_port, "web.test", "198.18.0.1:8001")
    local function ask(words, keys)
      return diff(("--from agent:%s:%d %s -c %s --set http_port=%d --set status_port=%d %s"):format(m.address, m.port,
        keys or ("--fleet-ca %s --fleet-cert %s --fleet-key %s"):format(identity.authority.crt, identity.controller_crt,
          identity.controller_key), h.config_file, h.http_port, h.status_port, words))
    end
    local before = m:state()
    local text, code = ask("--detailed-exitcode " .. source.path)
    assert.matches("^HAProxy 3%.4%S*: nothing to do\n%(Secrets are concealed: [^\n]*%)\n$", text)
    assert.equal(0, code)
    -- Another server, another value of the Secret's version, one line of a frontend.
    local other = scope:manifests()
    posix.run({ "sh", "-c", ("cp %s/* %s"):format(source.path, other.path) })
    other:write("web.yaml", kube.route("web", "web.test", { "198.18.0.2" }))
    text, code = ask("--detailed-exitcode " .. other.path)
    assert.matches("^HAProxy 3%.4%S*: %d+ runtime commands?, no reload\n%(Secrets[^\n]*\n~ ingress.lua:backend/services/default/web/80\n"
      .. "  backend default_web_80 body\n    %- server 198.18.0.1_8001 198.18.0.1:8001\n    %+ server 198.18.0.2_8001 198.18.0.2:8001\n$", text)
    assert.equal(2, code)
    local new = scope:path("new.yaml")
    posix.write_file(new, "templateSnippets:\n  frontend-http-450-x: {template: 'http-request deny if { path /no }'}\n")
    text, code = ask(("-c %s --fail-on reload -o json %s"):format(new, source.path))
    assert.equal(1, code, text)
    local document = cjson.decode(text)
    assert.equal("frontend http changed", document.verdicts[1].reload.reason)
    assert.equal(1, #document.changes, text)
    assert.is_nil(text:find(secret, 1, true))
    -- Nothing is changed there, and nobody without a certificate is answered.
    local now = m:state()
    assert.same({ before.digest, before.generation, before.nonce }, { now.digest, now.generation, now.nonce })
    text, code = ask(source.path, ("--fleet-ca %s --fleet-cert %s --fleet-key %s"):format(identity.authority.crt,
      identity.agent_crt, identity.controller_key))
    assert.equal(2, code, text)
    text, code = ask(source.path, "")
    assert.matches("give %-%-fleet%-ca as haptic run has it", text)
    assert.equal(2, code)
    text, code = ask("")
    assert.matches("an agent knows no objects", text)
    assert.equal(2, code)
  end)
end)
