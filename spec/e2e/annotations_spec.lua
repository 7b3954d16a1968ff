--- Annotations of haproxy.org by real requests: each over HTTP and over HTTPS, in all series of HAProxy.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets",
  indexBy = { "metadata.namespace", "metadata.name" } } }
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
    scope:wait_for("the echo", 10, function()
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
    for i, path in ipairs(paths or {}) do
      ing.spec.rules[1].http.paths[i] = { path = path, pathType = "Prefix",
        backend = { service = { name = options.service or name, port = { number = 80 } } } }
    end
    source:write((options.namespace or "default") .. "-ingress-" .. name .. ".yaml", ing,
      kube.service(options.service or name, options.namespace),
      kube.slice(options.service or name, { "127.0.0.1" }, port, options.namespace))
  end

  local function start(series, context, kinds)
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = kinds or SECRETS, templatingSettings = { extraContext = context } }) }):wait_ready()
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
      put("mixed", { whitelist = "127.0.0.0/8", blacklist = "127.0.0.1" })
      put("open", { ["allow-list"] = "0.0.0.0/0,::/0" })
      put("free", {})
      -- Two Ingresses of one Service: each has its own.
      put("shared-a", { ["deny-list"] = "127.0.0.1" }, nil, { service = "shared" })
      put("shared-b", {}, nil, { service = "shared" })
      -- Somebody else's path on the host, to the same Service as the path that is closed.
      put("partly", { ["deny-list"] = "0.0.0.0/0" }, { "/closed" }, { service = "partly" })
      put("guest", {}, { "/guest" }, { service = "partly", host = "partly" })
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
      status("mixed", "/", nil, 403)
      status("mixed", "/", { from = "127.0.0.2" }, 200)
      status("open", "/", nil, 200)
      status("free", "/", nil, 200)
      status("shared-a", "/", nil, 403)
      status("shared-b", "/", nil, 200)
      status("partly", "/closed/x", nil, 403)
      status("partly", "/guest/x", nil, 200)
      status("partly", "/", nil, 404)
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
    end)
  end

  it("come, change and go without a reload on 3.4", function()
    put("first", {})
    start("3.4")
    local reloads = haptic:state().haproxy.reloads
    local function wait(name, path, wanted)
      scope:wait_for(name .. (path or "/") .. " to be " .. tostring(wanted), 15, function()
        local answer = one("http", name, path)
        if type(wanted) == "number" then return answer.status == wanted, tostring(answer.status) end
        return answer.body:find(wanted, 1, true) ~= nil, answer.body
      end)
    end
    for i, case in ipairs({
      { { ["allow-list"] = "10.0.0.0/8" }, 403, { ["allow-list"] = "127.0.0.1,10.0.0.0/8" }, 200 },
      { { ["deny-list"] = "127.0.0.1" }, 403, { ["deny-list"] = "127.0.0.2" }, 200 },
      { { ["request-redirect"] = "a.example" }, 302, { ["request-redirect"] = "a.example", ["request-redirect-code"] = "307" },
        307 },
      { { ["request-set-header"] = "X-First-Name one" }, "x-first-name: one", { ["request-set-header"] = "X-Other two" },
        "x-other: two" },
      { { ["set-host"] = "one.example" }, "one.example", { ["set-host"] = "two.example" }, "two.example" },
      { { ["path-rewrite"] = "/one" }, "GET /one ", { ["path-rewrite"] = "/(.*) /two/\\1" }, "GET /two/ " },
      { { ["response-set-header"] = "X-A b" }, 200, {}, 200 },
    }) do
      local name = "case" .. i
      put(name, case[1])
      wait(name, "/", case[2])
      put(name, case[3])
      wait(name, "/", case[4])
      put(name, {})
      wait(name, "/", 200)
      assert.equal(reloads, haptic:state().haproxy.reloads, "reloads of case " .. i)
    end
  end)
end)
