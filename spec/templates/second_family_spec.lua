-- Names and ways to write values of two other controllers, declared for the effects that there are: what is rendered is
-- what the other family's keys make. No template and no effect is added for it.
local program = require("spec.support.program")

local FAMILIES = [[
family("nginx.ingress.kubernetes.io", {
  honoured = {
    allow_list = { "allowlist-source-range", "whitelist-source-range" },
    deny_list = "denylist-source-range",
    timeout_server = { keys = "proxy-read-timeout", unit = "s" },
    set_host = "upstream-vhost",
    cors_enable = "enable-cors",
    cors_allow_methods = "cors-allow-methods",
    cors_max_age = { keys = "cors-max-age", unit = "s" },
    -- A list of origins, in which one label may be "*".
    cors_allow_origin = { keys = "cors-allow-origin", parse = function(text)
      local list = {}
      for origin in text:gmatch("[^,%s]+") do
        list[#list + 1] = origin:gsub("[.]", "\\."):gsub("%*", "[^.]+")
      end
      return text == "*" and "*" or "^(" .. table.concat(list, "|") .. ")$"
    end },
    rate_limit_requests = "limit-rps",
    cookie_persistence = "session-cookie-name",
    server_ssl = { keys = "backend-protocol", type = "enum", values = { "HTTP", "HTTPS" },
      parse = function(word) return word == "HTTPS" end },
    load_balance = { keys = "load-balance", type = "enum", values = { "round_robin", "ewma" },
      parse = function(word) return word == "ewma" and "leastconn" or "roundrobin" end },
  },
  refused = { { keys = "auth-url", on = { "Ingress" }, reason = "nobody else is asked here", protects = true } },
})
family("haproxy-ingress.github.io", {
  honoured = {
    allow_list = "allowlist-source-range",
    timeout_server = "timeout-server",
    request_set_header = { keys = "headers", parse = function(lines)
      local list = {}
      for i, line in ipairs(lines) do
        local name, value = line:match("^([^:%s]+):%s*(.+)$")
        if not name then return nil, "lines of a name, a colon and a value" end
        list[i] = name .. " " .. value
      end
      return list
    end },
    pod_maxconn = "maxconn-server",
    load_balance = "balance-algorithm",
    send_proxy_protocol = { keys = "proxy-protocol", values = { "v1", "v2", "v2-ssl", "v2-ssl-cn" },
      parse = function(word) return "proxy-" .. word end },
    server_ssl = "secure-backends",
    check_interval = "backend-check-interval",
  },
})
]]

local e

--- The whole output, and what is told, of an Ingress with these annotations.
local function outcome(annotations)
  if not e then
    e = program.engine({ checked = false, context = { https = false }, scripts = { { name = "families.lua", source = FAMILIES } },
      capabilities = { version = "3.4", major = 3, minor = 4 } })
    e:put("services", program.service("web"))
    e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
  end
  e:put("ingresses", program.ingress("web", { annotations = annotations, rules = { { host = "a.example", paths = { { "/" } } } } }))
  e:render()
  assert.same({}, e.host.failures)
  local o = e:output()
  return { config = o.config, maps = o.maps }, o.warnings["default/web"] or {}
end

local function with(prefix, annotations)
  local all = {}
  for key, value in pairs(annotations) do all[prefix .. "/" .. key] = value end
  return all
end

local NGINX, HAPROXY_INGRESS = "nginx.ingress.kubernetes.io", "haproxy-ingress.github.io"

describe("Two more families", function()
  it("need declarations only: the same effects, whoever's key asks for them", function()
    local plain = outcome({})
    for _, case in ipairs({
      { NGINX, { ["whitelist-source-range"] = "10.0.0.0/8,::1" }, { ["allow-list"] = "10.0.0.0/8,::1" } },
      { NGINX, { ["denylist-source-range"] = "10.0.0.0/8" }, { ["deny-list"] = "10.0.0.0/8" } },
      { NGINX, { ["proxy-read-timeout"] = "90" }, { ["timeout-server"] = "90s" } },
      { NGINX, { ["upstream-vhost"] = "inside.example" }, { ["set-host"] = "inside.example" } },
      { NGINX, { ["enable-cors"] = "true", ["cors-allow-origin"] = "https://a.example, https://*.b.example:8443", ["cors-max-age"] = "600" },
        { ["cors-enable"] = "true", ["cors-allow-origin"] = "^(https://a\\.example|https://[^.]+\\.b\\.example:8443)$", ["cors-max-age"] = "10m" } },
      { NGINX, { ["limit-rps"] = "5" }, { ["rate-limit-requests"] = "5" } },
      { NGINX, { ["session-cookie-name"] = "route" }, { ["cookie-persistence"] = "route" } },
      { NGINX, { ["backend-protocol"] = "HTTPS" }, { ["server-ssl"] = "true" } },
      { NGINX, { ["load-balance"] = "ewma" }, { ["load-balance"] = "leastconn" } },
      { HAPROXY_INGRESS, { ["allowlist-source-range"] = "10.0.0.0/8" }, { ["allow-list"] = "10.0.0.0/8" } },
      { HAPROXY_INGRESS, { ["timeout-server"] = "90s" }, { ["timeout-server"] = "90s" } },
      { HAPROXY_INGRESS, { headers = "X-A: b\nX-C: d e" }, { ["request-set-header"] = "X-A b\nX-C d e" } },
      { HAPROXY_INGRESS, { ["maxconn-server"] = "20" }, { ["pod-maxconn"] = "20" } },
      { HAPROXY_INGRESS, { ["balance-algorithm"] = "hdr(x-user)" }, { ["load-balance"] = "hdr(x-user)" } },
      { HAPROXY_INGRESS, { ["proxy-protocol"] = "v2" }, { ["send-proxy-protocol"] = "proxy-v2" } },
      { HAPROXY_INGRESS, { ["secure-backends"] = "true" }, { ["server-ssl"] = "true" } },
      { HAPROXY_INGRESS, { ["backend-check-interval"] = "3s" }, { ["check-interval"] = "3s" } },
    }) do
      local theirs, told = outcome(with(case[1], case[2]))
      local ours = outcome(with("haproxy.org", case[3]))
      assert.same({}, told, next(case[2]))
      assert.same(ours, theirs, next(case[2]))
      assert.not_same(plain, theirs, next(case[2]))
    end
  end)

  it("close what protects and is wrong, and say it with their own key", function()
    for _, case in ipairs({
      { with(NGINX, { ["whitelist-source-range"] = "office" }), "nginx.ingress.kubernetes.io/whitelist-source-range must be a list of addresses" },
      { with(NGINX, { ["auth-url"] = "http://auth.example" }), "auth-url (nobody else is asked here)" },
      { with(HAPROXY_INGRESS, { ["allowlist-source-range"] = "10.0.0.0/40" }), "haproxy-ingress.github.io/allowlist-source-range must be" },
    }) do
      local o, told = outcome(case[1])
      assert.equal("a.example/ haptic_unavailable\n", o.maps["path-prefix.map"])
      assert.matches(case[2], table.concat({ told.InvalidAnnotation or "", told.ProtectionNotSupported or "" }, " "), 1, true)
    end
    local _, told = outcome(with(HAPROXY_INGRESS, { headers = "no colon" }))
    assert.matches("haproxy-ingress.github.io/headers must be lines of a name, a colon and a value", told.InvalidAnnotation, 1, true)
  end)
end)
