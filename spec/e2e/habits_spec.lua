--- Ingresses as people write them by hand (spec/fixtures/habits): blanks, line ends of Windows, lists over several
--- lines, odd cases, shared hosts, missing Secrets. Each does by real requests what the manual says.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local FOLDER = "spec/fixtures/habits"
local NAMED = { "metadata.namespace", "metadata.name" }
local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = NAMED },
  configmaps = { apiVersion = "v1", resources = "configmaps", indexBy = NAMED } }
local USERS = "$5$salt$kpa26zwgX83BPSR8d7w93OIXbFt/d3UOTZaAu5vsTM6" -- secret

--- namespace, Service, port of the slice, addresses of the pods.
local PODS = {
  { "team-a", "web", "http", { "198.18.1.1" } }, { "team-b", "web", "http", { "198.18.2.1" } },
  { "team-a", "second", "http", { "198.18.1.2" } }, { "team-a", "sessions", "http", { "198.18.1.3", "198.18.1.4" } },
  { "team-a", "canary-0", "http", { "198.18.1.5" } }, { "team-a", "canary-25", "http", { "198.18.1.5" } },
  { "team-a", "canary-100", "http", { "198.18.1.5" } },
}

for _, series in ipairs(e2e.is_full and { "2.6", "3.0", "3.2", "3.4" } or { "3.4" }) do
describe("Ingresses as people write them, on " .. series .. ",", function()
  local scope, source, haptic, log, twice

  setup(function()
    e2e.backends()
    scope = e2e.scope("habits")
    source = scope:manifests()
    local port, tls, logs, ready = e2e.port(), e2e.port(), e2e.port(), scope:path("echo.sock")
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    scope:tls_server({ port = tls, certificate = scope:certificate({ names = { "raw.example" } }) })
    log = scope:spawn({ name = "syslog", argv = { "python3", "-uc", "import socket, sys\ns = socket.socket(2, 2)\n"
      .. "s.bind(('127.0.0.1', int(sys.argv[1])))\nprint('ready')\nwhile True: print(s.recv(65536))", tostring(logs) } })
    scope:wait_for("the pods", 30, function()
      return select(2, posix.run({ "test", "-S", ready })) == 0 and log:log():find("ready", 1, true)
    end)
    for _, file in ipairs({ "cluster", "ingresses" }) do
      local text = posix.read_file(FOLDER .. "/" .. file .. ".yaml"):gsub("port: 1515", "port: " .. logs)
      posix.write_file(source.path .. "/" .. file .. ".yaml", text)
    end
    local objects = {}
    for _, p in ipairs(PODS) do
      objects[#objects + 1] = kube.slice(p[2], p[4], port, p[1])
      objects[#objects].ports[1].name = p[3]
    end
    objects[3].ports[2] = { name = "admin", port = port, protocol = "TCP" }
    local raw = kube.slice("tls", { "198.18.1.6" }, tls, "team-a")
    raw.ports[1].name = "https"
    objects[#objects + 1] = raw
    twice = {}
    for _, team in ipairs({ "a", "b" }) do
      local c = scope:certificate({ names = { "twice.example" } })
      twice[team] = c
      objects[#objects + 1] = e2e.tls_secret("twice-" .. team, c.cert, c.key, "team-" .. team)
    end
    objects[#objects + 1] = { apiVersion = "v1", kind = "Secret", metadata = { name = "users", namespace = "team-a" },
      stringData = { ada = USERS } }
    source:write("pods.yaml", unpack(objects))
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = KINDS, templatingSettings = { extraContext = {
        ingress_classes = { { controller = "haproxy.org/ingress-controller/haproxy", status = "never" } },
        configmap = "haproxy-controller/haproxy-kubernetes-ingress", pattern_lists = "haproxy-controller/patterns",
        ssl_passthrough = true, access_log = true } } }) }):wait_ready()
  end)
  teardown(function() scope:close() end)

  --- {status, headers, body, pod, line, field()} of one request. options: from, method, headers, user.
  local function ask(url, options)
    options = options or {}
    local at = url:find("^https") and haptic.https_port or haptic.http_port
    local argv = { "curl", "-sk", "-i", "-m", "5", "--path-as-is", "--http1.1", "--connect-to", "::127.0.0.1:" .. at }
    local function add(...)
      for _, word in ipairs({ ... }) do argv[#argv + 1] = word end
    end
    if options.from then add("--interface", options.from) end
    if options.method then add("-X", options.method) end
    if options.user then add("-u", options.user) end
    for _, header in ipairs(options.headers or {}) do add("-H", header) end
    add(url)
    local text = posix.run(argv)
    local head, body = text:match("^(.-)\r\n\r\n(.*)$")
    local headers = {}
    for key, value in (head or ""):gmatch("\n([^:\r\n]+): ([^\r\n]*)") do headers[key:lower()] = value end
    return { status = tonumber(text:match("^HTTP/%S+ (%d+)")) or 0, headers = headers, body = body or text,
      pod = (body or ""):match("^(198%.%S+) "), line = (body or ""):match("^%S+ %S+ (%S+) HTTP"),
      field = function(name) return ("\n" .. (body or "")):lower():match("\n" .. name:gsub("%-", "%%-") .. ": ([^\r\n]*)") end }
  end

  --- The same over HTTP and HTTPS. cases: path of the URL → what read(answer, scheme) must give.
  local function both(cases, read, options)
    for url, wanted in pairs(cases) do
      for _, scheme in ipairs({ "http", "https" }) do
        assert.same(wanted, read(ask(scheme .. "://" .. url, options), scheme), scheme .. "://" .. url)
      end
    end
  end

  local function status(answer) return answer.status end

  it("are served, but for those that no API server takes", function()
    assert.equal(0, haptic:count_log("level=ERROR"))
    assert.equal(0, haptic:state().quarantined and #haptic:state().quarantined or 0, cjson.encode(haptic:state()))
    -- Who has a host in capitals has no routes at all: the default backend answers.
    both({ ["good.example/"] = "198.18.2.1", ["odd.example/"] = "198.18.1.1" }, function(answer) return answer.pod end)
  end)

  it("have values with blanks, empty lines and quotes", function()
    local answer = ask("http://odd.example/", { headers = { "Origin: https://x.example" } })
    assert.same({ "a", "prod eu" }, { answer.field("x-team"), answer.field("x-env") })
    local h = answer.headers
    assert.same({ "max-age=31536000; includeSubDomains", "no-store,no-cache,private", "SAMEORIGIN", "*", "GET, PUT, POST", "60" },
      { h["strict-transport-security"], h["cache-control"], h["x-frame-options"], h["access-control-allow-origin"],
        h["access-control-allow-methods"], h["access-control-max-age"] })
  end)

  it("have lists of addresses with blanks, commas at the end, lines and comments", function()
    for url, froms in pairs({ ["lists.example/"] = { ["127.0.0.1"] = 200, ["127.0.0.2"] = 403, ["127.0.0.6"] = 200, ["127.0.0.8"] = 403 },
      ["lines.example/"] = { ["127.0.0.1"] = 403, ["127.0.0.2"] = 200, ["127.0.0.5"] = 200, ["127.0.0.6"] = 403 },
      ["office.example/"] = { ["127.0.0.1"] = 403, ["127.0.0.2"] = 200, ["127.0.0.17"] = 200, ["127.0.0.20"] = 403 } }) do
      for from, wanted in pairs(froms) do both({ [url] = wanted }, status, { from = from }) end
    end
  end)

  it("have rate limits in a minute, for all but some", function()
    local seen = {}
    for i = 1, 5 do seen[i] = ask((i % 2 == 0 and "https" or "http") .. "://rate.example/").status end
    assert.same({ 200, 200, 200, 429, 429 }, seen)
    for _ = 1, 5 do assert.equal(200, ask("http://rate.example/", { from = "127.0.0.9" }).status) end
    haptic:wait_log("object=team%-a/rate .*rate%-limit%-size")
  end)

  it("keep clients by a cookie of the Service", function()
    local first = ask("http://sessions.example/")
    local cookie = (first.headers["set-cookie"] or ""):match("^(SERVERID=[^;]+)")
    assert.is_string(cookie, first.body)
    for _ = 1, 6 do assert.equal(first.pod, ask("https://sessions.example/", { headers = { "Cookie: " .. cookie } }).pod) end
  end)

  it("redirect with ports and codes", function()
    local function to(answer) return answer.status .. " " .. (answer.headers.location or "") end
    both({ ["moved.example/a?b=c"] = "301 https://new.example:8443/a?b=c" }, to)
    for _, scheme in ipairs({ "http", "https" }) do
      assert.equal("302 " .. scheme .. "://other.example:8080/a?b", to(ask(scheme .. "://moved-plain.example/a?b")))
    end
    assert.equal("301 https://secure.example/x?y", to(ask("http://secure.example/x?y")))
    assert.equal(200, ask("https://secure.example/x").status)
  end)

  it("pass TLS through to the pod", function()
    assert.matches("^sni=raw.example ", ask("https://raw.example/").body)
    assert.equal(302, ask("http://raw.example/").status)
    haptic:wait_log("object=team%-a/raw .*no effect on TLS that is passed through: haproxy.org/set%-host")
  end)

  it("rewrite paths by groups, in several lines", function()
    both({ ["rewrite.example/api/v1/users/1?a=b"] = "/v2/users/1?a=b", ["rewrite.example/old/x/y"] = "/new/y/x",
      ["rewrite.example/other"] = "/other", ["rewrite-all.example/a/b?c"] = "/prefix/a/b?c",
      ["rewrite-root.example/app/x?y"] = "/?y", ["rewrite-strip.example/app/x/y"] = "/x/y" },
      function(answer) return answer.line end)
  end)

  it("show captures in a log format of their own", function()
    ask("http://capture.example/", { headers = { "User-Agent: browser/1", "Cookie: userid=u77; x=y", "X-Id: ABC" } })
    scope:wait_for("the captures in the log", 10, function()
      local line = log:log():match("[^\n]*u77[^\n]*")
      return line and line:find('{"ts":%d%d%d%d%d%d%d%d%d%d%d%d%d,"client":"127.0.0.1","captured":"{u77|browser/1|abc}","first":"u77",')
        and line:find('"request":"GET capture.example/ HTTP/1.1"}', 1, true), log:log():sub(-600)
    end)
  end)

  it("change the host for the pod", function()
    both({ ["inner.example/"] = "internal.svc:8080" }, function(answer) return answer.field("host") end)
  end)

  it("ask for passwords with a realm of several words", function()
    both({ ["login.example/"] = { 401, 'Basic realm="My  Secret Area"' } },
      function(answer) return { answer.status, answer.headers["www-authenticate"] } end)
    both({ ["login.example/"] = 200 }, status, { user = "ada:secret" })
    both({ ["login.example/"] = 401 }, status, { user = "ada:wrong" })
  end)

  it("let several origins read answers, by an expression or a list", function()
    local function origin(answer) return answer.headers["access-control-allow-origin"] end
    for url, origins in pairs({
      ["cors.example/"] = { ["https://shop.example"] = true, ["http://a.b.partner.example:8080"] = true, ["https://shop.example.evil.test"] = false,
        ["https://evilshop.example"] = false },
      ["cors-list.example/"] = { ["https://a.example"] = true, ["https://b.example"] = true, ["https://aXexample"] = false,
        ["http://a.example"] = false, ["https://a.example.evil.test"] = false, ["https://b.example:444"] = false } }) do
      for o, wanted in pairs(origins) do
        for _, scheme in ipairs({ "http", "https" }) do
          assert.equal(wanted and o or nil, origin(ask(scheme .. "://" .. url, { headers = { "Origin: " .. o } })), url .. " " .. o)
        end
      end
    end
    local h = ask("http://cors.example/", { method = "OPTIONS", headers = { "Origin: https://shop.example" } })
    assert.same({ 204, "true", "X-Custom-Header, Upgrade-Insecure-Requests", "3600" }, { h.status,
      h.headers["access-control-allow-credentials"], h.headers["access-control-allow-headers"], h.headers["access-control-max-age"] })
  end)

  it("have paths of all types, and hosts of all sorts", function()
    both({ ["paths.example/exact"] = "198.18.1.1", ["paths.example/exact/x"] = "198.18.1.2", ["paths.example/files/a"] = "198.18.1.1",
      ["paths.example/Case"] = "198.18.1.1", ["paths.example/slash"] = "198.18.1.1", ["PATHS.example/exact"] = "198.18.1.1",
      ["paths.example:8080/exact"] = "198.18.1.1", ["a.apps.example/"] = "198.18.1.1", ["one.apps.example/x"] = "198.18.1.2",
      -- What no rule matches is served by the default backend of another namespace.
      ["paths.example/app/x"] = "198.18.2.1", ["paths.example/v1/"] = "198.18.2.1", ["paths.example/case"] = "198.18.2.1",
      ["a.b.apps.example/"] = "198.18.2.1", ["nobody.example/"] = "198.18.2.1", ["nobody.example/status/1"] = "198.18.1.1",
      ["share.example/"] = "198.18.1.1", ["share.example/b/x"] = "198.18.2.1", ["share.example/bb"] = "198.18.1.1" },
      function(answer) return answer.pod end)
    assert.equal("team-b", ask("http://share.example/b").field("x-from"))
    assert.is_nil(ask("http://share.example/").field("x-from"))
    haptic:wait_log("DuplicatePath .*object=team%-b/share%-b .*share.example/ is also written by an object of another namespace")
    haptic:wait_log("object=team%-a/paths .*a path is no pattern")
  end)

  it("have one host with two certificates, and Secrets that nobody has made", function()
    -- The older Ingress, here the one that is first by its name, has the name; its owner's is served, and both paths are.
    assert.equal(twice.a.fingerprint, e2e.peer(haptic.https_port, "twice.example"))
    assert.equal("198.18.2.1", ask("https://twice.example/b/x").pod)
    haptic:wait_log("object=team%-b/tls%-b .*TLS host twice.example is also written by an object of another namespace")
    assert.equal(200, ask("https://missing.example/").status)
    assert.equal(302, ask("http://missing.example/").status)
    assert.not_equal(twice.a.fingerprint, e2e.peer(haptic.https_port, "missing.example"))
    haptic:wait_log("object=team%-a/tls%-missing .*there is no Secret team%-a/nobody%-made%-it")
    assert.equal(200, ask("https://plain-tls.example/").status)
  end)

  it("have canaries with a share of nothing, of some and of all", function()
    for share, wanted in pairs({ [0] = { 0, 0 }, [25] = { 1, 39 }, [100] = { 40, 40 } }) do
      local count = 0
      for _ = 1, 40 do
        local pod = ask("http://canary-" .. share .. ".example/").pod
        assert.is_true(pod == "198.18.1.1" or pod == "198.18.1.5", tostring(pod))
        if pod == "198.18.1.5" then count = count + 1 end
      end
      assert.is_true(count >= wanted[1] and count <= wanted[2], share .. ": " .. count)
    end
  end)

  it("have ports by name and number", function()
    both({ ["ports.example/name"] = 200, ["ports.example/number"] = 200, ["ports.example/admin"] = 200, ["ports.example/nothing"] = 503 }, status)
  end)

  it("tell only the owner of what is wrong", function()
    haptic:wait_log("object=haproxy%-controller/haproxy%-kubernetes%-ingress .*load%-balance must be")
    haptic:wait_log("object=haproxy%-controller/haproxy%-kubernetes%-ingress .*timeout%-clinet has no effect.*did you mean timeout%-client%?")
    for _, object in ipairs({ "team%-a/odd%-values", "team%-a/sessions", "team%-b/fallback", "team%-a/paths" }) do
      assert.equal(0, haptic:count_log("object=" .. object .. " .*load%-balance"), object)
    end
    haptic:wait_log("object=team%-a/odd%-values .*Request%-Set%-Headers %(did you mean haproxy.org/request%-set%-header%?%)")
    haptic:wait_log("object=team%-a/tuned .*timeout%-check must be a duration.*5S.*send%-proxy%-protocol must be one of")
    haptic:wait_log("spec.rules%[1%].host: must be a DNS name in small letters")
  end)
end)
end
