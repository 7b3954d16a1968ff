--- A configuration of texts in a running controller: an index with several values, rules for lines (postProcessing), a certificate of
--- a bind line, and maps, all of one kind of the user's own.

local e2e = require("support.e2e")
local http = require("support.http")

local CONFIG = [[
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 1s
frontend plain
    bind 127.0.0.1:PLAIN
    http-request set-var(txn.parent) path,map_str({{ path:map("parents.map") }},none)
    http-after-response set-header X-Parent %[var(txn.parent)]
{% for _, gateway in ipairs({ "east", "west" }) do -%}
{% for _, route in ipairs(resources.routes:fetch(gateway)) do -%}
{% local path = "/" .. gateway .. "/" .. route.metadata.name -%}
    http-request return status 200 content-type text/plain string {{ gateway .. " has " .. route.metadata.name }} if { path {{ path }} }
{% end -%}
{% end -%}
    http-request return status 404
frontend secure
    bind 127.0.0.1:SECURE ssl crt {{ path:cert("own.pem") }}
    http-request return status 200 content-type text/plain string WORD
]]
local MAP = [[
{% for _, route in ipairs(resources.routes:list()) do -%}
{% for _, parent in ipairs(route.spec.parentRefs) do -%}
{{ "/" .. parent.name .. "/" .. route.metadata.name }} parent-of-{{ parent.name }}
{% end -%}
{% end -%}
]]
local OWN = [[
{% local secret = resources.secrets:get("default", "own") or fail("there is no Secret default/own") -%}
{{ secret.data["tls.crt"] }}
{{ secret.data["tls.key"] }}
]]

describe("a configuration of texts", function()
  local scope, source, haptic, plain, secure

  before_each(function()
    scope = e2e.scope("texts")
    source = scope:manifests()
    plain, secure = e2e.port(), e2e.port()
  end)
  after_each(function() scope:close() end)

  local function put(name, ...)
    local parents = {}
    for i, parent in ipairs({ ... }) do parents[i] = { name = parent } end
    source:write(name .. ".yaml", { apiVersion = "example.com/v1", kind = "Route", metadata = { name = name, namespace = "default" },
      spec = { parentRefs = parents } })
  end

  local function config()
    return e2e.config({
      watchedResources = {
        routes = { apiVersion = "example.com/v1", resources = "routes", indexBy = { "spec.parentRefs[*].name" } },
        secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } },
      },
      sslCertificates = { ["own.pem"] = { template = OWN } },
      maps = { ["parents.map"] = { template = MAP, postProcessing = {
        { type = "regex_replace", params = { pattern = "parent-of-", replace = "below-" } } } } },
      haproxyConfig = { template = CONFIG:gsub("PLAIN", tostring(plain)):gsub("SECURE", tostring(secure)), postProcessing = {
        { type = "regex_replace", params = { pattern = "string WORD$", replace = "string processed" } } } },
    })
  end

  local function answer(path) return http.request({ port = plain, path = path, host = "any", timeout = 3 }) end

  local function wait_answer(path, status, body, parent)
    scope:wait_for(path .. " to answer " .. status, 20, function()
      local found = answer(path)
      return found and found.status == status and (not body or found.body == body)
        and (not parent or found.headers["x-parent"] == parent), found and (found.status .. " " .. tostring(found.body))
    end)
  end

  for _, series in ipairs({ "3.0", "3.4" }) do
    it("finds an object by each value of an index, and follows them, on HAProxy " .. series, function()
      local first, second = scope:certificate({ names = { "own.example" } }), scope:certificate({ names = { "own.example" } })
      source:write("secret.yaml", e2e.tls_secret("own", first.cert, first.key))
      put("both", "east", "west", "east")
      put("one", "west")
      haptic = scope:haptic({ source = source.path, series = series, config = config() }):wait_ready()
      wait_answer("/east/both", 200, "east has both", "below-east")
      wait_answer("/west/both", 200, "west has both", "below-west")
      wait_answer("/west/one", 200, "west has one")
      wait_answer("/east/one", 404, nil, "none")

      -- One of the values goes, another comes, and the object goes.
      put("both", "west")
      wait_answer("/east/both", 404, nil, "none")
      wait_answer("/west/both", 200, "west has both", "below-west")
      put("one", "east", "west")
      wait_answer("/east/one", 200, "east has one", "below-east")
      assert(os.remove(source.path .. "/both.yaml"))
      wait_answer("/west/both", 404, nil, "none")
      wait_answer("/west/one", 200, "west has one")

      local tls = assert(e2e.https({ port = secure, host = "own.example" }))
      assert.same({ 200, "processed" }, { tls.status, tls.body })
      assert.equal(first.fingerprint, e2e.peer(secure, "own.example"))
      local reloads = haptic:state().haproxy.reloads
      source:write("secret.yaml", e2e.tls_secret("own", second.cert, second.key))
      scope:wait_for("the new certificate", 20, function()
        local found, why = e2e.peer(secure, "own.example")
        return found == second.fingerprint, found or why
      end)
      assert.equal(reloads, haptic:state().haproxy.reloads)
    end)
  end
end)
