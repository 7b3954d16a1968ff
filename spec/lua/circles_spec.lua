--- Files that call each other. A file calls another one when it names a function that only the other one defines. Files
--- that reach each other by such calls form a circle: none of them can be understood, tested or moved alone.
---
--- There is none. Move the function that is in the way to the noun that it belongs to, give the state that both files
--- share a file below them, or pass who listens.

local program = require("support.program")

local FOLDERS = {
  "agent", "base", "cmd", "controller", "data", "engine", "haproxy", "http", "kube", "member", "net", "offline", "store",
}

--- The text of a C file without comments, strings and characters.
local function code(path)
  local text = program.read(path):gsub("\\\n", " "):gsub("\\.", "  ")
  text = text:gsub("/%*.-%*/", " "):gsub('"[^"\n]*"', '""'):gsub("'[^'\n]*'", "' '")
  return text
end

--- Names of functions that the text defines for others, and all words in it.
local function scan(text)
  local defined, words = {}, {}
  for head in ("\n" .. text):gmatch("\n(%a[^\n;{}=#]-%b()[^\n;{}=]*)\n{") do
    if not head:find("^static%s") and not head:find("%sstatic%s") then
      local name = head:match("([%a_][%w_]*)%s*%(")
      if name then defined[name] = true end
    end
  end
  for word in text:gmatch("[%a_][%w_]*") do words[word] = true end
  return defined, words
end

--- Which files of the folder each of its files calls.
local function calls_of(folder)
  local files, owner = {}, {}
  local list = assert(io.popen("ls core/" .. folder .. "/*.c"))
  for path in list:lines() do
    local name = path:match("([^/]+)%.c$")
    local defined, words = scan(code(path))
    files[name] = words
    for func in pairs(defined) do owner[func] = name end
  end
  list:close()
  local calls = {}
  for name, words in pairs(files) do
    calls[name] = {}
    for func, other in pairs(owner) do
      if other ~= name and words[func] then calls[name][other] = func end
    end
  end
  return calls
end

--- Sets of files that reach each other, each as one sorted line (Tarjan's algorithm).
local function circles_of(calls)
  local index, low, on_stack, stack, counter, found = {}, {}, {}, {}, 0, {}
  local function visit(name)
    counter = counter + 1
    index[name], low[name] = counter, counter
    stack[#stack + 1], on_stack[name] = name, true
    for other in pairs(calls[name]) do
      if not index[other] then
        visit(other)
        low[name] = math.min(low[name], low[other])
      elseif on_stack[other] then
        low[name] = math.min(low[name], index[other])
      end
    end
    if low[name] == index[name] then
      local circle = {}
      repeat
        local last = table.remove(stack)
        on_stack[last] = nil
        circle[#circle + 1] = last
      until last == name
      if #circle > 1 then
        table.sort(circle)
        found[#found + 1] = table.concat(circle, " ")
      end
    end
  end
  for name in pairs(calls) do
    if not index[name] then visit(name) end
  end
  table.sort(found)
  return found
end

--- A circle's calls, for the message.
local function calls_inside(calls, circle)
  local lines, inside = {}, {}
  for name in circle:gmatch("%S+") do inside[name] = true end
  for name in circle:gmatch("%S+") do
    for other, func in pairs(calls[name]) do
      if inside[other] then lines[#lines + 1] = ("  %s calls %s (%s)"):format(name, other, func) end
    end
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

describe("files that call each other", function()
  for _, folder in ipairs(FOLDERS) do
    it("are none in core/" .. folder, function()
      local calls = calls_of(folder)
      local found = circles_of(calls)
      local text = {}
      for _, circle in ipairs(found) do text[#text + 1] = circle .. "\n" .. calls_inside(calls, circle) end
      assert.same({}, found, table.concat(text, "\n"))
    end)
  end

  it("are seen", function()
    local defined, words = scan("static int a(void)\n{\n}\n\nint b(struct x *y, int z)\n{\n    return c(1);\n}\n")
    assert.same({ b = true }, defined)
    assert.is_true(words.c)
    assert.same({ "a b c", "e f" }, circles_of({
      a = { b = "f" }, b = { c = "f" }, c = { a = "f" }, d = { a = "f" }, e = { f = "f" }, f = { e = "f", d = "f" },
    }))
  end)
end)
