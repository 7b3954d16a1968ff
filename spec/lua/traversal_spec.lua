--- next() and pairs() where LuaJIT compiles them wrongly.

describe("next() and pairs()", function()
  local is_wrong = require("jit").version:find("2.1.0-beta3", 1, true) ~= nil

  it("are never part of a trace in the LuaJIT that compiles them wrongly", function()
    -- The built-in function has a number of its own, by which the compiler knows it.
    local built_in = require("jit.util").funcinfo(next).ffid
    if is_wrong then
      assert.is_nil(built_in)
    else
      assert.is_number(built_in)
    end
  end)

  it("walk all of a table, in a program that is compiled", function()
    local t, expected = {}, 0
    for i = 1, 100 do
      t["k" .. i], t[i] = i, 2 * i
      expected = expected + 3 * i
    end
    for _ = 1, 300 do
      local sum, first = 0, next(t)
      for key, value in pairs(t) do
        sum = sum + (t[key] == value and value or 0)
      end
      assert(sum == expected and t[first] ~= nil)
      local key, value = next(t, nil)
      assert(t[key] == value and next({}) == nil)
    end
  end)
end)
