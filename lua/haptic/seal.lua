--- seal.lua — checks whether a table is unchanged.
--
-- A seal is a flat list of all values that a walk through a table and its nested tables finds, in the order of `next`.
-- This order stays the same while nothing is assigned. So a comparison creates no tables and computes no hashes.
local M = {}

local next, type = next, type

--- Deepest nesting that a sealed value may have.
M.MAX_DEPTH = 200

local END = {}

local function walk(t, seal, n, depth, state)
  if depth > M.MAX_DEPTH then return nil, "is nested deeper than " .. M.MAX_DEPTH .. " levels" end
  state[t] = 1
  for k, v in next, t do
    seal[n + 1], seal[n + 2] = k, v
    n = n + 2
    if type(v) == "table" then
      local known = state[v]
      if known == 1 then return nil, "contains itself" end
      if not known then
        local problem
        n, problem = walk(v, seal, n, depth + 1, state)
        if not n then return nil, problem end
      end
    end
  end
  seal[n + 1] = END
  state[t] = 2
  return n + 1
end

--- The seal of a table. A table with several references is walked through once.
---@param t table
---@return table|nil seal
---@return string|nil problem "contains itself", "is nested deeper than …"
function M.make(t)
  local seal = {}
  local n, problem = walk(t, seal, 0, 1, {})
  if not n then return nil, problem end
  return seal
end

local function compare(t, seal, n, seen)
  seen[t] = true
  for k, v in next, t do
    local was = seal[n + 2]
    if seal[n + 1] ~= k or was ~= v and (v == v or was == was) then return nil end
    n = n + 2
    if type(v) == "table" and not seen[v] then
      n = compare(v, seal, n, seen)
      if not n then return nil end
    end
  end
  if seal[n + 1] ~= END then return nil end
  return n + 1
end

--- True when the table, with its nested tables, is unchanged since the seal was made.
---@param t table
---@param seal table
---@return boolean
function M.holds(t, seal) return compare(t, seal, 0, {}) ~= nil end

return M
