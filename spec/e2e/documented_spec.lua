--- Values as the documentation of HAProxy Technologies' controller writes them, by real requests over HTTP and HTTPS:
--- the forms that people copy from there.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED },
  configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED } }
local PODS = { "198.18.0.1", "198.18.0.2", "198.18.0.3", "198.18.0.4" }
--- The oldest and the newest; other forms of these values are tried with all in annotations_spec.
local SERIES = e2e.is_full and { "2.6", "3.0", "3.2", "3.4" } or { "2.6", "3.4" }
if not e2e.is_full then io.stderr:write("documented_spec: 3.0 and 3.2 with E2E_FULL=1 only\n") end
local USER = "ada:secret"

describe("Values of the other controller's documentation", function()
  local scope, source, haptic, port, log, log_port

  before_each(function()
    e2e.backends()
    scope = e2e.scope("documented")
    source = scope:manifests()
    local ready = scope:path("echo.sock")
    port, log_port = e2e.port(), e2e.port()
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    log = scope:spawn({ name = "syslog", argv = { "python3", "-uc", "import socket, sys\ns = socket.socket(2, 2)\n"
      .. "s.bind(('127.0.0.1', int(sys.argv[1])))\nprint('ready')\nwhile True: print(s.recv(65536))", tostring(log_port) } })
    scope:wait_for("the pods and the log", 10, function()
      return select(2, posix.run({ "test", "-S", ready })) == 0 and log:log():find("ready", 1, true)
    end)
  end)
  after_each(function() scope:close() end)

  local function put(name, annotations, service_annotations)
    local function prefixed(some)
      local all = {}
      for key, value in pairs(some or {}) do all["haproxy.org/" .. key] = value end
      return all
    end
    local service = kube.service(name)
    service.metadata.annotations = prefixed(service_annotations)
    source:write("ingress-" .. name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", service = name,
      annotations = prefixed(annotations) }), service, kube.slice(name, PODS, port))
  end

  --- One request: {status, headers, body, pod, line}. options: headers (list), method, data, anonymous.
  local function one(scheme, name, path, options)
    options = options or {}
    local at = scheme == "https" and haptic.https_port or haptic.http_port
    local argv = { "curl", "-sSki", "-m", "5", "--path-as-is", "--http1.1", "--resolve",
      ("%s.example:%d:127.0.0.1"):format(name, at) }
    local function add(...)
      for _, word in ipairs({ ... }) do argv[#argv + 1] = word end
    end
    if not options.anonymous then add("-u", USER) end
    if options.method then add("-X", options.method) end
    if options.data then add("-d", options.data) end
    for _, header in ipairs(options.headers or {}) do add("-H", header) end
    add(("%s://%s.example:%d%s"):format(scheme, name, at, path or "/"))
    local text = posix.run(argv)
    local head, body = text:match("^(.-)\r\n\r\n(.*)$")
    local headers = {}
    for key, value in (head or ""):gmatch("\n([^:\r\n]+): ([^\r\n]*)") do headers[key:lower()] = value end
    return { status = tonumber(text:match("^HTTP/%S+ (%d+)")) or 0, headers = headers, body = (body or text):lower(),
      pod = (body or ""):match("^(198%.%S+) "), line = (body or ""):match("^%S+ %S+ (%S+) HTTP") }
  end

  local function both(name, path, options, check)
    for _, scheme in ipairs({ "http", "https" }) do check(one(scheme, name, path, options), scheme) end
  end

  local function logged(text)
    scope:wait_for("the log to have " .. text, 10, function()
      return log:log():find(text, 1, true) ~= nil, log:log():sub(-600)
    end)
  end

  for _, series in ipairs(SERIES) do
    it("do what is written there, on " .. series, function()
      source:write("configmap.yaml", { apiVersion = "v1", kind = "ConfigMap",
        metadata = { name = "haproxy", namespace = "default" }, data = {
          -- The administrator may name a Secret of another namespace for all.
          ["auth-type"] = "basic-auth", ["auth-secret"] = "vault/team", ["auth-realm"] = "Admin Area",
          ["syslog-server"] = "address:127.0.0.1, port: " .. log_port .. ", facility: local3, level: info",
          ["log-format"] = '%{+Q}o %hr "%HM %[var(txn.base)] %HV"',
          ["frontend-config-snippet"] = "unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid\nunique-id-header X-Unique-ID",
        } })
      source:write("secret.yaml", { apiVersion = "v1", kind = "Secret", type = "Opaque", metadata = { name = "team",
        namespace = "vault" }, stringData = { ada = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6" } })
      put("plain", {})
      put("foreign", { ["auth-secret"] = "vault/team" })
      put("capture", { ["request-capture"] = "cookie(my-cookie)\nreq.fhdr(User-Agent)\nhdr(X-List)\nhdr(X-List,1)" })
      put("cipher", { ["request-capture"] = "ssl_fc_cipher" })
      put("param", { ["load-balance"] = "url_param userid check_post 64" })
      put("checked", { check = "1", ["check-http"] = "HEAD /health HTTP/1.1", ["check-interval"] = "150", ["timeout-check"] = "900" })
      put("cors", { ["cors-enable"] = "T", ["cors-allow-methods"] = "get, Post", ["cors-max-age"] = "7000",
        ["cors-allow-origin"] = "^https://(.+\\.)?(example-1\\.com|example-2\\.com)(:\\d{1,5})?$" })
      put("add", { ["path-rewrite"] = "(.*) /foo\\1" })
      put("behind", { ["path-rewrite"] = "([^?]*)(\\?(.*))? \\1/foo\\2" })
      put("lines", { ["path-rewrite"] = "/foo/(.*) /\\1\n/bar/(.*) /baz/\\1\n" })
      put("answers", { ["response-set-header"] = 'Cache-Control "no-store,no-cache,private"\nStrict-Transport-Security "max-age=31536000"\n' })
      put("port", { ["request-redirect"] = "example.com:8888", ["request-redirect-code"] = "303" })
      put("sender", { ["backend-config-snippet"] = "      http-send-name-header x-dst-server\n" })
      haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
        watchedResources = KINDS, templatingSettings = { extraContext = { configmap = "default/haproxy", access_log = true,
          config_snippets = { "Ingress", "ConfigMap" } } } }) }):wait_ready()
      both("plain", "/", { anonymous = true }, function(answer)
        assert.same({ 401, 'Basic realm="Admin Area"' }, { answer.status, answer.headers["www-authenticate"] })
      end)
      both("plain", "/", nil, function(answer)
        assert.equal(200, answer.status)
        assert.matches("\nx%-unique%-id: [%x%.:_ ]+", answer.body)
      end)
      -- A tenant may not.
      both("foreign", "/", nil, function(answer) assert.equal(503, answer.status) end)
      both("capture", "/", { headers = { "User-Agent: Mozilla/5.0 (X11, like Gecko)", "Cookie: my-cookie=c1", "X-List: a, b" } },
        function(answer) assert.equal(200, answer.status) end)
      logged("{c1|Mozilla/5.0 (X11, like Gecko)|b|a|")
      both("cipher", "/", nil, function(answer) assert.equal(200, answer.status) end)
      logged("{||||TLS_")
      logged(('"GET" "plain.example:%d/" "HTTP/1.1"'):format(haptic.http_port))
      for _, scheme in ipairs({ "http", "https" }) do
        local seen, count = {}, 0
        for i = 1, 6 do
          local pod = one(scheme, "param", i % 2 == 0 and "/?userid=u7" or "/", i % 2 == 1 and { data = "a=b&userid=u7" } or nil).pod
          if pod and not seen[pod] then seen[pod], count = true, count + 1 end
        end
        assert.equal(1, count)
      end
      scope:wait_for("the HTTP checks", 15, function()
        local stat = haptic.haproxy:ask("show stat default_checked_80_checked 4 -1")
        return stat:find("L7OK", 1, true), stat
      end)
      local config = posix.read_file(haptic.directory .. "/haproxy.cfg")
      assert.matches("inter 150ms", haptic:get("/debug/config").body, 1, true)
      assert.matches("timeout check 900ms", config, 1, true)
      for origin, wanted in pairs({ ["https://a.example-1.com:8443"] = true, ["https://example-2.com"] = true,
        ["https://example-2.com.evil.test"] = false, ["http://example-1.com"] = false }) do
        both("cors", "/", { headers = { "Origin: " .. origin } }, function(answer)
          local h = answer.headers
          assert.same(wanted and { origin, "GET, POST", "7" } or {}, { h["access-control-allow-origin"],
            h["access-control-allow-methods"], h["access-control-max-age"] })
        end)
      end
      for name, paths in pairs({ add = { ["/bar?q=1"] = "/foo/bar?q=1" }, behind = { ["/bar?q=1"] = "/bar/foo?q=1" },
        lines = { ["/foo/bar?q=1"] = "/bar?q=1", ["/foo/bar/x"] = "/baz/x", ["/bar/x"] = "/baz/x", ["/other"] = "/other" } }) do
        for asked, wanted in pairs(paths) do
          both(name, asked, nil, function(answer) assert.equal(wanted, answer.line, name .. asked) end)
        end
      end
      both("answers", "/", nil, function(answer)
        assert.same({ "no-store,no-cache,private", "max-age=31536000" },
          { answer.headers["cache-control"], answer.headers["strict-transport-security"] })
      end)
      both("port", "/a?b", nil, function(answer, scheme)
        assert.same({ 303, scheme .. "://example.com:8888/a?b" }, { answer.status, answer.headers.location })
      end)
      both("sender", "/", nil, function(answer) assert.matches("\nx%-dst%-server: %S", answer.body) end)
      assert.equal(0, haptic:metric("haptic_quarantined_objects") or 0)
    end)
  end
end)
