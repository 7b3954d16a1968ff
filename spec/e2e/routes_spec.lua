--- What a route has concerns that route, whatever its host looks like, and a Service has as many servers as it has pods.

local e2e = require("support.e2e")
local kube = require("support.kube")
local posix = require("support.posix")

local KINDS = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } } }

describe("Routes", function()
  local scope
  before_each(function()
    e2e.backends()
    scope = e2e.scope("routes")
  end)
  after_each(function() scope:close() end)

  it("of wildcards, without a host, of one host and of one name in two namespaces keep their own", function()
    local source, port, ready = scope:manifests(), e2e.port(), scope:path("echo.sock")
    scope:spawn({ name = "echo", argv = { "python3", "spec/support/echo.py", tostring(port), ready } })
    scope:wait_for("the pods", 30, function() return select(2, posix.run({ "test", "-S", ready })) == 0 end)
    local function put(name, host, path, annotations, pods, namespace)
      local ing = kube.ingress({ name = name, host = host or "x", service = "web", annotations = annotations, namespace = namespace })
      ing.spec.rules[1].host = host
      ing.spec.rules[1].http.paths[1].path, ing.spec.rules[1].http.paths[1].pathType = path, "Prefix"
      if pods then source:write("pods-" .. (namespace or "default") .. ".yaml", kube.service("web", namespace), kube.slice("web", pods, port, namespace)) end
      source:write((namespace or "default") .. "-" .. name .. ".yaml", ing)
    end
    local many = {}
    for i = 1, 25 do many[i] = "198.18.0." .. i end
    put("wild", "*.wild.example", "/", { ["haproxy.org/deny-list"] = "0.0.0.0/0" }, many)
    put("own", "own.wild.example", "/", { ["haproxy.org/response-set-header"] = "X-Own yes" })
    put("anybody", nil, "/anybody", { ["haproxy.org/path-rewrite"] = "/rewritten" })
    put("guest", "own.wild.example", "/guest", nil)
    put("other", "other.example", "/", nil, { "198.18.1.1" }, "other")
    local haptic = scope:haptic({ source = source.path, https = true, config = e2e.config({ watchedResources = KINDS }) }):wait_ready()
    local function ask(scheme, host, path)
      local at = scheme == "https" and haptic.https_port or haptic.http_port
      local text = posix.run({ "curl", "-sSki", "-m", "5", "--http1.1", "--connect-to", "::127.0.0.1:" .. at, scheme .. "://" .. host .. path })
      return tonumber(text:match("^HTTP/%S+ (%d+)")), text:match("\r\n\r\n(198%.%S+) "), text:match("\r\n\r\n%S+ GET (%S+)"),
        text:lower():find("\nx-own: yes", 1, true) ~= nil
    end
    for _, scheme in ipairs({ "http", "https" }) do
      assert.equal(403, (ask(scheme, "a.wild.example", "/")))
      assert.equal(404, (ask(scheme, "a.b.wild.example", "/")))
      local status, _, _, is_own = ask(scheme, "own.wild.example", "/")
      assert.same({ 200, true }, { status, is_own })
      status, _, _, is_own = ask(scheme, "own.wild.example", "/guest")
      assert.same({ 200, false }, { status, is_own })
      status, _, _, is_own = ask(scheme, "nobody.example", "/anybody/x")
      assert.same({ 200, false }, { status, is_own })
      assert.equal("/rewritten", (select(3, ask(scheme, "nobody.example", "/anybody/x"))))
      assert.equal("198.18.1.1", (select(2, ask(scheme, "other.example", "/"))))
    end
    -- All 25 pods of one Service, and none of the other one of that name.
    local seen, count = {}, 0
    for _ = 1, 50 do
      local pod = select(2, ask("http", "own.wild.example", "/"))
      assert.matches("^198%.18%.0%.", pod)
      if not seen[pod] then seen[pod], count = true, count + 1 end
    end
    assert.equal(25, count)
  end)
end)
