-- A family of an author's own: other keys, and other ways to write a value, for the effects that the libraries have.
local program = require("spec.support.program")

local FAMILY = [[
family("platform.example.org", {
  honoured = {
    allow_list = "only-from",
    timeout_server = { keys = { "answer-within", "answer-time" }, unit = "s", on = { "Ingress" } },
    cors_enable = { keys = "cors", type = "enum", values = { "open", "closed" },
      parse = function(word) return word == "open" end },
    request_redirect = { keys = "moved-to",
      parse = function(text) return text:match("^(https://[^/]+)/?$"), "https://HOST" end },
  },
  refused = { { keys = "waf", on = { "Ingress" }, reason = "there is no such filter here", protects = true } },
})
]]

--- Routes, maps and warnings of an Ingress "default/web" with these annotations; those of the Service.
local function outcome(annotations, service_annotations)
  local e = program.engine({ scripts = { { name = "family.lua", source = FAMILY } } })
  local service = program.service("web")
  service.metadata.annotations = service_annotations
  e:put("services", service)
  e:put("endpoints", program.slice("web-1", "web", 80, { { "10.0.0.1" } }))
  e:put("ingresses", program.ingress("web", { annotations = annotations, rules = { { host = "a.example", paths = { { "/" } } } } }))
  e:render()
  assert.same({}, e.host.failures)
  local told = {}
  for _, c in ipairs(e.host.fragments["ingress.lua:routes/ingresses/default/web"].items) do
    if c.kind == 8 then told[#told + 1] = c.key .. ": " .. c.text end
  end
  return e:output().maps, told
end

local function mine(key) return "platform.example.org/" .. key end
local function theirs(key) return "haproxy.org/" .. key end

describe("a family of an author's own", function()
  it("has the effects of the libraries' families", function()
    for _, case in ipairs({
      { { [mine("only-from")] = "10.0.0.0/8, ::1" }, { [theirs("allow-list")] = "10.0.0.0/8, ::1" } },
      { { [mine("answer-within")] = "90" }, { [theirs("timeout-server")] = "90s" } },
      { { [mine("answer-time")] = "1500ms" }, { [theirs("timeout-server")] = "1500" } },
      { { [mine("cors")] = "open" }, { [theirs("cors-enable")] = "true" } },
      { { [mine("cors")] = "closed" }, { [theirs("cors-enable")] = "false" } },
      { { [mine("moved-to")] = "https://new.example/" }, { [theirs("request-redirect")] = "https://new.example" } },
    }) do
      local maps, told = outcome(case[1])
      local same = outcome(case[2])
      assert.same({}, told)
      assert.same(same, maps)
    end
  end)

  it("is read by its own rules, and closes what it cannot keep", function()
    local free = outcome({})
    for _, case in ipairs({
      { { [mine("answer-within")] = "soon" }, -- a backend of its own, as with the other family's key
        'InvalidAnnotation: platform.example.org/answer-within must be a duration with its unit, such as 5s, not "soon"; it has no effect' },
      { { [mine("cors")] = "true" },
        'InvalidAnnotation: platform.example.org/cors must be one of open, closed, not "true"; it has no effect' },
      { { [mine("moved-to")] = "https://new.example/path" },
        'InvalidAnnotation: platform.example.org/moved-to must be https://HOST, not "https://new.example/path"; it has no effect' },
    }) do
      local maps, told = outcome(case[1])
      assert.same({ case[2] }, told)
      assert.matches("^a.example/ default_web_80[_web]*\n$", maps["path-prefix.map"])
    end
    for _, annotations in ipairs({ { [mine("waf")] = "on" }, { [mine("only-from")] = "office" } }) do
      local maps, told = outcome(annotations)
      assert.equal("a.example/ haptic_unavailable\n", maps["path-prefix.map"])
      assert.truthy(#told > 0)
    end
    -- An Ingress' key says nothing at a Service.
    local maps = outcome({}, { [mine("answer-within")] = "90" })
    assert.equal(free["path-prefix.map"], maps["path-prefix.map"])
  end)

  it("counts with others: the first right value of an object", function()
    local both = outcome({ [mine("answer-within")] = "90", [theirs("timeout-server")] = "10s" })
    assert.same(outcome({ [theirs("timeout-server")] = "10s" }), both)
    local second, told = outcome({ [mine("answer-within")] = "90", [theirs("timeout-server")] = "soon" })
    assert.same(outcome({ [theirs("timeout-server")] = "90s" }), second)
    assert.equal(1, #told)
  end)
end)
