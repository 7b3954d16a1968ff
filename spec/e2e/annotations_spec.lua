--- Annotations of haproxy.org by real requests: each over HTTP and over HTTPS, in all series of HAProxy.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED },
  configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED } }
local SERIES = { "2.6", "3.0", "3.2", "3.4" }
local PREFIX = "haproxy.org/"

describe("Annotations:", function()
  local scope, source, haptic, port

  before_each(function()
    scope = e2e.scope("annotations")
    source = scope:manifests()
    port = e2e.port()
    local echo = scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port),
      scope:path("echo.sock") } })
    scope:wait_for("the echo", 30, function()
      return posix.run({ "curl", "-s", "127.0.0.1:" .. port }) ~= "", echo:log()
    end)
  end)
  after_each(function() scope:close() end)

  --- An Ingress for HOST.example, whose pod answers with what it got. annotations: without the prefix.
  local function put(name, annotations, paths, options)
    options = options or {}
    local all = {}
    for key, value in pairs(annotations or {}) do all[(options.prefix or PREFIX) .. key] = value end
    local ing = kube.ingress({ name = name, host = (options.host or name) .. ".example", service = options.service or name,
      annotations = all, namespace = options.namespace })
    if options.host == false then ing.spec.rules[1].host = nil end
    for i, path in ipairs(paths or {}) do
      ing.spec.rules[1].http.paths[i] = { path = path, pathType = "Prefix",
        backend = { service = { name = options.service or name, port = { number = 80 } } } }
    end
    source:write((options.namespace or "default") .. "-ingress-" .. name .. ".yaml", ing,
      kube.service(options.service or name, options.namespace),
      kube.slice(options.service or name, { "127.0.0.1" }, port, options.namespace))
  end

  local function start(series, context)
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = KINDS, templatingSettings = { extraContext = context } }) }):wait_ready()
  end

  --- One request: {status, headers, body}. options: from (address), method, headers (list), user.
  local function one(scheme, name, path, options)
    options = options or {}
    local at = scheme == "https" and haptic.https_port or haptic.http_port
    local argv = { "curl", "-sSk", "-i", "-m", "5", "--path-as-is", "--http1.1", "--resolve",
      ("%s.example:%d:%s"):format(name, at, options.to or "127.0.0.1") }
    local function add(...)
      for _, word in ipairs({ ... }) do argv[#argv + 1] = word end
    end
    if options.from then add("--interface", options.from) end
    if options.method then add("-X", options.method) end
    if options.user then add("-u", options.user) end
    for _, header in ipairs(options.headers or {}) do add("-H", header) end
    add(("%s://%s.example:%d%s"):format(scheme, name, at, path or "/"))
    local text, code = posix.run(argv)
    if code ~= 0 then return { status = 0, headers = {}, body = text } end
    local head, body = text:match("^(.-)\r\n\r\n(.*)$")
    local headers = {}
    for key, value in head:gmatch("\n([^:\r\n]+): ([^\r\n]*)") do headers[key:lower()] = value end
    return { status = tonumber(head:match("^HTTP/%S+ (%d+)")), headers = headers, body = body }
  end

  --- The same request over HTTP and HTTPS has the same answer, but for what check(answer, scheme) sees.
  local function both(name, path, options, check)
    for _, scheme in ipairs({ "http", "https" }) do
      local answer = one(scheme, name, path, options)
      check(answer, scheme)
    end
  end

  local function status(name, path, options, wanted)
    both(name, path, options, function(answer, scheme)
      assert(answer.status == wanted, ("%s://%s%s: %d, not %d: %s"):format(scheme, name, path or "/", answer.status, wanted,
        answer.body))
    end)
  end

  local function field(answer, name)
    return answer.body:match("\n" .. name:lower():gsub("%-", "%%-") .. ": ([^\r\n]*)")
      or ("\n" .. answer.body):lower():match("\n" .. name:lower():gsub("%-", "%%-") .. ": ([^\r\n]*)")
  end

  for _, series in ipairs(SERIES) do
    it("lets in by lists of addresses, on " .. series, function()
      put("allowed", { ["allow-list"] = "127.0.0.0/30, ::1" })
      put("other", { ["allow-list"] = "10.0.0.0/8,192.0.2.1,127.0.0.2" })
      put("denied", { ["deny-list"] = "127.0.0.2/31" })
      put("spelled", { allowlist = "10.0.0.0/8", denylist = "10.0.0.0/8" })
      put("mixed", { whitelist = "127.0.0.0/8", blacklist = "127.0.0.1" })
      put("open", { ["allow-list"] = "0.0.0.0/0,::/0" })
      put("free", {})
      -- Two Ingresses of one Service: each has its own.
      put("shared-a", { ["deny-list"] = "127.0.0.1" }, nil, { service = "shared" })
      put("shared-b", {}, nil, { service = "shared" })
      -- Somebody else's path on the host, to the same Service as the path that is closed.
      put("partly", { ["deny-list"] = "0.0.0.0/0" }, { "/closed" }, { service = "partly" })
      put("guest", {}, { "/guest" }, { service = "partly", host = "partly" })
      -- Wildcards, and rules without a host.
      put("wild", { ["deny-list"] = "127.0.0.1" }, nil, { host = "*.wild" })
      put("hostless", { ["deny-list"] = "127.0.0.1" }, { "/everywhere" }, { host = false })
      start(series)
      status("allowed", "/", nil, 200)
      status("allowed", "/", { from = "127.0.0.3" }, 200)
      status("allowed", "/", { from = "127.0.0.4" }, 403)
      status("other", "/", nil, 403)
      status("other", "/", { from = "127.0.0.2" }, 200)
      status("denied", "/", nil, 200)
      status("denied", "/", { from = "127.0.0.2" }, 403)
      status("denied", "/", { from = "127.0.0.3" }, 403)
      status("denied", "/", { from = "127.0.0.4" }, 200)
      status("spelled", "/", nil, 403)
      status("mixed", "/", nil, 403)
      status("mixed", "/", { from = "127.0.0.2" }, 200)
      status("open", "/", nil, 200)
      status("free", "/", nil, 200)
      status("shared-a", "/", nil, 403)
      status("shared-b", "/", nil, 200)
      status("partly", "/closed/x", nil, 403)
      status("partly", "/guest/x", nil, 200)
      status("partly", "/", nil, 404)
      status("a.wild", "/", nil, 403)
      status("a.wild", "/", { from = "127.0.0.2" }, 200)
      status("nobody", "/everywhere", nil, 403)
      status("nobody", "/everywhere", { from = "127.0.0.2" }, 200)
      status("nobody", "/", nil, 404)
      if posix.run({ "cat", "/proc/net/if_inet6" }):find("00000000000000000000000000000001", 1, true) then
        status("allowed", "/", { to = "[::1]" }, 200)
        status("denied", "/", { to = "[::1]" }, 200)
        status("other", "/", { to = "[::1]" }, 403)
        status("open", "/", { to = "[::1]" }, 200)
      end
      assert.equal(0, haptic:count_log("level=ERROR"))
    end)

    it("redirects to another host, on " .. series, function()
      put("moved", { ["request-redirect"] = "new.example" })
      put("coded", { ["request-redirect"] = "https://New.example:8443", ["request-redirect-code"] = "308" })
      put("wrong", { ["request-redirect"] = "http://new.example", ["request-redirect-code"] = "200" })
      put("partly", { ["request-redirect"] = "new.example" }, { "/old" })
      put("stays", {}, { "/" }, { host = "partly" })
      start(series)
      both("moved", "/a/b?c=d", nil, function(answer, scheme)
        assert.equal(302, answer.status)
        assert.equal(scheme .. "://new.example/a/b?c=d", answer.headers.location)
      end)
      both("coded", "/", nil, function(answer)
        assert.equal(308, answer.status)
        assert.equal("https://new.example:8443/", answer.headers.location)
      end)
      both("wrong", "/", nil, function(answer)
        assert.equal(302, answer.status)
        assert.equal("http://new.example/", answer.headers.location)
      end)
      status("partly", "/old/x", nil, 302)
      status("partly", "/x", nil, 200)
    end)

    it("sets headers of requests and answers, on " .. series, function()
      put("one", { ["request-set-header"] = "X-Team shop\nX-Client  \"a b; c\"\nUser-Agent haptic",
        ["response-set-header"] = "Cache-Control no-store, max-age=0\nX-Long " .. ("y"):rep(600) })
      put("two", { ["request-set-header"] = "X-Team other" })
      put("none", {})
      start(series)
      both("one", "/", { headers = { "X-Team: forged" } }, function(answer)
        assert.equal("shop", field(answer, "x-team"))
        assert.equal("a b; c", field(answer, "x-client"))
        assert.equal("haptic", field(answer, "user-agent"))
        assert.equal("no-store, max-age=0", answer.headers["cache-control"])
        assert.equal(("y"):rep(600), answer.headers["x-long"])
      end)
      both("two", "/", nil, function(answer)
        assert.equal("other", field(answer, "x-team"))
        assert.is_nil(field(answer, "x-client"))
        assert.is_nil(answer.headers["cache-control"])
      end)
      both("none", "/", { headers = { "X-Team: mine" } }, function(answer)
        assert.equal("mine", field(answer, "x-team"))
        assert.is_nil(answer.headers["x-long"])
      end)
    end)

    it("changes host and path of what the pod gets, on " .. series, function()
      put("host", { ["set-host"] = "Inside.example:8080" })
      put("whole", { ["path-rewrite"] = "/" })
      put("prefix", { ["path-rewrite"] = "/v2\\1" })
      put("strip", { ["path-rewrite"] = "/api/(.*) /\\1" }, { "/api", "/other" })
      put("lines", { ["path-rewrite"] = "^/a(/|$)(.*) /b/\\2\n^/b/x$ /found\n/never /nothing" })
      put("none", {})
      start(series)
      local function path(name, asked, wanted)
        both(name, asked, nil, function(answer)
          assert.equal(200, answer.status)
          assert.equal(wanted, answer.body:match("^%S+ GET (%S+) HTTP"), name .. asked)
        end)
      end
      both("host", "/", nil, function(answer) assert.equal("inside.example:8080", field(answer, "host")) end)
      path("whole", "/a/b?c=d", "/?c=d")
      path("prefix", "/a/b?c=d", "/v2/a/b?c=d")
      path("strip", "/api/a%2Fb//c?x", "/a%2Fb//c?x")
      path("strip", "/api", "/api")
      path("strip", "/other/api/z", "/z")
      path("lines", "/a/y", "/b/y")
      path("lines", "/a/x", "/found")
      path("lines", "/c", "/c")
      path("none", "/a/b?c=d", "/a/b?c=d")
      -- An expression is not matched with any length of path, and what it does not see does not pass.
      path("strip", "/api/" .. ("a"):rep(4091), "/" .. ("a"):rep(4091))
      status("strip", "/api/" .. ("a"):rep(4092), nil, 414)
      path("none", "/" .. ("a"):rep(5000), "/" .. ("a"):rep(5000))
    end)

    it("asks for a name and a password, on " .. series, function()
      local function users(name, data)
        source:write("secret-" .. name .. ".yaml", { apiVersion = "v1", kind = "Secret", type = "Opaque",
          metadata = { name = name, namespace = "default" }, stringData = data })
      end
      -- "ada" with the password "secret", by `openssl passwd -5 -salt salt secret` and -apr1.
      users("team", { ada = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6" })
      users("apr1", { ada = "$apr1$salt$VEpBc9VHGUKwI9.yg13Iu0", bob = "$apr1$TOOLONGSA$x", eve = "$apr1$" })
      users("mixed", { ada = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", bob = "$apr1$salt$VEpBc9VHGUKwI9.yg13Iu0",
        eve = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6", slow = "$6$rounds=60000$salt$x" })
      -- One login by such a hash would take minutes, in which HAProxy serves nobody and its watchdog ends it; and it
      -- computes each hash when it reads its configuration.
      users("endless", { ada = "$6$rounds=999999999$salt$x", bob = "$2y$31$" .. ("a"):rep(53), eve = "$sha1$4000000000$salt$x",
        kim = "$y$jzzzz$salt$x", lea = "_zzzzsaltJnggxhB/yWI", max = "secret" })
      users("useless", { ada = "{SSHA}abc", bob = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" })
      put("locked", { ["auth-type"] = "basic-auth", ["auth-secret"] = "default/team", ["auth-realm"] = "The team" })
      put("short", { ["auth-type"] = "basic-auth", ["auth-secret"] = "team" })
      put("missing", { ["auth-type"] = "basic-auth", ["auth-secret"] = "default/nobody" })
      put("foreign", { ["auth-type"] = "basic-auth", ["auth-secret"] = "kube-system/team" })
      put("digest", { ["auth-type"] = "digest", ["auth-secret"] = "team" })
      put("htpasswd", { ["auth-type"] = "basic-auth", ["auth-secret"] = "apr1" })
      put("mixed", { ["auth-type"] = "basic-auth", ["auth-secret"] = "mixed" })
      put("useless", { ["auth-type"] = "basic-auth", ["auth-secret"] = "useless" })
      put("endless", { ["auth-type"] = "basic-auth", ["auth-secret"] = "endless" })
      put("free", {})
      start(series)
      both("locked", "/", nil, function(answer)
        assert.equal(401, answer.status)
        assert.equal('Basic realm="The team"', answer.headers["www-authenticate"])
      end)
      status("locked", "/", { user = "ada:wrong" }, 401)
      status("locked", "/", { user = "bob:secret" }, 401)
      status("locked", "/", { user = "ada:secret" }, 200)
      status("short", "/", { user = "ada:secret" }, 200)
      status("short", "/", nil, 401)
      for _, name in ipairs({ "missing", "foreign", "digest", "useless", "endless" }) do status(name, "/", { user = "ada:secret" }, 503) end
      -- What htpasswd writes by default, and of old.
      status("htpasswd", "/", nil, 401)
      for user, wanted in pairs({ ["ada:secret"] = 200, ["ada:Secret"] = 401, ["ada:"] = 401, ["bob:secret"] = 401,
        ["eve:"] = 401, ["eve:x"] = 401, [":secret"] = 401, ["nobody:secret"] = 401 }) do
        status("htpasswd", "/", { user = user }, wanted)
      end
      for user, wanted in pairs({ ["ada:secret"] = 200, ["ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="] = 401, ["ada:x"] = 401,
        ["bob:secret"] = 200, ["bob:x"] = 401, ["eve:secret"] = 200, ["eve:x"] = 401, ["slow:x"] = 401 }) do
        status("mixed", "/", { user = user }, wanted)
      end
      local told = haptic:get("/debug/state").body
      for _, text in ipairs({ "SlowPasswordHash", "slow: each request", "UserCannotLogIn", "nobody of the Secret default/useless",
        "nobody of the Secret default/endless" }) do
        assert.matches(text, told, 1, true)
      end
      status("free", "/", nil, 200)
    end)

    it("lets pages of other hosts read answers, on " .. series, function()
      put("all", { ["cors-enable"] = "true" })
      put("some", { ["cors-enable"] = "on", ["cors-allow-origin"] = "https://(a|b)\\.example", ["cors-allow-methods"] = "GET, PUT",
        ["cors-allow-headers"] = "X-One,X-Two", ["cors-allow-credentials"] = "true", ["cors-max-age"] = "2m",
        ["cors-respond-to-options"] = "true" })
      put("either", { ["cors-enable"] = "on", ["cors-allow-origin"] = "https://a\\.example|https://c\\.example" })
      put("begun", { ["cors-enable"] = "on", ["cors-allow-origin"] = "^https://a\\.example" })
      put("none", {})
      start(series)
      local origin = { headers = { "Origin: https://a.example" } }
      both("all", "/", origin, function(answer)
        assert.equal("*", answer.headers["access-control-allow-origin"])
        assert.equal("*", answer.headers["access-control-allow-methods"])
        assert.equal("5", answer.headers["access-control-max-age"])
        assert.is_nil(answer.headers["access-control-allow-credentials"])
      end)
      both("some", "/", origin, function(answer)
        assert.equal(200, answer.status)
        assert.equal("https://a.example", answer.headers["access-control-allow-origin"])
        assert.equal("GET, PUT", answer.headers["access-control-allow-methods"])
        assert.equal("X-One, X-Two", answer.headers["access-control-allow-headers"])
        assert.equal("true", answer.headers["access-control-allow-credentials"])
        assert.equal("120", answer.headers["access-control-max-age"])
        assert.equal("Origin", answer.headers.vary)
      end)
      origin.method = "OPTIONS"
      status("some", "/", origin, 204)
      status("all", "/", origin, 200)
      for _, other in ipairs({ "https://c.example", "https://a.example.attacker.test", "http://a.example" }) do
        both("some", "/", { method = "OPTIONS", headers = { "Origin: " .. other } }, function(answer)
          assert.equal(200, answer.status)
          assert.is_nil(answer.headers["access-control-allow-origin"])
        end)
      end
      for _, name in ipairs({ "either", "begun" }) do
        both(name, "/", { headers = { "Origin: https://a.example" } }, function(answer)
          assert.equal("https://a.example", answer.headers["access-control-allow-origin"], name)
        end)
        for _, other in ipairs({ "https://a.example.attacker.test", "https://attacker.test/https://c.example",
          "https://a.example" .. ("a"):rep(5000) }) do
          both(name, "/", { headers = { "Origin: " .. other } }, function(answer)
            assert.is_nil(answer.headers["access-control-allow-origin"], name .. " " .. other:sub(1, 60))
          end)
        end
      end
      both("none", "/", origin, function(answer) assert.is_nil(answer.headers["access-control-allow-origin"]) end)
    end)

    it("refuses who asks too often, on " .. series, function()
      put("slow", { ["rate-limit-requests"] = "4", ["rate-limit-period"] = "1h", ["rate-limit-status-code"] = "429" })
      put("plain", { ["rate-limit-requests"] = "2", ["rate-limit-period"] = "1h" })
      put("excepted", { ["rate-limit-requests"] = "1", ["rate-limit-period"] = "1h", ["rate-limit-whitelist"] = "127.0.0.1" })
      put("free", {})
      start(series)
      local function seen(name, count, options)
        local statuses = {}
        for i = 1, count do statuses[i] = one(i % 2 == 0 and "https" or "http", name, "/", options).status end
        return table.concat(statuses, " ")
      end
      assert.equal("200 200 200 200 429 429", seen("slow", 6))
      assert.equal("200 200 200 200 429 429", seen("slow", 6, { from = "127.0.0.2" }))
      assert.equal("200 200 403 403", seen("plain", 4))
      assert.equal("200 200 200", seen("excepted", 3))
      assert.equal("200 403", seen("excepted", 2, { from = "127.0.0.2" }))
      assert.equal("200 200 200 200 200 200", seen("free", 6))
    end)

    it("shows what was asked for in the log, on " .. series, function()
      put("seen", { ["request-capture"] = "hdr(X-Trace)\ncookie(session)", ["request-capture-len"] = "8" })
      put("other", {})
      local log_port = e2e.port()
      local log = scope:spawn({ name = "syslog", argv = { "python3", "-uc", "import socket, sys\ns = socket.socket(2, 2)\n"
        .. "s.bind(('127.0.0.1', int(sys.argv[1])))\nprint('ready')\nwhile True: print(s.recv(65536))", tostring(log_port) } })
      scope:wait_for("the receiver of logs", 30, function() return log:log():find("ready", 1, true) end)
      start(series, { access_log = true, log_target = "127.0.0.1:" .. log_port })
      both("seen", "/", { headers = { "X-Trace: abcdefghijkl", "Cookie: session=s1; a=b" } }, function(answer)
        assert.equal(200, answer.status)
      end)
      scope:wait_for("the captures in the log", 10, function()
        return log:log():find("{s1|abcdefgh}", 1, true) ~= nil, log:log():sub(-600)
      end)
      status("other", "/", { headers = { "X-Trace: zzzz" } }, 200)
      assert.is_nil(log:log():find("zzzz", 1, true))
    end)

    it("takes the client from a trusted proxy's header, on " .. series, function()
      put("behind", { ["src-ip-header"] = "X-Real-IP", ["allow-list"] = "192.0.2.7" })
      put("forwarded", { ["src-ip-header"] = "X-Forwarded-For", ["allow-list"] = "192.0.2.7" })
      start(series, { trusted_proxies = { "127.0.0.1" } })
      status("behind", "/", { headers = { "X-Real-IP: 192.0.2.7" } }, 200)
      status("behind", "/", { headers = { "X-Real-IP: 192.0.2.8" } }, 403)
      status("behind", "/", nil, 403)
      status("behind", "/", { headers = { "X-Real-IP: 192.0.2.7" }, from = "127.0.0.2" }, 403)
      status("forwarded", "/", { headers = { "X-Forwarded-For: 192.0.2.7" } }, 200)
      status("forwarded", "/", { headers = { "X-Forwarded-For: 192.0.2.7, 10.0.0.1" } }, 403)
    end)

    it("ends what takes too long, on " .. series, function()
      put("short", { ["timeout-server"] = "300ms" })
      put("long", {})
      start(series, { timeout_server = "30s" })
      local before = posix.now()
      assert.equal(504, one("http", "short", "/slow").status)
      assert.equal(504, one("https", "short", "/slow").status)
      assert.truthy(posix.now() - before < 2.8)
      assert.equal(200, one("http", "long", "/slow").status)
      status("short", "/", nil, 200)
    end)
  end

  it("never stand in front of another Ingress' route on the host, such as an ACME solver's", function()
    put("redirected", { ["request-redirect"] = "new.example" })
    put("closed", { ["allow-list"] = "10.0.0.0/8", ["auth-type"] = "basic-auth", ["auth-secret"] = "nobody" })
    put("limited", { ["deny-list"] = "0.0.0.0/0", ["path-rewrite"] = "/nothing" })
    for _, host in ipairs({ "redirected", "closed", "limited" }) do
      put("solver-" .. host, {}, { "/.well-known/acme-challenge/token" }, { host = host })
    end
    start("3.4")
    for host, without in pairs({ redirected = 302, closed = 503, limited = 403 }) do
      status(host, "/", nil, without)
      both(host, "/.well-known/acme-challenge/token", nil, function(answer)
        assert.equal(200, answer.status)
        assert.matches("GET /.well-known/acme-challenge/token HTTP", answer.body, 1, true)
      end)
    end
  end)

  --- Waits until a route answers with a status, or with a text in the body.
  local function wait(name, wanted, path)
    scope:wait_for(name .. (path or "/") .. " to be " .. tostring(wanted), 15, function()
      local answer = one("http", name, path)
      if type(wanted) == "number" then return answer.status == wanted, tostring(answer.status) end
      return answer.body:find(wanted, 1, true) ~= nil, answer.body
    end)
  end

  it("come, change and go without a reload on 3.4, but for those that say so", function()
    source:write("secret.yaml", { apiVersion = "v1", kind = "Secret", type = "Opaque", metadata = { name = "team",
      namespace = "default" }, stringData = { ada = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6" } })
    put("first", {})
    start("3.4")
    for i, case in ipairs({
      -- new Ingress with these, its answer; other values, the answer; reloads: of the new one, of the change
      { { ["allow-list"] = "10.0.0.0/8" }, 403, { ["allow-list"] = "127.0.0.1,10.0.0.0/8" }, 200 },
      { { ["deny-list"] = "127.0.0.1" }, 403, { ["deny-list"] = "127.0.0.2" }, 200 },
      { { ["request-redirect"] = "a.example" }, 302, { ["request-redirect"] = "a.example", ["request-redirect-code"] = "307" },
        307 },
      { { ["request-set-header"] = "X-First-Name one" }, "x-first-name: one", { ["request-set-header"] = "X-Other two" },
        "x-other: two" },
      { { ["set-host"] = "one.example" }, "one.example", { ["set-host"] = "two.example" }, "two.example" },
      { { ["path-rewrite"] = "/one" }, "GET /one ", { ["path-rewrite"] = "/(.*) /two/\\1" }, "GET /two/ " },
      { { ["response-set-header"] = "X-A b" }, 200, {}, 200 },
      { { ["cors-enable"] = "true", ["cors-allow-origin"] = "https://a.example" }, 200, { ["cors-enable"] = "true" }, 200 },
      { { ["rate-limit-requests"] = "1", ["rate-limit-period"] = "1h" }, 403, { ["rate-limit-requests"] = "1",
        ["rate-limit-period"] = "1h", ["rate-limit-status-code"] = "429" }, 429 },
      { { ["timeout-server"] = "5s" }, 200, { ["timeout-server"] = "200ms" }, 504, path = "/slow" },
      { { ["auth-type"] = "basic-auth", ["auth-secret"] = "team" }, 401, { ["auth-type"] = "basic-auth",
        ["auth-secret"] = "nobody" }, 503, reloads = 1 },
      { { ["request-capture"] = "hdr(x-a)" }, 200, { ["request-capture"] = "path" }, 200, reloads = 1 },
    }) do
      local name, reloads = "case" .. i, haptic:state().haproxy.reloads
      put(name, case[1])
      wait(name, case[2], case.path)
      scope:wait_for("the reload of case " .. i, 10, function()
        return haptic:state().haproxy.reloads == reloads + (case.reloads or 0), tostring(haptic:state().haproxy.reloads)
      end)
      put(name, case[3])
      wait(name, case[4], case.path)
      put(name, {})
      wait(name, 200)
      if not case.reloads then assert.equal(reloads, haptic:state().haproxy.reloads, "reloads of case " .. i) end
    end
  end)

  it("follow a ConfigMap, in front of which Ingresses count", function()
    local function put_map(data)
      source:write("configmap.yaml", { apiVersion = "v1", kind = "ConfigMap",
        metadata = { name = "haproxy", namespace = "default" }, data = data })
    end
    put_map({ ["allow-list"] = "10.0.0.0/8", ["timeout-server"] = "300ms", ["timeout-client"] = "x",
      ["global-config-snippet"] = "stats socket /tmp/x", ["unheard-of"] = "1", maxconn = "1234" })
    put("plain", {})
    put("own", { ["allow-list"] = "127.0.0.1" })
    put("wrong", { ["allow-list"] = "nonsense" })
    start("3.4", { configmap = "default/haproxy" })
    status("plain", "/", nil, 403)
    status("own", "/", nil, 200)
    -- What is wrong is passed over in favour of the ConfigMap.
    status("wrong", "/", nil, 403)
    assert.equal(504, one("http", "own", "/slow").status)
    local config = posix.read_file(haptic.directory .. "/haproxy.cfg")
    assert.matches("\n    maxconn 1234\n", config, 1, true)
    assert.matches("\n    timeout client 60s\n", config, 1, true)
    assert.is_nil(config:find("/tmp/x", 1, true))
    local told = haptic:get("/debug/state").body
    for _, key in ipairs({ "timeout%-client must be", "unheard%-of has no effect", "global%-config%-snippet has no effect",
      "haproxy.org/allow%-list must be" }) do
      assert.matches(key, told)
    end
    put_map({ ["allow-list"] = "127.0.0.0/8", ["response-set-header"] = "X-All yes" })
    wait("plain", 200)
    assert.equal("yes", one("https", "plain", "/").headers["x-all"])
    put_map({ ["timeout-connect"] = "11", ["timeout-client"] = "12s", ["timeout-server"] = "13s", ["timeout-queue"] = "14s",
      ["timeout-http-request"] = "15s", ["timeout-http-keep-alive"] = "16s", ["timeout-tunnel"] = "17m", ["nbthread"] = "2",
      ["timeout-client-fin"] = "18s", ["timeout-server-fin"] = "19s", ["hard-stop-after"] = "20m", dontlognull = "false",
      logasap = "true", ["http-connection-mode"] = "http-server-close" })
    scope:wait_for("the settings", 15, function()
      local now = posix.read_file(haptic.directory .. "/haproxy.cfg")
      for _, line in ipairs({ "timeout connect 11ms", "timeout client 12s", "timeout server 13000ms", "timeout queue 14s",
        "timeout http-request 15s", "timeout http-keep-alive 16s", "timeout tunnel 17m", "nbthread 2", "timeout client-fin 18s",
        "timeout server-fin 19s", "hard-stop-after 20m", "option logasap", "option http-server-close" }) do
        if not now:find("\n    " .. line .. "\n", 1, true) then return false, line end
      end
      return not now:find("option dontlognull", 1, true), "dontlognull"
    end)
    scope:wait_for("the time limit to go", 15, function() return one("http", "own", "/slow").status == 200 end)
  end)
end)
