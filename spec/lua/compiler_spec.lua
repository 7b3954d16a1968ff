local compiler = require("haptic.compiler")
local sandbox = require("haptic.sandbox")

--- Render a template; values stand in <>.
local function render(source, args)
  sandbox.install()
  local out = {}
  local env = sandbox.environment({
    __text = function(s) out[#out + 1] = s end,
    __value = function(v) out[#out + 1] = "<" .. tostring(v) .. ">" end,
  })
  local chunk, message = compiler.compile(source, "t.cfg", env, sandbox.load)
  if not chunk then return nil, message end
  local ok, e = pcall(chunk, args)
  if not ok then return nil, e end
  return table.concat(out)
end

describe("text templates", function()
  it("write text, values, code and leave comments out", function()
    assert.equal("a <3>\n", render("a {{ 1 + 2 }}\n"))
    assert.equal("\n  x<1>\n\n  x<2>\n\n", render("{% for i = 1, 2 do %}\n  x{{ i }}\n{% end %}\n"))
    assert.equal("ab", render("a{# any }} %} -- [[ thing\n #}b"))
    assert.equal("<7>", render("{{ args.x }}", { x = 7 }))
  end)

  it("trim white space on the side of the dash", function()
    assert.equal("a\nb", render("a\n{%- local x = 1 %}\nb"))
    assert.equal("a\nb", render("a\n{% local x = 1 -%}\nb"))
    assert.equal("a  <1>b", render("a  \n  {{- 1 -}}  \nb"))
    assert.equal("  x<1>\n  x<2>\n", render("{% for i = 1, 2 do -%}\n  x{{ i }}\n{% end -%}\n"))
  end)

  it("keep delimiters inside of strings and comments of Lua", function()
    assert.equal("<}}>", render("{{ '}}' }}"))
    assert.equal("<%}>", render("{{ '%}' }}"))
    assert.equal("<a>b", render("{{ [[a]] }}b"))
    assert.equal("<1> ok", render("{% local x = 1 -- a comment %}{{ x }} ok"))
    assert.equal("<1>", render("{{ 1 -- one\n}}"))
    assert.equal("<{{>", render("{{ '{{' }}"))
    assert.equal("\\n \" ' \t\r\n\\", render("\\n \" ' \t\r\n\\"))
  end)

  it("name the line of an error, at compile time and at run time", function()
    local cases = {
      { "a\n\n{{ x y }}\n", "^t.cfg:3: " },
      { "a\n{% if true then %}\nb\n", "^t.cfg:4: 'end' expected" },
      { "a\n{{ 1 \nb\n", "^t.cfg:2: '{{' is never closed by '}}'" },
      { "{# c \n", "^t.cfg:1: '{#' is never closed" },
      { "a\nb {{ }}", "^t.cfg:2: '{{ }}' without an expression" },
      { "{# 1\n2\n #}\n{{ nothing }}", "^t.cfg:4: undeclared global 'nothing'" },
      { "one\n{%- local x %}\n{{- 'a\\\nb' -}}\n\n{{ x.y }}", "^t.cfg:6: attempt to index local 'x'" },
      { "{% local function f()\n  error('deep')\nend %}\n\n{{ f() }}", "^t.cfg:2: deep" },
      { "{{ 1)) or ((2 }}", "^t.cfg:1: " },
    }
    for _, case in ipairs(cases) do
      local result, message = render(case[1])
      assert.is_nil(result, case[1])
      assert.matches(case[2], message)
    end
  end)

  it("survive any bytes", function()
    -- Fixed pseudo-random sequence: the compiler either compiles or says where.
    local seed = 42
    local function random(n)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return math.floor(seed / 65536) % n + 1
    end
    local pieces = { "{{", "}}", "{%", "%}", "{#", "#}", "-", "'", '"', "[[", "]]", "--", "\n", "\\", "x", " ", "end", "\0", "\255", "[=[" }
    for _ = 1, 3000 do
      local parts = {}
      for i = 1, random(12) do parts[i] = pieces[random(#pieces)] end
      local source = table.concat(parts)
      local chunk, message = compiler.compile(source, "t.cfg", sandbox.environment({}), sandbox.load)
      if not chunk then assert.matches("^t.cfg:%d+: ", message) end
    end
  end)

  it("take time in proportion to their length", function()
    for _, source in ipairs({
      "x" .. (" "):rep(300000) .. "x{%- local x %}", ("{{ 1 }}\n"):rep(30000), ("{# c #}\n"):rep(60000), ("\n"):rep(900000) .. "{{ 1 }}",
      "{% local s = '" .. ("x"):rep(900000) .. "' %}", ("{%- -%} \n"):rep(60000),
    }) do
      local begin = os.clock()
      assert.is_function(compiler.compile(source, "t.cfg", sandbox.environment({}), sandbox.load))
      -- Where time grew with the square of the length most of these took minutes.
      assert.is_true(os.clock() - begin < 5, source:sub(1, 20))
    end
  end)

  it("refuse a template without bounds", function()
    local _, message = render(("x"):rep(1024 * 1024 + 1))
    assert.matches("longer than", message)
  end)
end)
