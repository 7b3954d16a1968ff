--- addresses_named.lua — lists of addresses that the administrator keeps in a ConfigMap, and that annotations name:
--- patterns/NAME.
--
-- The entries of such a list exist once, for all routes that name it; a route's record contains its name. A list with
-- an invalid line does not exist: routes that it protects stay closed.

local addresses, configmap = use("effects.addresses"), use("base.configmap")

settings({
  pattern_lists = { type = "text", pattern = "^[a-z0-9-]+/[a-z0-9][a-z0-9.-]*$",
    expects = "namespace/name of a ConfigMap",
    doc = "lists of addresses that annotations name by patterns/NAME" },
})

local MAP, BEGINNING, KEY = "address-lists.map", "patterns/", "patterns:"

local lists = configmap.named(context.pattern_lists, "pattern-lists")

--- A list with at most one name in it.
local function parse(list)
  local count = 0
  for _, item in ipairs(list) do
    if item:starts_with(BEGINNING) then count = count + 1 end
  end
  if count > 1 then return nil, "a list with one " .. BEGINNING .. "NAME at most" end
  return list
end

--- The keys of a list's lines; nil and which line is wrong.
local function keys_of(text)
  local all, number = {}, 0
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    local item = line:gsub("#.*$", ""):trim()
    if item ~= "" then
      local some = addresses.keys_of(item)
      if not some then return nil, ("line %d is no address or network"):format(number) end
      for _, key in ipairs(some) do all[#all + 1] = key end
    end
  end
  return all
end

lists.each(function(data, out)
  for name, text in pairs(data) do
    local all, problem = keys_of(text)
    if not name:find("^%w[%w._-]*$") then all, problem = nil, "its name is not of letters, digits and . _ -" end
    if problem then
      out:warn("InvalidList", ("%s: %s; routes that it protects answer 503"):format(name, problem))
    end
    for _, key in ipairs(all or {}) do out:map_entry(addresses.map, KEY .. name .. ":" .. key, "1") end
  end
end)

--- The valid lists: name → true, or what is wrong.
local known = shared("pattern-list-names", function()
  local names = {}
  for name, text in pairs(lists.data()) do
    local all, problem = keys_of(text)
    names[name] = all and true or problem
  end
  return names
end)

--- The error in the name of a list; nil when there is none.
local function problem_of(name)
  if not lists.is_set then return "there are no lists: the setting pattern_lists names no ConfigMap" end
  local state = known()[name]
  if state == nil then return "there is no list " .. BEGINNING .. name end
  return state ~= true and BEGINNING .. name .. ": " .. state or nil
end

--- Reports errors in the lists that the ConfigMap's values name. names: of declared annotations.
local function judge(names, values, consequence, tell)
  for _, name in ipairs(names) do
    for _, item in ipairs(values[name] or {}) do
      local problem = item:starts_with(BEGINNING) and problem_of(item:sub(#BEGINNING + 1))
      if problem then tell(name:gsub("_", "-") .. ": " .. problem .. "; " .. consequence) end
    end
  end
end

--- Writes a list of a record, and the name in it. Returns the word of the route for that name, or nil and what is
--- wrong.
local function put(record, list, items)
  local networks, name = {}, nil
  for _, item in ipairs(items) do
    if item:starts_with(BEGINNING) then
      name = item:sub(#BEGINNING + 1)
    else
      networks[#networks + 1] = item
    end
  end
  addresses.put(record, list, networks)
  if not name then return nil end
  local problem = problem_of(name)
  if problem then return nil, problem end
  record:entry(MAP, ":" .. list, KEY .. name)
  return list .. "-named"
end

--- Writes the rule that finds a list's name.
local function write(rule, has, list)
  rule("http-request", "set-var(txn.list_" .. list .. ")",
    "var(txn.record),concat(:" .. list .. "),map_str(" .. path:map(MAP) .. ")", "if", has(list .. "-named"))
end

--- The words of a condition: the client is in the list that is named.
local function listed(list, negated)
  local key = "var(txn.list_" .. list .. "),concat(:,txn.ip_key)"
  return { negated and "!{" or "{", key .. ",map_beg(" .. path:map(addresses.map) .. ")", "-m", "found", "}" }
end

provide("effects.addresses_named", { BEGINNING = BEGINNING, map = MAP, parse = parse, put = put, write = write,
  judge = judge, listed = listed })
