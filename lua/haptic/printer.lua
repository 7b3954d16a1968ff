--- printer.lua — values for people: objects by their names, tables in order, never a value of a Secret.
local sandbox = require("haptic.sandbox")

local M = {}

local type, ipairs, setmetatable, tostring, rawget = type, ipairs, setmetatable, tostring, rawget
local format, find, rep, gsub = string.format, string.find, string.rep, string.gsub
local concat = table.concat

M.MAX_DEPTH = 5
M.MAX_ITEMS = 60
M.MAX_STRING = 400

-- Texts made by raw(). Values of templates are not indexed, because some raise an error for an unknown name.
local RAW = setmetatable({}, { __mode = "k" })

--- A text that is shown as it is, not as a quoted string.
function M.raw(text)
  local v = { text = text }
  RAW[v] = true
  return v
end

local function is_identifier(s) return find(s, "^[%a_][%w_]*$") ~= nil end

--- "Ingress shop/web" for a Kubernetes object, or nil.
local function object_name(t)
  local m, kind = rawget(t, "metadata"), rawget(t, "kind")
  if type(kind) ~= "string" or type(m) ~= "table" or type(m.name) ~= "string" then return nil end
  return kind .. " " .. (type(m.namespace) == "string" and m.namespace .. "/" or "") .. m.name
end

local function scalar(v)
  if type(v) ~= "string" then return sandbox.tostring(v) end
  if find(v, "^HapticSecret%x+%a%a%a$") then return "<handle of a Secret's value>" end
  if #v > M.MAX_STRING then
    return format("%s… (%d bytes)", (gsub(format("%q", v:sub(1, M.MAX_STRING)), "\\\n", "\\n")), #v)
  end
  return (gsub(format("%q", v), "\\\n", "\\n"))
end

local show

local function entries(t, indent, depth, seen)
  local list, n, is_list = {}, 0, #t > 0
  for _, k in ipairs(sandbox.sorted_keys(t)) do
    n = n + 1
    if n > M.MAX_ITEMS then
      list[#list + 1] = rep("  ", indent + 1) .. format("… %d more", #sandbox.sorted_keys(t) - M.MAX_ITEMS)
      break
    end
    local name
    if not (is_list and type(k) == "number") then
      name = type(k) == "string" and is_identifier(k) and k or "[" .. scalar(k) .. "]"
    end
    list[#list + 1] = rep("  ", indent + 1) .. (name and name .. " = " or "") .. show(t[k], indent + 1, depth + 1, seen)
  end
  return list
end

function show(v, indent, depth, seen)
  if type(v) ~= "table" then return scalar(v) end
  if RAW[v] then return v.text end
  if seen[v] then return "<the same table as above>" end
  local name = object_name(v)
  if name and depth > 0 then return "<" .. name .. ">" end
  if depth >= M.MAX_DEPTH then return "{…}" end
  seen[v] = true
  local ok, list = pcall(entries, v, indent, depth, seen)
  seen[v] = nil
  if not ok then return "<table without an order>" end
  if #list == 0 then return "{}" end
  return (name and name .. " " or "") .. "{\n" .. concat(list, "\n") .. "\n" .. rep("  ", indent) .. "}"
end

--- A value as text.
function M.show(v) return show(v, 0, 0, {}) end

local function yaml_scalar(v)
  if type(v) ~= "string" then return tostring(v) end
  if v ~= "" and find(v, "^[%a/][%w%-%./_]*$") and not find(v:lower(), "^[yn]$") and not
    ({ yes = 1, no = 1, on = 1, off = 1, ["true"] = 1, ["false"] = 1, null = 1 })[v:lower()] then
    return v
  end
  return (gsub(gsub(format("%q", v), "\\\n", "\\n"), "\r", "\\r"))
end

local function yaml(v, indent, depth, lines, first)
  local pad = rep("  ", indent)
  if depth > 32 then error("yaml: nested too deep, or a cycle", 0) end
  for i, k in ipairs(sandbox.sorted_keys(v)) do
    local x = v[k]
    local lead = (i == 1 and first or pad) .. (type(k) == "number" and "-" or yaml_scalar(k) .. ":")
    if type(x) ~= "table" then
      lines[#lines + 1] = lead .. " " .. yaml_scalar(x)
    elseif #sandbox.sorted_keys(x) == 0 then
      lines[#lines + 1] = lead .. " {}"
    elseif type(k) == "number" then
      yaml(x, indent + 1, depth + 1, lines, lead .. " ")
    else
      lines[#lines + 1] = lead
      yaml(x, indent + 1, depth + 1, lines)
    end
  end
end

--- A value as YAML.
function M.yaml(v)
  if type(v) ~= "table" then return yaml_scalar(v) end
  local lines = {}
  yaml(v, 0, 0, lines)
  return #lines > 0 and concat(lines, "\n") or "{}"
end

return M
