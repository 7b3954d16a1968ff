--- What a template cannot do to other templates, and a value to the line around it.
local program = require("spec.support.program")

local function engine(options)
  options.libraries, options.context = false, options.context
  local e = program.engine(options)
  e:render()
  return e
end

--- Run code in a fragment of a script of its own, beside another one: what it returned, or its error; the neighbour's output.
local function probe(code)
  local e = engine({ checked = false, scripts = {
    { name = "evil.lua", source = "fragment('probe', function(out)\n local answer = (function() " .. code
      .. " end)()\n out:file('answer', tostring(answer)) end)" },
    { name = "good.lua", source = [[fragment("good", function(out)
      out:map_entry("good.map", "key", "value")
      out:backend("good", { from = false }, function(b) b:server({ name = "s", address = "192.0.2.1", port = 80 }) end)
      out:file("lists", tostring(#resources.services:list()))
    end)]] } } })
  local o = e:output()
  assert.equal("key value\n", o.maps["good.map"], code)
  assert.matches("backend good from haptic_none\n    server s 192.0.2.1:80\n", o.config, nil, nil, code)
  assert.equal("0", o.files.lists, code)
  return o.files.answer, e.host.failures["evil.lua:probe"]
end

describe("A script", function()
  it("does not reach what the functions of all scripts are kept in", function()
    for _, code in ipairs({
      "return out.__index", "local r; out:backend('b', { from = false }, function(b) r = b.__index end) return r",
      "return resources.services.__index", "return resources.__index", "return path.__index", "return string.__index",
      "return ('').__index",
    }) do
      local answer, failure = probe(code)
      assert.is_true(answer == "nil" or failure ~= nil, code .. ": " .. tostring(answer))
    end
    for _, code in ipairs({
      "resources.services.list = function() return { 1, 2 } end", "resources.services.__index.list = function() return { 1 } end",
      "getmetatable(resources.services).__index = {}", "resources.services = nil", "string.rep = nil", "path.map = nil",
    }) do
      local _, failure = probe(code)
      assert.is_string(failure, code)
    end
  end)

  it("cannot replace the emitters of others", function()
    for _, code in ipairs({
      "out.__index.map_entry = function() end", "out.__index.backend = nil",
      "out:backend('b', { from = false }, function(b) b.__index.server = function() end end)",
    }) do
      local e = engine({ checked = false, scripts = {
        { name = "evil.lua", source = "fragment('probe', function(out) " .. code .. " end)" },
        { name = "good.lua", source = [[fragment("good", function(out)
          out:map_entry("good.map", "key", "value")
          out:backend("good", { from = false }, function(b) b:server({ name = "s", address = "192.0.2.1", port = 80 }) end)
        end)]] } } })
      assert.is_string(e.host.failures["evil.lua:probe"], code)
      assert.equal("key value\n", e:output().maps["good.map"])
      assert.matches("server s 192.0.2.1:80", e:output().config)
    end
  end)

  it("writes lines of its own section only", function()
    for _, first in ipairs({ "backend", "global", "frontend", "defaults", "listen", "userlist", "crt-store", ".if", ".notice", ".", ".setenv" }) do
      local e = engine({ checked = false, scripts = { { name = "evil.lua", source = ([[fragment("probe", function(out)
        out:backend("b", { from = false }, function(b) b:line(%q, "x") end) end)]]):format(first) } } })
      assert.matches("is no line of a section", e.host.failures["evil.lua:probe"])
      e = engine({ checked = false, snippets = { evil = "{{ args.first }} x\n" },
        scripts = { { name = "evil.lua", source = ([[fragment("probe", function(out)
        out:backend("b", { from = false }, function(b) b:include("evil", { first = %q }) end) end)]]):format(first) } } })
      assert.matches("is no line of a section", e.host.failures["evil.lua:probe"])
    end
  end)
end)

describe("A value behind a backslash of a text template", function()
  it("is an error: its own quote would be escaped", function()
    for _, template in ipairs({ "backend b\n  acl a path_reg ^/\\{{ v }}\n", "backend b\n  acl a path_reg \"^/\\{{ v }}\"\n",
      "backend b\n  acl a path_reg ^/\\{% local x = 1 %}{{ v }}\n" }) do
      local e = engine({ checked = false, haproxyConfig = "{% local v = context.v %}" .. template, context = { v = "x y # z" } })
      local _, failure = next(e.host.failures)
      assert.matches("behind a backslash", failure)
    end
    local e = engine({ checked = false, haproxyConfig = "{% local v = context.v %}backend b\n  acl a path_reg ^/\\\\{{ v }}\n  acl b path_reg ^/a\\.{{ v }}\n",
      context = { v = "x y" } })
    assert.same({}, e.host.failures)
    assert.equal("defaults haptic_none\n\nbackend b from haptic_none\n    acl a path_reg ^/\\\\'x y'\n    acl b path_reg ^/a\\.'x y'\n\n", e:output().config)
  end)
end)
