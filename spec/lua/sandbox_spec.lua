local sandbox = require("haptic.sandbox")

local function run(source, api)
  sandbox.install()
  local chunk, message = sandbox.load(source, "evil.lua", sandbox.environment(api or {}))
  if not chunk then return false, message end
  return pcall(chunk)
end

local function fails(source, pattern)
  local ok, message = run(source)
  assert.is_false(ok, "ran: " .. source)
  assert.matches(pattern, tostring(message))
end

describe("sandbox", function()
  it("lacks everything that reaches outside", function()
    for _, name in ipairs({
      "io", "os", "debug", "ffi", "jit", "package", "require", "load", "loadstring", "loadfile", "dofile", "collectgarbage",
      "newproxy", "getfenv", "setfenv", "getmetatable", "setmetatable", "rawset", "rawget", "rawequal", "next", "coroutine", "module",
      "print", "xpcall", "_G", "arg", "gcinfo",
    }) do
      fails("return " .. name, "evil.lua:1: undeclared global '" .. name .. "'")
    end
    fails("return string.dump(function() end)", "attempt to call field 'dump'")
    fails("return math.random()", "attempt to call field 'random'")
  end)

  it("has no way around through strings", function()
    fails("return ('').dump(function() end)", "attempt to call field 'dump'")
    fails("local s = 'x'; s.y = 1", "index")
    fails("string.rep = nil", "string.rep cannot be assigned to")
    fails("math.huge = 1", "math.huge cannot be assigned to")
    fails("return ('%p'):format({})", "%%p is not available")
    fails("return ('%-20p'):format({})", "%%p is not available")
  end)

  it("refuses bytecode", function()
    local code = string.dump(function() return 1 end)
    local chunk, message = sandbox.load(code, "b.lua", sandbox.environment({}))
    assert.is_nil(chunk)
    assert.matches("attempt to load", message)
  end)

  it("caps what one library call can make", function()
    fails("return ('x'):rep(1e9)", "rep: the result would be longer than")
    fails("return ('x'):rep(2, ('y'):rep(16000000))", "rep: the result would be longer than")
    fails("return ('x'):rep(20000):gsub('x', ('y'):rep(20000))", "gsub: the result would be longer than")
    fails("return ('x'):rep(20000):gsub('.*', ('%0'):rep(20000))", "gsub: the result would be longer than")
    fails("local s = ('y'):rep(20000); return ('x'):rep(20000):gsub('x', function() return s end)", "gsub: the result would be longer")
    fails("local s = ('x'):rep(9e6); return ('%s'):format(s)", "format: the result would be longer than")
    fails("local s = ('x'):rep(9e6); return table.concat({s, s})", "concat: the result would be longer than")
  end)

  it("keeps the usual meaning of what it caps", function()
    local ok, result = run([[
      return table.concat({ ('ab'):rep(2, '-'), ('a-b'):gsub('%-', '%%'), ('abc'):gsub('(b)', '<%1>'),
        ('x'):gsub('x', { x = 'y' }), ('%5.2f|%s|%s'):format(1.5, true, {}), tostring({}), tostring(print_me) == 'nil' and '' or '' }, ' ')
    ]], { print_me = false })
    assert.is_true(ok, result)
    assert.equal("ab-ab a%b a<b>c y  1.50|true|table table ", result)
  end)

  it("iterates in the order of the keys", function()
    local ok, result = run([[
      local seen = {}
      for k, v in pairs({ z = 1, a = 2, [10] = 3, [2] = 4, [true] = 5 }) do seen[#seen + 1] = tostring(k) .. v end
      return table.concat(seen, ' ')
    ]])
    assert.is_true(ok, result)
    assert.equal("24 103 a2 z1 true5", result)
    fails("for _ in pairs({ [{}] = 1 }) do end", "has no order")
  end)

  it("freezes globals, with a hint", function()
    fails("x = 1", "evil.lua:1: assignment to undeclared global 'x' %(write 'local'%)")
    fails("\n\nreturn y", "evil.lua:3: undeclared global 'y'")
  end)

  it("gives each script an environment of its own", function()
    local ok, a = run("table.insert(string, 'left'); return #string.rep('a', 2)")
    assert.is_true(ok, a)
    local _, b = run("return string[1]")
    assert.is_nil(b)
  end)

  it("ends recursion with an error", function()
    fails("local function f() return 1 + f() end return f()", "stack overflow")
    fails("local t = {} ; t[1] = t ; local function walk(x) return walk(x[1]) + 1 end return walk(t)", "stack overflow")
  end)
end)
