-- The inputs kept for the fuzzer of the text templates, and what must hold of each: tools/fuzz/template_fuzz.lua.
local FILES = "tools/fuzz/corpus/template"
-- Not looked up in busted's environments, whose own Lua would be counted.
local getinfo, sethook, error = debug.getinfo, debug.sethook, error
local HARNESS = "tools/fuzz/template_fuzz.lua"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("*a")
  f:close()
  return s
end

--- What tools/fuzz/template_fuzz.c has in C: lines of Lua are counted; behind the last one allowed each raises an error,
--- except those of the harness, of this file, and of the walk that both call.
local function install_budget()
  local used, budget = 0, nil
  local exempt = { ["@" .. HARNESS] = true, [getinfo(1, "S").source] = true, [getinfo(next, "S").source] = true }
  local function hook()
    used = used + 1
    if used > budget and not exempt[getinfo(2, "S").source] then error("fuzz: over the budget", 2) end
  end
  function _G.fuzz_budget(lines)
    sethook()
    local before = used
    used, budget = 0, lines
    if lines then sethook(hook, "l") end
    return before
  end
end

describe("the corpus of the text templates", function()
  local E

  setup(function()
    require("jit").off() -- compiled code calls no hooks
    install_budget()
    E = assert(loadfile(HARNESS))()()
  end)

  teardown(function()
    _G.fuzz_budget, _G.fuzz_allowed = nil, nil
    require("jit").on()
  end)

  local list = assert(io.popen("ls " .. FILES))
  for name in list:lines() do
    it("holds for " .. name, function()
      assert.equal("", E.configure(read(FILES .. "/" .. name)))
    end)
  end
  list:close()

  it("would tell", function()
    local sandbox = require("haptic.sandbox")
    local environment = sandbox.environment
    sandbox.environment = function(api)
      api.leak = loadstring
      return environment(api)
    end
    local problem = E.configure("{{ 1 }}")
    sandbox.environment = environment
    assert.matches("templates can reach load", problem)
  end)
end)
