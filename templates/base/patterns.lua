--- patterns.lua — regular expressions of people: which ones HAProxy can take, and none that takes it long.
--
-- What is understood is the part of PCRE that paths need: characters, ., classes, groups, alternatives, ^ at the
-- beginning, $ at the end of an alternative, and repeats. A repeat of a group that has repeats or alternatives in it is
-- refused, and so are look-around, references within the expression and options.
--
-- HAProxy tries one way after another to fit an expression to a text, and while it does, its thread answers nobody
-- else; after two seconds of that it ends itself. So the tree of an expression is made, and the ways through it are
-- counted (steps): a repeat can end in as many places as it has characters, unless what must follow cannot be one of
-- them. The steps depend on the length of the text: whoever uses an expression sees to it that there is no longer one.

local MAX_BYTES, MAX_GROUPS, MAX_COUNT, MAX_DEPTH = 500, 9, 100, 20
--- Longest text that an expression is matched with where nothing else is said, and steps that this may take: some
--- hundredths of a second.
local MAX_TEXT = 4096
local MAX_STEPS = 10 * MAX_TEXT * MAX_TEXT

-- sets of characters ----------------------------------------------------------------------------------------

--- Bytes from 128 on are one member, and letters are in lower case, as a test may not tell them apart. END: the end of
--- the text.
local HIGH, END = 128, 129

local function set_of(...)
  local set = {}
  for _, range in ipairs({ ... }) do
    for byte = range[1], range[2] do set[byte >= 65 and byte <= 90 and byte + 32 or byte] = true end
  end
  return set
end

local function add(set, other)
  for member in pairs(other) do set[member] = true end
  return set
end

--- All characters but those: of which both cases are, as only one may be meant.
local function complement(set)
  local result = {}
  for byte = 0, HIGH do
    if not set[byte] or byte >= 97 and byte <= 122 then result[byte] = true end
  end
  for byte = 65, 90 do result[byte] = nil end
  return result
end

local function meet(a, b)
  for member in pairs(a) do
    if b[member] then return true end
  end
  return false
end

local ANY = complement({})
local NAMED = { d = set_of({ 48, 57 }), s = set_of({ 9, 13 }, { 32, 32 }),
  w = set_of({ 48, 57 }, { 65, 90 }, { 95, 95 }, { 97, 122 }) }

--- What a character stands for, or one behind a backslash.
local function set_of_char(c, is_escaped)
  if is_escaped and NAMED[c:lower()] then
    return NAMED[c] or complement(NAMED[c:lower()])
  end
  return set_of({ c:byte(), c:byte() })
end

-- the tree --------------------------------------------------------------------------------------------------

local Parser = {}

local function problem(message) error(message, 0) end

function Parser:peek() return self.text:sub(self.at, self.at) end

--- A class in brackets: the set of its characters.
function Parser:class()
  local at, set = self.at, {}
  local is_negated = self.text:sub(at, at) == "^"
  if is_negated then at = at + 1 end
  local first, last = at, nil
  while true do
    local c = self.text:sub(at, at)
    if c == "" then problem("a [ is not closed") end
    if c == "[" then problem("a [ within [ ] must be written \\[") end
    if c == "\\" then
      local escaped = self.text:sub(at + 1, at + 1)
      if not escaped:find("[dwsDWS%p]") then problem("there is no \\" .. escaped .. " within [ ]") end
      add(set, set_of_char(escaped, true))
      at, last = at + 2, nil
    elseif c == "]" and at > first then
      self.at = at + 1
      return is_negated and complement(set) or set
    elseif c == "]" then
      problem("an empty [ ]")
    elseif c == "-" and last and self.text:sub(at + 1, at + 1) ~= "]" then
      local to = self.text:sub(at + 1, at + 1)
      if not to:find("%w") or not last:find("%w") or to < last then problem("a range within [ ] is wrong") end
      add(set, set_of({ last:byte(), to:byte() }))
      at, last = at + 2, nil
    else
      add(set, set_of_char(c))
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

--- One atom: {set=} of a character, {ends=true} for $, or {alternatives=} of a group; and whether it has repeats or
--- alternatives in it.
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
    local alternatives, is_complex = self:alternatives(depth + 1)
    if self:peek() ~= ")" then problem("a ( is not closed") end
    self.at = self.at + 1
    return { alternatives = alternatives }, is_complex
  elseif c == "[" then
    return { set = self:class() }, false
  elseif c == "\\" then
    local escaped = self:peek()
    if escaped == "" or not escaped:find("[dwsDWS%p]") then problem("there is no \\" .. escaped) end
    self.at = self.at + 1
    return { set = set_of_char(escaped, true) }, false
  elseif c == "*" or c == "+" or c == "?" or c == "{" then
    problem("nothing to repeat in front of " .. c)
  elseif c == "^" then
    problem("a ^ can only stand at the beginning")
  elseif c == "$" and not self.text:find("^[|)]", self.at) and self.at <= #self.text then
    problem("a $ can only stand at the end of an alternative")
  elseif c == "]" or c == "}" then
    problem("a " .. c .. " must be written \\" .. c)
  elseif c == "$" then
    return { ends = true }, false
  end
  return { set = c == "." and ANY or set_of_char(c) }, false
end

