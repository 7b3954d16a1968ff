--- Annotations about backends: what is wrong is told and is nowhere in the configuration, at an Ingress and at a Service.
local program = require("spec.support.program")

--- Values that no key of them takes.
local EVIL = { "true\n  server x 127.0.0.1:1", "a } b", "${HOME}", "\"quoted", "x #y", "ｔｒｕｅ", ("x"):rep(9000), "%[src]" }
local WRONG = {
  ["load-balance"] = { "hdr()", "uri len", "random(0)", "rdp-cookie", "url_param" },
  ["cookie-persistence"] = { "a;b", "a b", "a=b", "ä", ("c"):rep(65) },
  ["cookie-persistence-no-dynamic"] = { "a;b", "a,b", "a b", "ä", ("c"):rep(65) },
  check = { "maybe", "2", "tru", "-1", "check" },
  ["check-http"] = { "health", "GET health", "DELETE /x", "GET /x HTTP/2", "GET /x HTTP/1.1 Host:a" },
  ["check-interval"] = { "5x", "often", "-1s", "1ms", "99999999d" },
  ["timeout-check"] = { "5x", "5 s", "-1s", "0s", "1y" },
  ["pod-maxconn"] = { "0", "-5", "1.5", "many", "99999999999" },
  abortonclose = { "maybe", "2", "tru", "-1", "abort" },
  ["send-proxy-protocol"] = { "v2", "proxy-v3", "true", "PROXY", "proxy proxy" },
  ["forwarded-for"] = { "maybe", "2", "fals", "-1", "X" },
}

local function engine() return program.engine({ capabilities = { version = "3.4", major = 3, minor = 4 } }) end

local KINDS = { "Ingress", "Service" }

--- An Ingress and a Service for each value, which one of them has.
local function rendered(key, values)
  local e = engine()
  for _, kind in ipairs(KINDS) do
    for i, value in ipairs(values) do
      local name = kind:lower() .. i
      local annotations = { ["haproxy.org/" .. key] = value }
      local ing = program.ingress(name, { rules = { { host = name .. ".example", paths = { { "/" } } } } })
      ing.spec.rules[1].http.paths[1].backend.service.name = name
      if kind == "Ingress" then ing.metadata.annotations = annotations end
      e:put("ingresses", ing)
      e:put("services", { metadata = { namespace = "default", name = name,
        annotations = kind == "Service" and annotations or nil }, spec = { ports = { { port = 80 } } } })
    end
  end
  e:render()
  return e
end

--- What is configured, whether an Ingress has backends of its own or not.
local function config_of(e) return (e:output().config:gsub("_80_ingress%d+", "_80")) end

describe("Annotations about backends", function()
  it("share what a pod gets among the HAProxys that there are", function()
    local function engine_with(context)
      local e = program.engine({ kinds = { { name = "haproxy_pods", parts = 2 }, unpack(program.KINDS) }, context = context,
        capabilities = { version = "3.4", major = 3, minor = 4 } })
      e:put("services", program.service("web"))
      e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
      for name, annotations in pairs({ limited = { ["haproxy.org/pod-maxconn"] = "10" }, plain = {} }) do
        e:put("ingresses", program.ingress(name, { annotations = annotations, rules = { { host = name .. ".example", paths = { { "/" } } } } }))
      end
      return e
    end
    local function pod(name, more)
      local o = { metadata = { namespace = "haptic", name = name }, status = { phase = "Running" } }
      for k, v in pairs(more or {}) do o[k] = v end
      return o
    end
    local function limit(e)
      local run = e:render()
      return tonumber(e:output().config:match(" maxconn (%d+)\n")), run
    end
    local e = engine_with()
    assert.equal(10, (limit(e))) -- no pod is known yet
    e:put("haproxy_pods", pod("one"))
    assert.equal(10, (limit(e)))
    e:put("haproxy_pods", pod("two"))
    e:put("haproxy_pods", pod("three"))
    local seen, run = limit(e)
    assert.equal(4, seen)
    for _, id in ipairs(run.ran) do assert.not_matches("plain", tostring(id)) end
    e:put("haproxy_pods", pod("two", { metadata = { namespace = "haptic", name = "two", deletionTimestamp = "2026-01-01T00:00:00Z" } }))
    assert.equal(5, (limit(e)))
    e:put("haproxy_pods", pod("three", { status = { phase = "Failed" } }))
    assert.equal(10, (limit(e)))
    -- The setting counts more; without the kind there is one.
    e = engine_with({ haproxy_pods = 4 })
    e:put("haproxy_pods", pod("one"))
    assert.equal(3, (limit(e)))
  end)

  for key, wrong in pairs(WRONG) do
    it("of a wrong " .. key .. " are told, and have no effect", function()
      local values = {}
      for _, list in ipairs({ wrong, EVIL }) do
        for _, value in ipairs(list) do values[#values + 1] = value end
      end
      local e = rendered(key, values)
      assert.same({}, e.host.failures)
      local warnings = e:output().warnings
      for _, kind in ipairs(KINDS) do
        for i, value in ipairs(values) do
          local told = warnings["default/" .. kind:lower() .. i]
          assert.is_string(told and told.InvalidAnnotation, kind .. " " .. value)
          assert.matches("haproxy.org/" .. key .. " must be", told.InvalidAnnotation, 1, true)
        end
      end
      assert.equal(config_of(rendered("x-unknown", values)), config_of(e))
    end)
  end
end)
