--- help() of everything that a template or the prompt has, by its name and by itself.
local bodies = require("haptic.body")
local emitters = require("haptic.emitters")
local program = require("spec.support.program")
local topics = require("haptic.topics")

local MINE = [[
local M = {}

--- How many ports a Service has.
-- A second line.
function M.ports(service) return #service.spec.ports end

function M.plain() end
provide("mine", M)
]]

describe("help at the prompt", function()
  local e = program.engine({ scripts = { { name = "mine.lua", source = MINE } } })

  local function ask(chunk)
    local status, text = e.E.ask("evaluate", chunk):match("^(%a+)\n(.*)$")
    return text, status
  end

  it("is there for each global, by its value as by its name", function()
    for name, row in pairs(topics.rows) do
      assert.equal(row[1], ask(("help(%q)"):format(name)):match("^[^\n]*"), name)
      local kind = ask("type(" .. name .. ")")
      if (kind == '"function"' or kind == '"table"') and name ~= "context" and name ~= "capabilities" then
        assert.equal(row[1], ask("help(" .. name .. ")"):match("^[^\n]*"), name)
      end
    end
    assert.equal(topics.rows.resources[1], ask("help(resources.services)"):match("^[^\n]*"))
  end)

  it("is there for each method, and for no other", function()
    local known = {}
    for name, row in pairs(topics.methods) do
      local of, method = name:match("^(%w+)[.:]([%w_]+)$")
      known[of .. method] = true
      assert.equal(row[1], ask(("help(%q)"):format(name)):match("^[^\n]*"), name)
      assert.truthy(ask(("help(%q)"):format(method)):find(row[1], 1, true), name)
    end
    local out = emitters.new(emitters.settings({ digest = function() return "" end }), "x")
    for method, value in pairs(getmetatable(bodies.Body) and {} or bodies.Body) do
      if type(value) == "function" and not method:find("^__") then assert.is_true(known["b" .. method], "b:" .. method) end
    end
    for _, method in ipairs({ "section", "backend", "frontend", "defaults", "global", "map", "map_entry", "file", "certificate",
      "crt_list", "warn", "event", "status" }) do
      assert.is_function(out[method], method)
      assert.equal(topics.methods["out:" .. method][1], ask("help(out." .. method .. ")"):match("^[^\n]*"))
    end
    assert.equal(topics.methods["string.split"][1], ask("help(string.split)"):match("^[^\n]*"))
    assert.matches("out:map_entry(", ask("help(out)"), 1, true)
  end)

  it("shows the comment above a function of a template, with its place", function()
    assert.equal("mine.lua:5: function M.ports(service) return #service.spec.ports end\n    How many ports a Service has."
      .. "\n    A second line.", ask('help(use("mine").ports)'))
    assert.equal("mine.lua:7: function M.plain() end", ask('help(use("mine").plain)'))
  end)

  it("says what has none", function()
    assert.matches("there is no help for nothing_like_it", ask('help("nothing_like_it")'), 1, true)
    assert.matches("a function of Lua", ask("help(tonumber)"), 1, true)
    assert.matches("help: the value is nil", ask("help(nil)"), 1, true)
    assert.matches("^Names", ask("help()"))
  end)

  it("finds methods by a word, too", function()
    assert.matches("out:map_entry", ask('apropos "entry"'), 1, true)
  end)
end)
