-- Declared annotations: which level counts, what is wrong, and mistakes of authors.
local program = require("spec.support.program")

--- What a script of an author puts out for levels given as Lua source.
local function evaluate(source, levels)
  local e = program.engine({ libraries = false, scripts = { { name = "mine.lua", source = source .. [[

    fragment("f", function(out)
      local told = {}
      local values, wrong = annotated({ "limit", "names", "guard" }, ]] .. levels .. [[, function(kind, key, message)
        told[#told + 1] = kind .. " " .. key .. " " .. message
      end)
      out:file("seen.json", json({ values = values, wrong = wrong, told = told }))
    end)]] } } })
  e:render()
  assert.same({}, e.host.failures)
  return require("cjson").decode(e:output().files["seen.json"])
end

local DECLARED = [[
  annotations({
    limit = { type = "integer", min = 1, default = 7, on = { "Ingress", "Service", "ConfigMap" }, doc = "A limit.",
      families = { ["example.com"] = { "limit", "old-limit" }, ["haproxy-haptic.org"] = "limit" } },
    names = { type = "list", merge = "join", on = { "Ingress", "ConfigMap" }, doc = "Names.",
      families = { ["example.com"] = "names" } },
    guard = { type = "addresses", protects = true, on = { "Ingress", "ConfigMap" }, doc = "A guard.",
      families = { ["example.com"] = "guard" } },
  })]]

local function levels(ingress, service, configmap)
  return ('{ { kind = "Ingress", values = { %s } }, { kind = "Service", values = { %s } }, '
    .. '{ kind = "ConfigMap", family = "example.com", values = { %s } } }'):format(ingress or "", service or "", configmap or "")
end

describe("Annotations", function()
  it("have the value of the nearest level, and the default where there is none", function()
    local function limit(...) return evaluate(DECLARED, levels(...)).values.limit end
    assert.equal(7, limit())
    assert.equal(3, limit(nil, nil, 'limit = "3"'))
    assert.equal(2, limit(nil, '["example.com/limit"] = "2"', 'limit = "3"'))
    assert.equal(1, limit('["example.com/limit"] = " 1 "', '["example.com/limit"] = "2"', 'limit = "3"'))
    assert.equal(5, limit('["example.com/old-limit"] = "5"'))
    assert.equal(4, limit('["example.com/limit"] = "5", ["haproxy-haptic.org/limit"] = "4"'))
    assert.equal(7, limit('["example.com/limit"] = ""'))
    -- A Service has no list of names.
    assert.is_nil(evaluate(DECLARED, levels(nil, '["example.com/names"] = "a"')).values.names)
  end)

  it("that are wrong are told and passed over", function()
    local seen = evaluate(DECLARED, levels('["example.com/limit"] = "0"', '["example.com/limit"] = "x"', 'limit = "3"'))
    assert.equal(3, seen.values.limit)
    assert.same({ 'Ingress example.com/limit must be a whole number of at least 1, not "0"',
      'Service example.com/limit must be a whole number of at least 1, not "x"' }, seen.told)
    assert.same({}, seen.wrong)
  end)

  it("that protect and are wrong everywhere are named to who reads them", function()
    local seen = evaluate(DECLARED, levels('["example.com/guard"] = "nonsense"'))
    assert.equal("example.com/guard", seen.wrong.guard)
    assert.is_nil(seen.values.guard)
    seen = evaluate(DECLARED, levels('["example.com/guard"] = "nonsense"', nil, 'guard = "10.0.0.1"'))
    assert.same({ "10.0.0.1" }, seen.values.guard)
    assert.is_nil(seen.wrong.guard)
  end)

  it("are the same where whoever hears of a wrong one asks for others", function()
    local e = program.engine({ libraries = false, scripts = { { name = "mine.lua", source = DECLARED .. [[

      fragment("f", function(out)
        local levels = { { kind = "Ingress", values = { ["example.com/limit"] = "0", ["example.com/names"] = "a b" } },
          { kind = "Service", values = { ["example.com/limit"] = "4" } } }
        local values, wrong = annotated({ "limit", "names", "guard" }, levels, function()
          annotated({ "guard" }, { { kind = "Ingress", values = {} } })
        end)
        out:file("seen.json", json({ values = values, wrong = wrong }))
      end)]] } } })
    e:render()
    assert.same({}, e.host.failures)
    local seen = require("cjson").decode(e:output().files["seen.json"])
    assert.same({ limit = 4, names = { "a", "b" } }, seen.values)
    assert.same({}, seen.wrong)
  end)

  it("are known to all in the same way, and nobody changes that", function()
    local e = program.engine({ libraries = false, scripts = { { name = "mine.lua", source = DECLARED .. [[

      fragment("f", function(out)
        local known = annotation("example.com/limit", "Ingress")
        local ok, problem = pcall(function() known.is_honoured = false end)
        out:file("seen.json", json({ ok = ok, problem = problem, honoured = known.is_honoured, name = known.name,
          refused = known.refused or "none", service = annotation("example.com/names", "Service").refused,
          unknown = annotation("example.com/other", "Ingress") == nil }))
      end)]] } } })
    e:render()
    assert.same({}, e.host.failures)
    local seen = require("cjson").decode(e:output().files["seen.json"])
    assert.is_false(seen.ok)
    assert.matches("not to be changed", seen.problem)
    assert.same({ true, "limit", "none", "it has no effect on a Service", true },
      { seen.honoured, seen.name, seen.refused, seen.service, seen.unknown })
  end)

  it("of all levels are joined where the declaration says so", function()
    local seen = evaluate(DECLARED, levels('["example.com/names"] = "a, b"', nil, 'names = "c"'))
    assert.same({ "a", "b", "c" }, seen.values.names)
  end)

  for what, case in pairs({
    ["an unknown type"] = { 'annotations({ a = { type = "adresses", on = { "Ingress" }, doc = "" } })', 'did you mean "addresses"' },
    ["an unknown field"] = { 'annotations({ a = { type = "bool", on = { "Ingress" }, doc = "", protect = true } })',
      'did you mean "protects"' },
    ["an unknown kind"] = { 'annotations({ a = { type = "bool", on = { "Ingres" }, doc = "" } })', 'did you mean "Ingress"' },
    ["no sentence"] = { 'annotations({ a = { type = "bool", on = { "Ingress" } } })', "doc: expected a sentence" },
    ["a key of somebody else's"] = { 'annotations({ a = { type = "bool", on = { "Ingress" }, doc = "", families = { x = "k" } },\n'
      .. ' b = { type = "bool", on = { "Ingress" }, doc = "", families = { x = "k" } } })', "the key x/k is that of a already" },
    ["a family's unknown name"] = { 'annotations({ limit = { type = "bool", on = { "Ingress" }, doc = "" } })\n'
      .. 'family("x", { honoured = { limmit = "k" } })', 'did you mean "limit"' },
    ["a default that is wrong"] = { 'annotations({ a = { type = "integer", min = 3, default = 1, on = { "Ingress" }, doc = "" } })',
      "the default must be a whole number" },
  }) do
    it("are an author's mistake with " .. what, function()
      local ok, message = pcall(program.engine, { libraries = false, scripts = { { name = "mine.lua", source = case[1] } } })
      assert.is_false(ok)
      assert.truthy(tostring(message):find("mine.lua:%d+: ") and tostring(message):find(case[2], 1, true), tostring(message))
    end)
  end

  it("refuse a text of more than 8192 bytes, whatever its type, before they look at it", function()
    local declare = require("haptic.declare")
    local more = { enum = { values = { "a" } }, records = { fields = { a = { type = "text" } } } }
    for _, kind in ipairs({ "bool", "switch", "integer", "duration", "size", "enum", "text", "list", "addresses", "lines",
      "records" }) do
      local spec = { type = kind }
      for name, value in pairs(more[kind] or {}) do spec[name] = value end
      local value, message = declare.read(spec, ("1"):rep(8193))
      assert.is_nil(value)
      assert.equal("must be at most 8192 bytes long, not 8193", message, kind)
    end
    assert.equal(("1"):rep(8192), declare.read({ type = "text" }, ("1"):rep(8192)))
  end)
end)
