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