--- Alternatives up to the end or a ")": a list of lists of atoms with their repeats; and whether there are repeats or
--- several alternatives in it.
function Parser:alternatives(depth)
  if depth > MAX_DEPTH then problem("too many groups in each other") end
  local is_complex, list = false, { {} }
  while true do
    local c = self:peek()
    if c == "" or c == ")" then return list, is_complex end
    if c == "|" then
      is_complex, self.at = true, self.at + 1
      list[#list + 1] = {}
    else
      local atom, inner = self:atom(depth)
      local low, high = self:quantifier()
      if low and inner and high > 1 then
        problem("a repeat of a group with repeats or alternatives can take too long")
      end
      atom.low, atom.high = low or 1, high or 1
      local items = list[#list]
      items[#items + 1] = atom
      is_complex = is_complex or inner or low ~= nil
    end
  end
end

-- steps -----------------------------------------------------------------------------------------------------

local first_of_items

--- What may come first: {set=, is_free=}; is_free: whatever comes, also nothing, the expression fits from here on.
local function first_of(atom, follow)
  local set, is_free = {}, false
  if atom.ends then
    set[END] = true
  elseif atom.set then
    add(set, atom.set)
  else
    for _, items in ipairs(atom.alternatives) do
      local first = first_of_items(items, 1, follow)
      add(set, first.set)
      is_free = is_free or first.is_free
    end
  end
  if atom.low == 0 then
    add(set, follow.set)
    is_free = is_free or follow.is_free
  end
  return { set = set, is_free = is_free }
end

function first_of_items(items, from, follow)
  for at = #items, from, -1 do follow = first_of(items[at], follow) end
  return follow
end

--- The bytes of a group without repeats or alternatives in it.
local function length_of(atom)
  if not atom.alternatives then return atom.set and 1 or 0 end
  local length = 0
  for _, inner in ipairs(atom.alternatives[1]) do length = length + length_of(inner) end
  return length
end

local function is_end_only(set)
  for member in pairs(set) do
    if member ~= END then return false end
  end
  return true
end

local ways_of_items

--- Through an atom with what follows it, in a text of so many bytes: the ways, and the steps of all of them; and
--- whether one that gets here gets to the end.
local function ways_of(atom, follow, bytes)
  local ways, steps, firsts, are_apart = 0, 0, {}, true
  if atom.high > 1 or atom.set then
    local length = math.max(1, length_of(atom))
    local most = math.min(atom.high, bytes)
    local set = atom.set or first_of({ alternatives = atom.alternatives, low = 1 }, follow).set
    if atom.low == atom.high then return 1, most * length, false end
    if follow.is_free or atom.set == ANY and atom.high == math.huge and is_end_only(follow.set) then
      return 1, most, true
    end
    return meet(set, follow.set) and most - atom.low + 1 or 1, most * length, false
  end
  if atom.ends then return 1, 1, false end
  if #atom.alternatives == 1 and atom.low == 1 then return ways_of_items(atom.alternatives[1], follow, bytes) end
  for _, items in ipairs(atom.alternatives) do
    local w, s = ways_of_items(items, follow, bytes)
    local first = first_of_items(items, 1, follow)
    are_apart = are_apart and not first.is_free and not meet(firsts, first.set)
    add(firsts, first.set)
    ways, steps = are_apart and math.max(ways, w) or ways + w, steps + s
  end
  if atom.low == 0 then ways, steps = ways + 1, steps + 1 end
  return ways, steps, false
end

function ways_of_items(items, follow, bytes)
  local ways, steps = 1, 0
  for at, atom in ipairs(items) do
    local w, s, arrives = ways_of(atom, first_of_items(items, at + 1, follow), bytes)
    if arrives then return ways, steps + ways + s, true end
    steps = steps + ways * s
    ways = ways * w
  end
  return ways, steps, false
end

--- The number of groups of an expression that can be used; nil and what is wrong with it. The third result are its
--- steps. bytes: of the longest text; max: how many steps there may be.
local function check(text, bytes, max)
  if #text > MAX_BYTES then return nil, ("it is longer than %d bytes"):format(MAX_BYTES) end
  if text:find(" ", 1, true) then return nil, "it has a blank" end
  if text:find("[^\33-\126]") then return nil, "it has characters other than printable ASCII" end
  local is_fixed, steps = text:sub(1, 1) == "^", 0
  local parser = { text = text, at = is_fixed and 2 or 1, groups = 0 }
  for name, fn in pairs(Parser) do parser[name] = fn end
  local ok, message = pcall(function()
    local items, _ = { { alternatives = parser:alternatives(1), low = 1, high = 1 } }, nil
    if parser:peek() == ")" then problem("a ) has no (") end
    -- It may begin anywhere.
    if not is_fixed then table.insert(items, 1, { set = ANY, low = 0, high = math.huge }) end
    _, steps = ways_of_items(items, { set = {}, is_free = true }, bytes or MAX_TEXT)
    if steps > (max or MAX_STEPS) then
      problem("its repeats can take too long: it has too many that may end in several places"
        .. (is_fixed and "" or ", or needs a ^ at its beginning"))
    end
  end)
  if not ok then return nil, tostring(message) end
  if text == "" or text == "^" then return nil, "it is empty" end
  return parser.groups, nil, steps
end

--- The key of a map that is searched by regular expressions: the beginning as it stands, then the expression.
local function key(beginning, expression)
  local rest = expression:match("^%^(.*)$")
  return "^" .. regex_escape(beginning) .. (rest and "(?:" .. rest .. ")" or ".*?(?:" .. expression .. ")")
end

provide("base.patterns", { check = check, key = key, max_text = MAX_TEXT })
