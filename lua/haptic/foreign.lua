--- foreign.lua — hints for authors who know another template language.
local M = {}

local find, gmatch = string.find, string.gmatch

--- Functions of the language that templates for similar controllers are written in, and their replacements here. Only
--- names that are no globals of templates.
M.GLOBALS = {
  render = '{% include("NAME") %}', render_glob = '{% include_all("NAME-*") %}',
  inherit_context = 'include_all("NAME-*", { … }): what a snippet needs goes as its second argument',
  pathResolver = 'path:map("NAME"), path:file("NAME"), path:cert("NAME") or path:crt_list("NAME")',
  fileRegistry = "out:file(), out:certificate() or out:crt_list() in a script",
  planRegistry = "out:backend() in a script",
  fallback = "a or b", coalesce = "a or b", toJSON = "json(v)", isNil = "v == nil", len = "#list",
  append = "list[#list + 1] = v",
  dig_string = 'tostring(dig(t, "field", …) or "")', toint = "tonumber(v)", tofloat = "tonumber(v)",
  to_str_map = "the table itself", toSlice = "the table itself, in ipairs(list or {})",
  first_seen = "a local table of what was seen", seq = "{% for i = 1, n do %}", namespace = "{% local t = {} %}",
  sort_strings = "table.sort(list)", glob_match = "string.find() with a Lua pattern",
  regex_search = "string.find() with a Lua pattern",
  sanitize_regex = "regex_escape(s)", hasPrefix = "s:starts_with(x)", hasSuffix = "s:ends_with(x)",
  toLower = "s:lower()",
  toUpper = "s:upper()", strip = "s:trim()", trim = "s:trim()", split = "s:split(x)", join = "table.concat(list, x)",
  replace_all = "s:gsub(pattern, x)", strings_contains = "s:find(x, 1, true)", strings_split = "s:split(x)",
  strings_trim = "s:trim()", strings_lower = "s:lower()", indent = "nothing: lines are indented by themselves",
  statusPatch = "out:status() in a script", recordEvent = "out:event() in a script", http_fetch = "http:fetch(url)",
  extraContext = "context", currentConfig = "nothing: servers keep their places by themselves",
  runtimeEnvironment = "nothing",
  templateSnippets = 'snippets("POINT")', macro = "{% local function NAME(…) %} … {% end %}",
  frontend = 'section("frontend NAME", …), or out:frontend("NAME", …) in a function of each() or fragment()',
  backend = 'out:backend("NAME", …) in a function of each() or fragment()',
  map_entry = 'out:map_entry("NAME", key, value) in a function of each() or fragment()',
  import = 'use("NAME"), for what another script provides', True = "true", False = "false", None = "nil",
}

--- Other names for methods of resources.KIND.
M.ACCESSORS = { List = "list()", Fetch = "fetch(value, …)", GetSingle = "get(namespace, name)",
  Get = "get(namespace, name)" }

-- A pattern for a template's line, and what to write instead; the first match counts.
local LINES = {
  { "%f[%w]range%f[%W]", "write {% for _, x in ipairs(LIST) do %} … {% end %}" },
  { "%f[%w]for%s+[%w_]+%s+in%s+[^%%]-%%}", "write {% for _, x in ipairs(LIST) do %} … {% end %}", "%f[%w]do%f[%W]" },
  { "%f[%w]set%s+[%w_.]+%s*=", "write {% local NAME = VALUE %}" },
  { "%f[%w]var%s+[%w_]", "write {% local NAME = VALUE %}" },
  { ":=", "write {% local NAME = VALUE %}" },
  { "%f[%w]else%s+if%f[%W]", "write {% elseif … then %}" },
  { "%f[%w]elif%f[%W]", "write {% elseif … then %}" },
  { "%f[%w]end%s*if%f[%W]", "write {% end %}" },
  { "%f[%w]end%s*for%f[%W]", "write {% end %}" },
  { "%f[%w]macro%f[%W]", "write {% local function NAME(…) %} … {% end %}" },
  { "%f[%w]render%s", 'write {% include("NAME") %}' },
  { "&&", "write `and`" },
  { "||", "write `or`" },
  { "!=", "write ~=" },
  { "{{.-[^|]|[^|].-}}", "there are no filters: write {{ f(x) }}" },
  { "%f[%w]if%f[%W]", "write {% if … then %}", "%f[%w]then%f[%W]" },
  { "!%s*[%w_(]", "write `not`" },
}

--- The advice for the first code in a line that this notation does not have: what to write instead. nil: no advice.
local function advice(line)
  for code in gmatch(line, "{[%%{].-[%%}]}") do
    for _, rule in ipairs(LINES) do
      if find(code, rule[1]) and not (rule[3] and find(code, rule[3])) then return rule[2] end
    end
  end
  return nil
end

--- The hint for a template that does not compile at a line: for that line, or for the nearest earlier line with a hint;
--- "; …", or "".
function M.hint(source, number)
  local lines = {}
  for line in gmatch(source .. "\n", "([^\n]*)\n") do
    lines[#lines + 1] = line
    if #lines == number then break end
  end
  for n = #lines, 1, -1 do
    local text = advice(lines[n])
    if text then
      return "; templates are Lua: " .. (n < number and "line " .. n .. ": " or "") .. text
    end
  end
  return ""
end

return M
