--- Lines of configuration in annotations and in the ConfigMap, by real requests: where they are allowed, and where one is
--- refused.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED },
  secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED } }
--- The oldest and the newest; those between have nothing of their own in this.
local SERIES = e2e.is_full and { "2.6", "3.0", "3.2", "3.4" } or { "2.6", "3.4" }
if not e2e.is_full then io.stderr:write("snippets_spec: 3.0 and 3.2 with E2E_FULL=1 only\n") end

describe("Lines of configuration in objects", function()
  local scope, source, haptic, port

  before_each(function()
    scope = e2e.scope("snippets")
    source = scope:manifests()
    port = e2e.port()
    local echo = scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port),
      scope:path("echo.sock") } })
    scope:wait_for("the echo", 30, function() return posix.run({ "curl", "-s", "127.0.0.1:" .. port }) ~= "", echo:log() end)
  end)
  after_each(function() scope:close() end)

  local function put(name, snippet, of_service)
    local service = kube.service(name)
    service.metadata.annotations = of_service and { ["haproxy.org/backend-config-snippet"] = of_service } or nil
    source:write("ingress-" .. name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", service = name,
      annotations = snippet and { ["haproxy.org/backend-config-snippet"] = snippet } or nil }), service,
      kube.slice(name, { "127.0.0.1" }, port))
  end

  local function put_map(data)
    source:write("configmap.yaml", { apiVersion = "v1", kind = "ConfigMap",
      metadata = { name = "haproxy", namespace = "default" }, data = data })
  end

  --- Status, and head and body, of the same request over HTTP and HTTPS.
  local function both(name, path, fn)
    for _, scheme in ipairs({ "http", "https" }) do
      local at = scheme == "https" and haptic.https_port or haptic.http_port
      local text = posix.run({ "curl", "-sSki", "-m", "5", "--http1.1", "--resolve", ("%s.example:%d:127.0.0.1"):format(name, at),
        ("%s://%s.example:%d%s"):format(scheme, name, at, path) })
      fn(tonumber(text:match("^HTTP/%S+ (%d+)")), text)
    end
  end

  for _, series in ipairs(SERIES) do
    it("count where they are allowed, and the firewall lets them through, on " .. series, function()
      put("one", "acl secret path_beg /secret\nhttp-request deny deny_status 429 if secret\nhttp-response set-header X-One yes")
      put("two", "http-request replace-path '/old/(.*)' '/new/\\1'", "http-response set-header X-Service yes")
      put("service", nil, "http-response set-header X-Service %[var(txn.a)]\nhttp-request set-var(txn.a) method,lower")
      put("plain")
      put("wrong", "server evil 127.0.0.1:" .. port)
      put("stays", "http-request lua.run", "http-response set-header X-Service yes")
      -- What HAProxy itself refuses concerns nobody else.
      put("refused", "http-request replace-path '/(a{100})' '/b'\nhttp-request return status 200 string")
      put_map({ ["frontend-config-snippet"] = "http-response set-header X-All yes", ["global-config-snippet"] = "tune.maxaccept 50",
        ["stats-config-snippet"] = "stats show-node" })
      haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
        watchedResources = KINDS, templatingSettings = { extraContext = { configmap = "default/haproxy",
          config_snippets = { "Ingress", "Service", "ConfigMap" } } } }) }):wait_ready()
      both("one", "/", function(status, text)
        assert.equal(200, status, text)
        assert.matches("x-one: yes", text:lower(), 1, true)
        assert.matches("x-all: yes", text:lower(), 1, true)
      end)
      both("one", "/secret/x", function(status, text) assert.equal(429, status, text) end)
      both("two", "/old/x", function(_, text)
        assert.matches("GET /new/x ", text, 1, true)
        assert.falsy(text:lower():find("x-service", 1, true))
      end)
      both("service", "/", function(_, text) assert.matches("x-service: get", text:lower(), 1, true) end)
      both("plain", "/secret", function(status, text)
        assert.equal(200, status)
        assert.falsy(text:lower():find("x-one", 1, true))
      end)
      both("wrong", "/", function(status) assert.equal(503, status) end)
      both("stays", "/", function(_, text) assert.matches("x-service: yes", text:lower(), 1, true) end)
      both("refused", "/", function(status) assert.equal(503, status) end)
      local config = posix.read_file(haptic.directory .. "/haproxy.cfg")
      assert.matches("\n    tune.maxaccept 50\n", config, 1, true)
      assert.matches("\n    stats show-node\n", config, 1, true)
      for _, text in ipairs({ "evil", "lua.run" }) do assert.is_nil(config:find(text, 1, true)) end
      local told = haptic:get("/debug/state").body
      assert.matches("server is not among the lines that may stand here", told, 1, true)
      assert.matches("the action lua.run is not among those", told, 1, true)
      -- What HAProxy refuses in the ConfigMap holds up nobody, and what it had stays.
      put_map({ ["frontend-config-snippet"] = "http-response set-header X-All no\nhttp-request return status 200 string x",
        ["global-config-snippet"] = "tune.maxaccept 60" })
      scope:wait_for("the other value", 15, function()
        return posix.read_file(haptic.directory .. "/haproxy.cfg"):find("\n    tune.maxaccept 60\n", 1, true)
      end)
      both("plain", "/", function(_, text) assert.matches("x-all: yes", text:lower(), 1, true) end)
      assert.matches("default/haproxy", haptic:get("/debug/state").body, 1, true)
      put("new")
      scope:wait_for("a new Ingress", 15, function()
        return posix.run({ "curl", "-s", "-H", "Host: new.example", "http://127.0.0.1:" .. haptic.http_port .. "/" }):find("GET / ")
      end)
      -- Lines that keep somebody out, and that the firewall refuses: the last good ones stay.
      put_map({ ["frontend-config-snippet"] = "http-request deny if { path -f /etc/passwd }" })
      scope:wait_for("the owner to be told", 15, function()
        return haptic:get("/debug/state").body:find("frontend-config-snippet is refused", 1, true)
      end)
      both("plain", "/", function(status, text)
        assert.equal(200, status)
        assert.matches("x-all: yes", text:lower(), 1, true)
      end)
    end)
  end

  it("of all routes that keep somebody out close them where they were never good", function()
    put("plain")
    put_map({ ["frontend-config-snippet"] = "http-request deny if { path -f /etc/passwd }" })
    haptic = scope:haptic({ source = source.path, https = true, config = e2e.config({
      watchedResources = KINDS, templatingSettings = { extraContext = { configmap = "default/haproxy",
        config_snippets = { "ConfigMap" } } } }) }):wait_ready()
    both("plain", "/", function(status) assert.equal(503, status) end)
    put_map({ ["frontend-config-snippet"] = "http-request deny if { path /kept }" })
    scope:wait_for("the routes to open", 15, function()
      return posix.run({ "curl", "-s", "-H", "Host: plain.example", "http://127.0.0.1:" .. haptic.http_port .. "/" }):find("GET / ")
    end)
    both("plain", "/kept", function(status) assert.equal(403, status) end)
  end)
end)
