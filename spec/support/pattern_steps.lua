--- Counts the work of a Lua pattern: the matcher of the Lua manual (§5.4.1, as lstrlib.c does it), which counts the
-- characters that it compares. So a pattern that takes quadratic time is found by a number, not by a clock.
local M = {}

--- The end of the single character class that begins at p (behind it).
local function class_end(pattern, p)
  local c = pattern:sub(p, p)
  p = p + 1
  if c == "%" then return p + 1 end
  if c ~= "[" then return p end
  if pattern:sub(p, p) == "^" then p = p + 1 end
  repeat
    c = pattern:sub(p, p)
    p = p + (c == "%" and 2 or 1)
  until pattern:sub(p, p) == "]"
  return p + 1
end

--- The items of a pattern: { class, suffix } or { other } for what takes no character; nil when it has back references.
function M.items(pattern)
  local list, p = {}, pattern:sub(1, 1) == "^" and 2 or 1
  while p <= #pattern do
    local two = pattern:sub(p, p + 1)
    local c = pattern:sub(p, p)
    if two:find("^%%%d") or two == "%b" then return nil end
    if c == "(" or c == ")" or c == "$" and p == #pattern then
      list[#list + 1] = { other = c }
      p = p + 1
    elseif two == "%f" then
      local stop = class_end(pattern, p + 2)
      list[#list + 1] = { other = "%f", class = pattern:sub(p + 2, stop - 1) }
      p = stop
    else
      local stop = class_end(pattern, p)
      local suffix = pattern:match("^[*+?-]", stop) or ""
      list[#list + 1] = { class = pattern:sub(p, stop - 1), suffix = suffix }
      p = stop + #suffix
    end
  end
  return list
end

local function is_in(item, c)
  item.has = item.has or {}
  if item.has[c] == nil then item.has[c] = c:find("^" .. item.class) ~= nil end
  return item.has[c]
end
M.is_in = is_in

--- How many characters are compared to look for a pattern in a text from its first character on; stops beyond max.
function M.count(pattern, text, max)
  local items, steps = M.items(pattern), 0
  local function one(item, at)
    steps = steps + 1
    if steps > max then error("many", 0) end
    return at <= #text and is_in(item, text:sub(at, at))
  end
  local function match(i, at)
    local item = items[i]
    while item do
      if item.other == "$" then return at == #text + 1 end
      if item.other == "%f" then
        local before, here = at == 1 and "\0" or text:sub(at - 1, at - 1), at > #text and "\0" or text:sub(at, at)
        if is_in(item, before) or not is_in(item, here) then return false end
      elseif item.suffix == "" then
        if not one(item, at) then return false end
        at = at + 1
      elseif item.suffix == "?" then
        if one(item, at) and match(i + 1, at + 1) then return true end
      elseif item.suffix == "-" then
        while not match(i + 1, at) do
          if not one(item, at) then return false end
          at = at + 1
        end
        return true
      elseif item.suffix then
        local first = at + (item.suffix == "+" and 1 or 0)
        while one(item, at) do at = at + 1 end
        for stop = at, first, -1 do
          if match(i + 1, stop) then return true end
        end
        return false
      end
      i = i + 1
      item = items[i]
    end
    return true
  end
  local ok, message = pcall(function()
    for from = 1, pattern:sub(1, 1) == "^" and 1 or #text + 1 do
      if match(1, from) then return end
    end
  end)
  if not ok and message ~= "many" then error(message, 0) end
  return steps
end

--- One character of each kind that the items tell apart, and one that few of them take.
local function kinds(items)
  local list, seen = {}, {}
  for byte = 9, 126 do
    local c, signature = string.char(byte), {}
    for i, item in ipairs(items) do signature[i] = item.class and is_in(item, c) and "1" or "0" end
    local key = table.concat(signature)
    if not seen[key] then
      seen[key] = true
      list[#list + 1] = c
    end
  end
  return list
end

--- The text for which twice the size costs most, and how many times as much it costs; a linear pattern has 2.
function M.worst(pattern, size)
  local items = M.items(pattern)
  if not items then return 0 end
  local all, worst, text = kinds(items), 0, nil
  local endings = { unpack(all) }
  for _, a in ipairs(all) do
    for _, b in ipairs(all) do endings[#endings + 1] = a .. b end
  end
  local beginnings, beginning = { "" }, ""
  for _, item in ipairs(items) do
    for _, c in ipairs(item.class and not item.other and all or {}) do
      if is_in(item, c) then
        if item.suffix ~= "" and beginning ~= "" then beginnings[#beginnings + 1] = beginning end
        beginning = beginning .. c
        break
      end
    end
  end
  for _, first in ipairs(beginnings) do
    for _, repeated in ipairs(all) do
      for _, last in ipairs(endings) do
        local short = first .. repeated:rep(size) .. last
        local small = M.count(pattern, short, 64 * size * size)
        if small > 8 * size then
          local factor = M.count(pattern, first .. repeated:rep(2 * size) .. last, 256 * size * size) / small
          if factor > worst then worst, text = factor, short end
        end
      end
    end
  end
  return worst, text
end

return M
