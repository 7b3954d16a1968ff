--- patterns.lua — regular expressions of people: which ones HAProxy can take, and none that takes it long.
--
-- What is understood is the part of PCRE that paths need: characters, ., classes, groups, alternatives, ^ at the
-- beginning, $ at the end of an alternative, and repeats. A repeat of a group that has repeats or alternatives in it is
-- refused, as are more than three repeats without a bound: these are what makes matching slow. So are look-around,
-- references within the expression and options.

local MAX_BYTES, MAX_GROUPS, MAX_OPEN, MAX_COUNT, MAX_DEPTH = 500, 9, 3, 100, 20

local Parser = {}

local function problem(message) error(message, 0) end

function Parser:peek() return self.text:sub(self.at, self.at) end

--- A class in brackets.
function Parser:class()
  local at = self.at
  if self.text:sub(at, at) == "^" then at = at + 1 end
  local first, last = at, nil
  while true do
    local c = self.text:sub(at, at)
    if c == "" then problem("a [ is not closed") end
    if c == "[" then problem("a [ within [ ] must be written \\[") end
    if c == "\\" then
      local escaped = self.text:sub(at + 1, at + 1)
      if not escaped:find("[dwsDWS%p]") then problem("there is no \\" .. escaped .. " within [ ]") end
      at, last = at + 2, nil
    elseif c == "]" and at > first then
      self.at = at + 1
      return
    elseif c == "]" then
      problem("an empty [ ]")
    elseif c == "-" and last and self.text:sub(at + 1, at + 1) ~= "]" then
      local to = self.text:sub(at + 1, at + 1)
      if not to:find("%w") or not last:find("%w") or to < last then problem("a range within [ ] is wrong") end
      at, last = at + 2, nil
    else
      at, last = at + 1, c
    end
  end
end

--- A repeat, if there is one: its smallest and largest number, or nil.
function Parser:quantifier()
  local c = self:peek()
  local low, high
  if c == "*" then low, high = 0, math.huge
  elseif c == "+" then low, high = 1, math.huge
  elseif c == "?" then low, high = 0, 1
  elseif c == "{" then
    local from, comma, to, stop = self.text:match("^{(%d+)(,?)(%d*)}()", self.at)
    if not from then problem("a { must be written \\{ where it is no number of repeats") end
    low = tonumber(from)
    high = comma == "" and low or tonumber(to) or math.huge
    if low > MAX_COUNT or high ~= math.huge and (high > MAX_COUNT or high < low) then
      problem("a number of repeats is wrong, or over " .. MAX_COUNT)
    end
    self.at = stop - 1
  else
    return nil
  end
  self.at = self.at + 1
  if self:peek() == "?" then
    self.at = self.at + 1
  elseif self:peek():find("[*+{]") then
    problem("a repeat of a repeat")
  end
  return low, high
end

--- One atom; returns whether it is a group, and whether it has repeats or alternatives in it.
function Parser:atom(depth)
  local c = self:peek()
  self.at = self.at + 1
  if c == "(" then
    if self:peek() == "?" then
      if self.text:sub(self.at, self.at + 1) ~= "?:" then problem("(? is only understood as (?:") end
      self.at = self.at + 2
    elseif self:peek() == "*" then
      problem("(* is not understood")
    else
      self.groups = self.groups + 1
      if self.groups > MAX_GROUPS then problem("more than " .. MAX_GROUPS .. " groups") end
    end
    local is_complex = self:alternatives(depth + 1)
    if self:peek() ~= ")" then problem("a ( is not closed") end
    self.at = self.at + 1
    return is_complex
  elseif c == "[" then
    self:class()
  elseif c == "\\" then
    local escaped = self:peek()
    if escaped == "" or not escaped:find("[dwsDWS%p]") then problem("there is no \\" .. escaped) end
    self.at = self.at + 1
  elseif c == "*" or c == "+" or c == "?" or c == "{" then
    problem("nothing to repeat in front of " .. c)
  elseif c == "^" then
    problem("a ^ can only stand at the beginning")
  elseif c == "$" and not self.text:find("^[|)]", self.at) and self.at <= #self.text then
    problem("a $ can only stand at the end of an alternative")
  elseif c == "]" or c == "}" then
    problem("a " .. c .. " must be written \\" .. c)
  end
  return false
end

--- Alternatives up to the end or a ")"; returns whether there are repeats or several alternatives in it.
function Parser:alternatives(depth)
  if depth > MAX_DEPTH then problem("too many groups in each other") end
  local is_complex = false
  while true do
    local c = self:peek()
    if c == "" or c == ")" then return is_complex end
    if c == "|" then
      is_complex, self.at = true, self.at + 1
    else
      local inner = self:atom(depth)
      local low, high = self:quantifier()
      if low and inner and high > 1 then
        problem("a repeat of a group with repeats or alternatives can take too long")
      end
      if high == math.huge then self.open = self.open + 1 end
      if self.open > MAX_OPEN then problem("more than " .. MAX_OPEN .. " repeats without a bound can take too long") end
      is_complex = is_complex or inner or low ~= nil
    end
  end
end

--- The number of groups of an expression that can be used; nil and what is wrong with it.
local function check(text)
  if #text > MAX_BYTES then return nil, ("it is longer than %d bytes"):format(MAX_BYTES) end
  if text:find("[^\33-\126]") then return nil, "it has characters other than printable ASCII" end
  local parser = { text = text, at = text:sub(1, 1) == "^" and 2 or 1, groups = 0, open = 0 }
  for name, fn in pairs(Parser) do parser[name] = fn end
  local ok, message = pcall(function()
    parser:alternatives(1)
    if parser:peek() == ")" then problem("a ) has no (") end
  end)
  if not ok then return nil, tostring(message) end
  if text == "" or text == "^" then return nil, "it is empty" end
  return parser.groups
end

--- The key of a map that is searched by regular expressions: the beginning as it stands, then the expression.
local function key(beginning, expression)
  local rest = expression:match("^%^(.*)$")
  return "^" .. regex_escape(beginning) .. (rest and "(?:" .. rest .. ")" or ".*?(?:" .. expression .. ")")
end

provide("base.patterns", { check = check, key = key })
