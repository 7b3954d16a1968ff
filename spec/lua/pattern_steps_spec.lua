-- A pattern of Lua tries all ways to divide a text among its repeats. Where two of them can take the same characters,
-- or where one may begin at each character of a run, a text of a tenant costs work in proportion to its square: one
-- annotation of 250 000 digits stopped the rendering of all namespaces. So each pattern in the templates and in the
-- engine is tried with the texts that are worst for it.
local steps = require("spec.support.pattern_steps")

local SIZE = 20

--- Patterns that may take quadratic time, and the reason.
local ALLOWED = {
  ["(.-)\r?\n"] = "iterates over the lines of a text that ends with a newline",
  ["([^\n]*)\n"] = "iterates over the lines of a text that ends with a newline",
  ["([^\31]*)\31"] = "iterates over the parts of a text that ends with the separator",
  [".*%S"] = "begins at a character that it matches",
  ["^{(%d+)(,?)(%d*)}()"] = "an expression has at most 500 bytes",
  ["{[%%{].-[%%}]}"] = "a line of an author's template that does not compile",
  ["([%a_]+)%s*%(?%s*=?%s*$"] = "a line that is typed at the prompt",
  ["([%a_][%w_%.]*)[%.:]("] = "a line that is typed at the prompt",
}

--- The patterns that a file contains as whole strings in calls, with their lines.
local function patterns_of(path, found)
  local number = 0
  for line in io.lines(path) do
    number = number + 1
    for name, at in line:gmatch("%f[%w](%l+)()%(") do
      if name == "match" or name == "gmatch" or name == "gsub" or name == "find" then
        local call = line:match("^%b()", at) or line:sub(at)
        for quote, text in call:gmatch("([\"'])(.-)%1") do
          local read = loadstring("return " .. quote .. text .. quote)
          local pattern = read and read()
          if pattern and pattern:find("[*+-]") then found[pattern] = found[pattern] or path .. ":" .. number end
        end
      end
    end
  end
end

describe("the patterns of templates and engine", function()
  it("take time in proportion to the text", function()
    local found, count = {}, 0
    for path in io.popen("find templates lua/haptic -name '*.lua' | sort"):lines() do patterns_of(path, found) end
    for pattern, place in pairs(found) do
      count = count + 1
      if not ALLOWED[pattern] then
        local factor, text = steps.worst(pattern, SIZE)
        assert.is_true(factor < 3, ("%s: %q: twice the text costs %.1f times as much: %q"):format(place, pattern,
          factor, tostring(text)))
      end
    end
    assert.is_true(count > 100)
    for pattern in pairs(ALLOWED) do assert.is_truthy(found[pattern], "it is not used any more: " .. pattern) end
  end)

  it("would not, if they were such as these", function()
    for _, pattern in ipairs({ "(%d+)(%l+)", "^([%w][%w.-]*):?(%d*)$", "/+$", "^([^/]+)/?(%d*)$", "(.-)%s*$" }) do
      assert.is_true(steps.worst(pattern, SIZE) > 3, pattern)
    end
  end)

  it("are counted as Lua matches them", function()
    for _, case in ipairs({ { "^a*b", "aaab", 5 }, { "b", "aab", 3 }, { "a-b", "aab", 5 }, { "^a?b", "ab", 2 } }) do
      assert.are.equal(case[3], steps.count(case[1], case[2], 1000), case[1])
    end
  end)
end)
