--- Rules for the lines of an output, without the core: a line keeps its values, whatever a rule does around them.
local rewriting = require("haptic.rewriting")

--- Rules of Lua patterns stand in for those of the core, which are the core's to test.
local function rule(pattern, replacement)
  return function(line) return (line:gsub(pattern, replacement)) end
end

local function apply(text, values, ...)
  local noted = {}
  for _, v in ipairs(values) do rewriting.note(noted, v[1], v[2], v[3]) end
  return rewriting.apply({ ... }, text, noted)
end

describe("rules for lines", function()
  it("leave the number of lines and everything that they do not match", function()
    assert.equal("b\nc\n\n d\n", apply("a\nc\n\n d\n", {}, rule("^a$", "b")))
    assert.equal("", apply("", {}, rule("^x", "y")))
    assert.equal("x2", apply("x0", {}, rule("0", "1"), rule("1", "2")))
  end)

  it("may change what stands around a value", function()
    assert.equal("  server a 'b c' check", apply("server a 'b c'", { { 1, "a", "plain" }, { 1, "'b c'", "plain" } },
      rule("^(server .*)$", "  %1 check")))
    assert.equal('set-header X "one $ two" x', apply('add-header X "one $ two"', { { 1, "one $ two", "weak" } },
      rule("^add(.*)$", "set%1 x")))
    assert.equal("v1 k1", apply("k1 v1", { { 1, "k1" } }, rule("^(%S+) (%S+)$", "%2 %1")))
  end)

  it("may not change, move into other quotes, or take away a value", function()
    for name, case in pairs({
      ["change"] = { "server a.b x", { { 1, "a.b", "plain" } }, rule("%.", " ") },
      ["its quotes"] = { "http-request set-header X 'a b'", { { 1, "'a b'", "plain" } }, rule("'", "") },
      ["quotes around it"] = { 'x "a b" c', { { 1, "a b", "weak" } }, rule('"', "") },
      ["a quote before it"] = { "x abc", { { 1, "abc", "plain" } }, rule("x ", "x '") },
      ["a backslash before it"] = { "x 'a'", { { 1, "'a'", "plain" } }, rule("x ", "x \\") },
      ["removal"] = { "x abc", { { 1, "abc", "plain" } }, rule(" abc", "") },
      ["the order"] = { "x abc def", { { 1, "abc", "plain" }, { 1, "def", "plain" } }, rule("(%w+) (%w+)$", "%2 %1") },
      ["a comment"] = { "abc", { { 1, "abc", "plain" } }, rule("^", "# ") },
      ["one of two that are alike"] = { "abc abc", { { 1, "abc", "plain" }, { 1, "abc", "plain" } }, rule(" abc$", "") },
    }) do
      local ok, message = pcall(apply, unpack(case))
      assert.is_false(ok, name)
      assert.matches("postProcessing: line 1 of the text: it would change the value", message, 1, true)
    end
  end)

  it("name the line, and its place where that is known", function()
    local ok, message = pcall(rewriting.apply, { function() return nil, "too many steps" end }, "a", {}, { "t:7" })
    assert.is_false(ok)
    assert.equal("t:7: postProcessing: line 1 of the text: too many steps", message)
  end)

  it("keep each value of a random line, or refuse", function()
    local seed = tonumber(os.getenv("SEED")) or os.time()
    math.randomseed(seed)
    print("seed " .. seed)
    local word = require("haptic.word")
    local pieces = { "a", " ", "'", '"', "\\", "#", "b c", "x'y", "$z", "{", "acl" }
    local refused, kept = 0, 0
    for _ = 1, 3000 do
      -- A line with a value in it, as text.lua makes it.
      local before, state, escaped = {}, "plain", false
      for _ = 1, math.random(0, 4) do
        local piece = pieces[math.random(#pieces)]
        before[#before + 1] = piece
        state, escaped = word.advance(state, piece, escaped)
      end
      local value = pieces[math.random(#pieces)] .. pieces[math.random(#pieces)]
      local ok, embedded = pcall(word.embed, state, value, "v")
      if ok and not escaped and embedded ~= "" then
        local line = table.concat(before) .. embedded .. " tail"
        local from, to = pieces[math.random(#pieces)], pieces[math.random(#pieces)]
        local rewritten, result = pcall(apply, line, { { 1, embedded, state } },
          rule(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%"))))
        if rewritten then
          kept = kept + 1
          -- The value still stands somewhere in the quotes that it was made for.
          local found, at = result == line, 1
          while not found do
            at = result:find(embedded, at, true)
            if not at then break end
            local now, open = word.advance("plain", result:sub(1, at - 1), false)
            found, at = now == state and not open, at + 1
          end
          assert.is_true(found, line .. " -> " .. result)
        else
          refused = refused + 1
        end
      end
    end
    assert.is_true(kept > 100 and refused > 100, kept .. " kept, " .. refused .. " refused")
  end)
end)
