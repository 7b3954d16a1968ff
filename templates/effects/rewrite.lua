--- rewrite.lua — rewrites the path for the pod.
--
-- Expressions are keys of a map that is searched by regular expressions, with the record and the number of the line as
-- a prefix: so the expressions of other routes fail at their first bytes, and a new one is an entry. A path that is too
-- long for them gets 414, because it must not pass unchanged.

local patterns = use("base.patterns")

local PATHS, EXPRESSIONS = "rewrite.map", "rewrite-regex.map"
local MAX_LINES, MAX_BYTES = 4, 1000

--- A path with references to groups of the expression, up to \9.
local function is_path(text, groups)
  local plain = text:gsub("\\(%d)", function(n)
    return tonumber(n) <= groups and "" or nil
  end)
  if not text:find("^/") and not text:find("^\\%d") then return false end
  return #text <= MAX_BYTES and not plain:gsub("%%%x%x", ""):find("[^%w%-._~!$&'()*+,;=:@/]")
end

--- Lines of a path, or of an expression and a path: a list of {expression=, path=}.
local function parse(lines)
  local list = {}
  for i, line in ipairs(lines) do
    local expression, to, more = line:match("^(%S+)%s*(%S*)%s*(.*)$")
    if more ~= "" then return nil, "lines of a path, or of a regular expression and a path" end
    if to == "" then
      if not is_path(expression, 1) then return nil, "a path, which begins with /" end
      list[i] = { path = expression, expression = expression:find("\\", 1, true) and "^(.*)" or nil }
    else
      local groups, problem = patterns.check(expression)
      if not groups then return nil, "a regular expression and a path: " .. problem end
      if not is_path(to, groups) then
        return nil, ("a regular expression and a path, which begins with / and may have \\1 to \\%d"):format(groups)
      end
      list[i] = { path = to, expression = expression }
    end
  end
  if #list == 0 then return nil, "lines of a path, or of a regular expression and a path" end
  return list
end

use("effects").declare("rewrite", {
  place = "path",
  annotations = { "path_rewrite" },
  maps = { PATHS, EXPRESSIONS },
  rules = function(rule, has)
    for n = 1, MAX_LINES do
      rule("http-request", "set-path", "%[var(txn.record),concat(:" .. n .. "),map_str(" .. path:map(PATHS) .. ")]",
        "if", has("path" .. n))
      local word = "rewrite" .. n
      rule("http-request", "return", "status", 414, "if", has(word), "{", "path,length", "gt", patterns.max_text,
        "}")
      rule("http-request", "set-var(txn.path_now)", "path", "if", has(word))
      rule("http-request", "unset-var(txn.path_new)", "if", has(word))
      rule("http-request", "set-var(txn.path_new)", "var(txn.record),concat(:" .. n .. ":,txn.path_now),map_regm("
        .. path:map(EXPRESSIONS) .. ")", "if", has(word))
      rule("http-request", "set-path", "%[var(txn.path_new)]", "if", has(word), "{", "var(txn.path_new)", "-m", "beg",
        "/", "}")
    end
  end,
  put = function(values, record)
    local words = {}
    for n, rewrite in ipairs(values.path_rewrite or {}) do
      if rewrite.expression then
        words[n] = "rewrite" .. n
        local key = patterns.key(record.id .. ":" .. n .. ":", rewrite.expression)
        record.out:map_entry(EXPRESSIONS, key, rewrite.path)
      else
        words[n] = "path" .. n
        record:entry(PATHS, ":" .. n, rewrite.path)
      end
    end
    return words
  end,
})

provide("effects.rewrite", { parse = parse, max_lines = MAX_LINES })
