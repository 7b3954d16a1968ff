--- Annotations about backends by real requests: over HTTP and over HTTPS, in all series of HAProxy, of an Ingress and of
--- a Service.

local e2e = require("support.e2e")
local http = require("support.http")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRETS = { secrets = { apiVersion = "v1", resources = "secrets",
  indexBy = { "metadata.namespace", "metadata.name" } } }
local PODS = { "198.18.0.1", "198.18.0.2", "198.18.0.3", "198.18.0.4" }

describe("Annotations about backends:", function()
  local scope, source, haptic, port

  before_each(function()
    e2e.backends()
    scope = e2e.scope("backends")
    source = scope:manifests()
    local ready = scope:path("echo.sock")
    port = e2e.port()
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    scope:wait_for("the echo", 30, function() return select(2, posix.run({ "test", "-S", ready })) == 0 end)
  end)
  after_each(function() scope:close() end)

  local function prefixed(annotations)
    local all = {}
    for key, value in pairs(annotations or {}) do all["haproxy.org/" .. key] = value end
    return all
  end

  --- A Service with pods. options: pods, port, annotations (of the Service).
  local function put_service(name, options)
    local service = kube.service(name)
    service.metadata.annotations = prefixed(options.annotations)
    source:write("service-" .. name .. ".yaml", service, kube.slice(name, options.pods or PODS, options.port or port))
  end

  --- An Ingress for NAME.example.
  local function put(name, service, annotations)
    source:write("ingress-" .. name .. ".yaml", kube.ingress({ name = name, host = name .. ".example", service = service,
      annotations = prefixed(annotations) }))
  end

  local function start(series, context)
    haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
      watchedResources = SECRETS, templatingSettings = { extraContext = context } }) }):wait_ready()
  end

  --- One request: the pod's address, the answer.
  local function one(scheme, name, headers, path)
    local at = scheme == "https" and haptic.https_port or haptic.http_port
    local argv = { "curl", "-sSk", "-i", "-m", "5", "--http1.1", "--resolve", ("%s.example:%d:127.0.0.1"):format(name, at) }
    for _, header in ipairs(headers or {}) do argv[#argv + 1], argv[#argv + 2] = "-H", header end
    argv[#argv + 1] = ("%s://%s.example:%d%s"):format(scheme, name, at, path or "/")
    local text = posix.run(argv)
    return text:match("\r\n\r\n(198%.18%.0%.%d+) "), text
  end

  --- Which pods answer a number of requests: address → how often.
  local function pods(scheme, name, headers, path)
    local seen, count = {}, 0
    for i = 1, 8 do
      local pod, text = one(scheme, name, type(headers) == "function" and headers(i) or headers,
        path)
      assert.is_string(pod, text)
      count = count + (seen[pod] and 0 or 1)
      seen[pod] = (seen[pod] or 0) + 1
    end
    return count, seen
  end

  local function each_scheme(fn)
    for _, scheme in ipairs({ "http", "https" }) do fn(scheme) end
  end

  local function told(id, text) haptic:wait_log("object=default/" .. id:gsub("%-", "%%-") .. " .*" .. text) end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("chooses servers, for each Ingress of a Service by itself, on " .. series, function()
      put_service("web", {})
      put_service("by-service", { annotations = { ["load-balance"] = "source" } })
      put("plain", "web")
      put("source", "web", { ["load-balance"] = "source" })
      put("header", "web", { ["load-balance"] = "hdr(X-User)" })
      put("param", "web", { ["load-balance"] = "url_param user check_post" })
      put("uri", "web", { ["load-balance"] = "uri whole depth 4" })
      put("few", "web", { ["load-balance"] = "random(2)" })
      put("service", "by-service")
      put("over", "by-service", { ["load-balance"] = "roundrobin" })
      local bad = { "roundrobin\n  server x 127.0.0.1:1", "hdr(x) }", "sourсe", "random(999)", "uri depth 99999",
        "url_param a b", "hash %[src]" }
      for i, value in ipairs(bad) do put("bad-" .. i, "by-service", { ["load-balance"] = value }) end
      start(series)
      each_scheme(function(scheme)
        assert.equal(4, (pods(scheme, "plain")))
        for _, name in ipairs({ "source", "service", "uri" }) do assert.equal(1, (pods(scheme, name)), name) end
        assert.equal(1, (pods(scheme, "param", nil, "/?user=ada")))
        assert.equal(1, (pods(scheme, "header", { "X-User: ada" })))
        assert.is_true(pods(scheme, "header", function(i) return { "X-User: user" .. i * 7919 } end) > 1)
        assert.is_true(pods(scheme, "few") > 1)
        assert.equal(4, (pods(scheme, "over")))
        -- The value of the next level counts where this one is wrong.
        for i = 1, #bad do assert.equal(1, (pods(scheme, "bad-" .. i))) end
      end)
      for i = 1, #bad do told("bad-" .. i, "load.balance") end
      assert.equal(0, haptic:metric("haptic_quarantined_objects") or 0)
      -- Pods come and go without a reload.
      local before = haptic:state().haproxy.reloads
      put_service("web", { pods = { "198.18.0.1", "198.18.0.2", "198.18.0.5" } })
      scope:wait_for("another pod", 15, function()
        local _, seen = pods("http", "plain")
        return seen["198.18.0.5"] and not seen["198.18.0.3"]
      end)
      if series ~= "2.6" then assert.equal(before, haptic:state().haproxy.reloads) end
    end)

    it("keeps clients at their servers, on " .. series, function()
      put_service("web", {})
      put("plain", "web")
      put("dynamic", "web", { ["cookie-persistence"] = "stay" })
      put("named", "web", { ["cookie-persistence-no-dynamic"] = "pod" })
      put("bad", "web", { ["cookie-persistence"] = "a b; secure" })
      start(series)
      local kept = {}
      each_scheme(function(scheme)
        for name, cookie in pairs({ dynamic = "stay", named = "pod" }) do
          local pod, text = one(scheme, name)
          local value = text:match("[Ss]et%-[Cc]ookie: " .. cookie .. "=([^;\r]+)")
          assert.is_string(value, text)
          local count, seen = pods(scheme, name, { "Cookie: " .. cookie .. "=" .. value })
          assert.equal(1, count)
          assert.equal(8, seen[pod])
          kept[name] = { cookie = cookie .. "=" .. value, pod = pod }
        end
        for _, name in ipairs({ "plain", "bad" }) do
          assert.falsy(select(2, one(scheme, name)):lower():find("set-cookie", 1, true))
        end
      end)
      told("bad", "cookie.persistence")
      -- Another pod comes: nobody is moved, and it keeps its own clients.
      local before = haptic:state().haproxy.reloads
      put_service("web", { pods = { "198.18.0.1", "198.18.0.2", "198.18.0.3", "198.18.0.4", "198.18.0.5" } })
      scope:wait_for("another pod", 15, function()
        local _, seen = pods("http", "plain")
        return seen["198.18.0.5"]
      end)
      for name, k in pairs(kept) do
        local _, seen = pods("http", name, { "Cookie: " .. k.cookie })
        assert.equal(8, seen[k.pod])
      end
      scope:wait_for("the new pod's own cookie", 15, function()
        local pod, text = one("http", "dynamic")
        local value = text:match("[Ss]et%-[Cc]ookie: (stay=[^;\r]+)")
        if pod ~= "198.18.0.5" then return false, pod end
        local _, seen = pods("http", "dynamic", { "Cookie: " .. tostring(value) })
        return seen["198.18.0.5"] == 8, value
      end)
      if series == "3.2" or series == "3.4" then assert.equal(before, haptic:state().haproxy.reloads) end
      -- Another worker keeps them, too; and where their pod has gone, another one takes them.
      before = haptic:state().haproxy.reloads
      put("other", "web", { ["request-capture"] = "hdr(x-other)" })
      scope:wait_for("the reload", 15, function() return haptic:state().haproxy.reloads > before end)
      each_scheme(function(scheme)
        for name, k in pairs(kept) do
          local _, seen = pods(scheme, name, { "Cookie: " .. k.cookie })
          assert.equal(8, seen[k.pod], name)
        end
      end)
      local gone, left = kept.dynamic.pod, {}
      for _, pod in ipairs(PODS) do left[#left + 1] = pod ~= gone and pod or nil end
      put_service("web", { pods = left })
      scope:wait_for("another pod for the client", 15, function()
        local pod, text = one("http", "dynamic", { "Cookie: " .. kept.dynamic.cookie })
        return pod and pod ~= gone and text:find("200 OK", 1, true), text
      end)
    end)

    it("looks whether servers answer, on " .. series, function()
      local dead = e2e.port()
      put_service("web", {})
      put_service("mixed", { pods = PODS })
      put("http", "web", { ["check-http"] = "GET /health HTTP/1.1", ["check-interval"] = "200ms", ["timeout-check"] = "1s" })
      put("tcp", "web", { check = "true", ["check-interval"] = "300ms" })
      put("off", "web", { check = "false" })
      put_service("dead", { port = dead })
      put("dead", "dead", { check = "on", ["check-interval"] = "200ms" })
      put("bad", "web", { ["check-http"] = "GET /a b c d", ["check-interval"] = "often", ["timeout-check"] = "-1s", check = "maybe" })
      start(series)
      local function status(backend)
        local text = haptic.haproxy:ask("show stat " .. backend .. " 4 -1")
        return text:match("\n[^,]+,[^,]+," .. ("[^,]*,"):rep(15) .. "([^,]*),") or text
      end
      scope:wait_for("the checks", 15, function()
        local _, seen = status("default_web_80_http"), status("default_dead_80_dead")
        return seen == "DOWN", seen
      end)
      scope:wait_for("the HTTP checks", 15, function()
        local stat = haptic.haproxy:ask("show stat default_web_80_http 4 -1")
        return stat:find("L7OK", 1, true), stat
      end)
      scope:wait_for("the TCP checks", 15, function()
        local stat = haptic.haproxy:ask("show stat default_web_80_tcp 4 -1")
        return stat:find("L4OK", 1, true), stat
      end)
      assert.equal("no check", status("default_web_80_off"))
      each_scheme(function(scheme)
        for _, name in ipairs({ "http", "tcp", "off", "bad" }) do assert.is_string((one(scheme, name))) end
        assert.matches("503", select(2, one(scheme, "dead")))
      end)
      for _, key in ipairs({ "check.http", "check.interval", "timeout.check", "org.check " }) do told("bad", key) end
    end)

    it("limits what a pod gets at the same time, drops requests whose clients have gone, on " .. series, function()
      put_service("web", {})
      put("limited", "web", { ["pod-maxconn"] = "10", abortonclose = "true" })
      put("bad", "web", { ["pod-maxconn"] = "0", abortonclose = "2" })
      start(series, { haproxy_pods = 4 })
      local config = haptic:get("/debug/config").body
      local backend = config:match("\n(backend default_web_80_limited .-)\n\n") or config
      local _, count = backend:gsub(" maxconn 3%f[%s%z]", "")
      assert.equal(4, count, backend)
      local profile = config:match("\n(defaults " .. backend:match("from (%S+)"):gsub("%-", "%%-") .. " .-)\n\n")
      assert.matches("\n    option abortonclose", profile, 1, true)
      each_scheme(function(scheme)
        for _, name in ipairs({ "limited", "bad" }) do assert.equal(4, (pods(scheme, name))) end
      end)
      for _, key in ipairs({ "pod.maxconn", "abortonclose" }) do told("bad", key) end
      -- HAProxy itself says what the limit is.
      local stat = haptic.haproxy:ask("show stat default_web_80_limited 4 -1")
      assert.matches("\ndefault_web_80_limited,[^,]+,0,0,0,%d+,3,", stat)
      -- Without the setting, the pods of HAProxy that there are.
      haptic:stop()
      local function put_pods(...)
        local list = {}
        for i, name in ipairs({ ... }) do
          list[i] = { apiVersion = "v1", kind = "Pod", metadata = { name = name, namespace = "haptic", labels = { app = "haproxy" } } }
        end
        source:write("pods.yaml", unpack(list))
      end
      put_pods("one", "two")
      local kinds = { secrets = SECRETS.secrets, haproxy_pods = { apiVersion = "v1", resources = "pods",
        indexBy = { "metadata.namespace", "metadata.name" }, labelSelector = "app=haproxy" } }
      haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({ watchedResources = kinds }) })
        :wait_ready()
      local function wait_limit(wanted)
        scope:wait_for("the limit " .. wanted, 15, function()
          local seen = haptic.haproxy:ask("show stat default_web_80_limited 4 -1")
          return seen:match("\ndefault_web_80_limited,[^,]+,0,0,0,%d+," .. wanted .. ",") and not seen:find(",MAINT", 1, true), seen
        end)
      end
      wait_limit(5)
      -- Without a reload, unless a server has a connection at that moment: then commands cannot replace it.
      put_pods("one", "two", "three", "four")
      wait_limit(3)
      each_scheme(function(scheme) assert.equal(4, (pods(scheme, "limited"))) end)
    end)

    it("tells pods the client's address, on " .. series, function()
      put_service("web", {})
      local proxied = e2e.port()
      -- A server that takes the PROXY protocol only, and tells what it was told.
      local file = scope:path("proxied.cfg")
      posix.write_file(file, ([[
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend f
  bind :%d accept-proxy
  http-request return status 200 content-type text/plain lf-string "198.18.0.1 %%[src]\n"
]]):format(proxied))
      scope:spawn({ name = "proxied", argv = { e2e.haproxy_binary("3.2"), "-db", "-f", file } })
      put_service("proxied", { port = proxied })
      put("v1", "proxied", { ["send-proxy-protocol"] = "proxy" })
      put("v2", "proxied", { ["send-proxy-protocol"] = "proxy-v2" })
      put("ssl", "proxied", { ["send-proxy-protocol"] = "proxy-v2-ssl-cn" })
      put("plain", "web")
      put("hidden", "web", { ["forwarded-for"] = "false" })
      put("bad", "web", { ["send-proxy-protocol"] = "v3", ["forwarded-for"] = "sometimes" })
      start(series)
      each_scheme(function(scheme)
        for _, name in ipairs({ "v1", "v2", "ssl" }) do
          assert.matches("198.18.0.1 127.0.0.1\n", select(2, one(scheme, name)), 1, true)
        end
        for _, name in ipairs({ "plain", "bad" }) do
          assert.matches("x-forwarded-for: 127.0.0.1", select(2, one(scheme, name)):lower(), 1, true)
        end
        assert.falsy(select(2, one(scheme, "hidden")):lower():find("x-forwarded-for", 1, true))
        assert.is_string((one(scheme, "hidden")))
      end)
      for _, key in ipairs({ "send.proxy.protocol", "forwarded.for" }) do told("bad", key) end
      assert.is_nil(http.request({ port = proxied, host = "x", path = "/", timeout = 3 }))
    end)
  end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("leads requests to a Service by its condition, on " .. series, function()
      put_service("web", { annotations = { ["route-acl"] = "cookie(staging) -m found" } })
      put_service("api", { annotations = { ["route-acl"] = "path_beg -i /api /v1" } })
      put_service("bad", { annotations = { ["route-acl"] = "path /x } or { src 0.0.0.0/0" } })
      for _, name in ipairs({ "web", "api", "bad" }) do put(name, name) end
      start(series)
      each_scheme(function(scheme)
        assert.matches("HTTP/1.1 404", select(2, one(scheme, "web")), 1, true)
        assert.is_string((one(scheme, "web", { "Cookie: staging=1" })))
        assert.matches("HTTP/1.1 404", select(2, one(scheme, "api", nil, "/other")), 1, true)
        assert.is_string((one(scheme, "api", nil, "/API/x")))
        assert.matches("HTTP/1.1 503", select(2, one(scheme, "bad", nil, "/x")), 1, true)
      end)
      told("bad", "route.acl must be")
    end)

  end

  for _, series in ipairs({ "2.6", "3.4" }) do
    it("leads requests of a path to a canary by its condition, on " .. series, function()
      local number = 0
      --- A Service whose only pod is one of its own.
      local function put_pod(name, condition)
        number = number + 1
        put_service(name, { pods = { PODS[number] }, annotations = condition and { ["route-acl"] = condition } })
        return PODS[number]
      end
      --- An Ingress for HOST.example, which is so many years old.
      local function put_aged(name, host, service, years, more)
        more = more or {}
        local ing = kube.ingress({ name = name, host = host and (more.wildcard and "*." or "") .. host .. ".example",
          annotations = prefixed(more.annotations), paths = { { path = more.path or "/", type = more.type, service = service } } })
        ing.metadata.creationTimestamp = ("%d-01-01T00:00:00Z"):format(2024 - years)
        source:write("ingress-" .. name .. ".yaml", ing)
      end
      local main = put_pod("main")
      local canary = put_pod("canary", "cookie(canary) -m found")
      local beta = put_pod("beta", "hdr(x-beta) -m found")
      local chance = put_pod("chance", "rand(100) -m int lt 50")
      put_service("v1", { pods = { canary }, annotations = { ["route-acl"] = "path_beg /v1" } })
      put_service("bad", { annotations = { ["route-acl"] = "path /x } or { src 0.0.0.0/0" } })
      local COOKIE, HEADER = { "Cookie: canary=1" }, { "X-Beta: 1" }
      -- Both orders; two conditions, of which the older canary's counts; a wrong one; a prefix, an exact path, a wildcard.
      put_aged("young-main", "young", "main", 5)
      put_aged("young-canary", "young", "canary", 2)
      put_aged("old-main", "old", "main", 2)
      put_aged("old-canary", "old", "canary", 5)
      put_aged("old-beta", "old", "beta", 3)
      put_aged("wrong-main", "wrong", "main", 2)
      put_aged("wrong-canary", "wrong", "bad", 5)
      put_aged("deep-main", "deep", "main", 5)
      put_aged("deep-own", "deep", "beta", 5, { path = "/own" })
      put_aged("deep-canary", "deep", "canary", 2)
      put_aged("exact-main", "exact", "main", 5, { path = "/is", type = "Exact" })
      put_aged("exact-canary", "exact", "canary", 2, { path = "/is", type = "Exact" })
      put_aged("wild-main", "wild", "main", 5, { wildcard = true })
      put_aged("wild-canary", "wild", "canary", 2, { wildcard = true })
      put_aged("any-main", nil, "main", 5, { path = "/any" })
      put_aged("any-canary", nil, "canary", 2, { path = "/any" })
      -- What the canary's own rules change is not asked again; nor is chance.
      put_aged("moved-main", "moved", "main", 5)
      put_aged("moved-canary", "moved", "v1", 2, { annotations = { ["path-rewrite"] = "/v1/(.*) /\\1" } })
      put_aged("chance-main", "chance", "main", 5)
      put_aged("chance-canary", "chance", "chance", 2)
      put_aged("closed-main", "closed", "main", 5, { annotations = { ["deny-list"] = "127.0.0.0/8" } })
      put_aged("closed-canary", "closed", "canary", 2)
      put_aged("alone", "alone", "canary", 2)
      start(series)
      each_scheme(function(scheme)
        for _, name in ipairs({ "young", "old", "deep", "a.wild" }) do
          assert.equal(main, (one(scheme, name)), name)
          assert.equal(canary, (one(scheme, name, COOKIE)), name)
        end
        assert.equal(beta, (one(scheme, "old", HEADER)))
        assert.equal(canary, (one(scheme, "old", { COOKIE[1], HEADER[1] })))
        assert.equal(main, (one(scheme, "young", HEADER)))
        assert.equal(main, (one(scheme, "wrong", nil, "/x")))
        assert.equal(main, (one(scheme, "wrong", COOKIE, "/")))
        assert.matches("HTTP/1.1 404", select(2, one(scheme, "deep", COOKIE, "/own/x")), 1, true)
        assert.equal(beta, (one(scheme, "deep", { COOKIE[1], HEADER[1] }, "/own/x")))
        assert.equal(main, (one(scheme, "exact", nil, "/is")))
        assert.equal(canary, (one(scheme, "exact", COOKIE, "/is")))
        assert.matches("HTTP/1.1 404", select(2, one(scheme, "exact", COOKIE, "/is/not")), 1, true)
        assert.equal(main, (one(scheme, "unknown", nil, "/any/x")))
        assert.equal(canary, (one(scheme, "unknown", COOKIE, "/any/x")))
        assert.equal(main, (one(scheme, "moved", nil, "/v2/x")))
        local pod, text = one(scheme, "moved", nil, "/v1/x")
        assert.equal(canary, pod, text)
        for _ = 1, 12 do assert.truthy(({ [main] = true, [chance] = true })[one(scheme, "chance")]) end
        assert.matches("HTTP/1.1 403", select(2, one(scheme, "closed")), 1, true)
        assert.equal(canary, (one(scheme, "closed", COOKIE)))
        assert.matches("HTTP/1.1 404", select(2, one(scheme, "alone")), 1, true)
        assert.equal(canary, (one(scheme, "alone", COOKIE)))
      end)
      told("bad", "route.acl must be")
      -- A canary with a known condition costs no reload; it goes as it came.
      put_aged("exact-canary", "exact", "main", 2, { path = "/other" })
      scope:wait_for("the exact path without a canary", 15, function() return one("http", "exact", COOKIE, "/is") == main end)
      local before = haptic:state().haproxy.reloads
      put_aged("exact-canary", "exact", "canary", 2, { path = "/is", type = "Exact" })
      scope:wait_for("the canary of the exact path", 15, function() return one("http", "exact", COOKIE, "/is") == canary end)
      assert.equal(before, haptic:state().haproxy.reloads)
      os.remove(source.path .. "/ingress-old-main.yaml")
      scope:wait_for("the canary alone", 15, function()
        return select(2, one("http", "old")):find("HTTP/1.1 404", 1, true) ~= nil
      end)
      assert.equal(canary, (one("http", "old", COOKIE)))
    end)
  end

  for _, series in ipairs({ "2.6", "3.0", "3.2", "3.4" }) do
    it("keeps endpoints in use while none is ready, on " .. series, function()
      local function put_web(annotations, ready)
        local service = kube.service("web")
        service.metadata.annotations = annotations
        source:write("service-web.yaml", service, kube.slice("web", { { PODS[1], ready, ready, false }, { PODS[2], false, false, false } },
          port))
      end
      local function answers(what, address)
        scope:wait_for(what .. " over HTTP", 15, function()
          local pod, text = one("http", "web")
          return pod == address and (pod or text:find("^HTTP/1.1 503")), text
        end)
        local pod, text = one("https", "web")
        assert.equal(address, pod, text)
        if not pod then assert.matches("^HTTP/1.1 503", text) end
      end
      put_web({ ["haproxy-haptic.org/keep-last-ready"] = "true" }, true)
      put("web", "web", {})
      start(series)
      answers("the pod that is ready", PODS[1])
      put_web({ ["haproxy-haptic.org/keep-last-ready"] = "true" }, false)
      told("web", "they are kept in use")
      each_scheme(function(scheme) assert.equal(2, (pods(scheme, "web"))) end)
      put_web({ ["haproxy-haptic.org/keep-last-ready"] = "false" }, false)
      answers("nobody", nil)
      put_web({ ["haproxy-haptic.org/keep-last-ready"] = "maybe" }, false)
      told("web", "keep.last.ready must be true or false")
      answers("nobody, as the setting says", nil)
    end)

    it("keeps an Ingress' backend apart, and takes values of the ConfigMap, on " .. series, function()
      local function put_map(data)
        source:write("configmap.yaml", { apiVersion = "v1", kind = "ConfigMap",
          metadata = { name = "haproxy", namespace = "default" }, data = data })
      end
      put_map({ ["cookie-persistence"] = "all", ["pod-maxconn"] = "9", ["load-balance"] = "nonsense" })
      put_service("web", {})
      put_service("apart", { annotations = { ["standalone-backend"] = "true" } })
      put("shared", "web")
      put("alone", "web", { ["standalone-backend"] = "yes" })
      put("own", "web", { ["cookie-persistence"] = "mine" })
      put("both-a", "apart")
      put("wrong", "web", { ["standalone-backend"] = "maybe", ["cookie-persistence"] = "a b" })
      haptic = scope:haptic({ source = source.path, series = series, https = true, config = e2e.config({
        watchedResources = { secrets = SECRETS.secrets, configmaps = { apiVersion = "v1", resources = "configmaps",
          indexBy = { "metadata.namespace", "metadata.name" } } },
        templatingSettings = { extraContext = { configmap = "default/haproxy" } } }) }):wait_ready()
      local function cookie_of(scheme, name) return select(2, one(scheme, name)):match("[Ss]et%-[Cc]ookie: (%w+)=") end
      each_scheme(function(scheme)
        for name, cookie in pairs({ shared = "all", alone = "all", own = "mine", ["both-a"] = "all", wrong = "all" }) do
          assert.equal(cookie, cookie_of(scheme, name), name)
        end
      end)
      for _, backend in ipairs({ "default_web_80", "default_web_80_alone", "default_web_80_own", "default_apart_80_both-a" }) do
        assert.matches("\n" .. backend .. ",", haptic.haproxy:ask("show stat " .. backend .. " 4 -1"), 1, true)
      end
      told("wrong", "standalone.backend")
      told("haproxy", "load.balance must be")
      -- The ConfigMap's new value counts at once.
      put_map({ ["cookie-persistence"] = "other" })
      scope:wait_for("the other cookie", 15, function() return cookie_of("http", "shared") == "other" end)
      assert.equal("mine", cookie_of("http", "own"))
    end)
  end
end)
