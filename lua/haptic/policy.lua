--- policy.lua — exports declared annotations: a list of keys, and admission policies.
--
-- With a policy, the API server refuses an object with an annotation of a wrong type, instead of the controller, which
-- would report and ignore the annotation. The check is limited to what CEL can express; other errors are found at
-- rendering.
local declare = require("haptic.declare")
local helpers = require("haptic.helpers")
local sandbox = require("haptic.sandbox")

local M = {}

local error, ipairs, pairs, pcall, select, tonumber, type = error, ipairs, pairs, pcall, select, tonumber, type
local format, gsub, match, concat = string.format, string.gsub, string.match, table.concat

--- Kinds of objects that policies are made for, and their names in the API.
local KINDS = { { kind = "Ingress", group = "networking.k8s.io", resource = "ingresses" },
  { kind = "Service", group = "", resource = "services" } }
--- An answer of this process is limited to 16 KiB.
local MAX_ANSWER = 15000
local ACTIONS = { deny = "Deny", warn = "Warn", audit = "Audit" }

--- The requirement for a value, as in the message to its owner. No type accepts this text.
local function expected(spec)
  local _, message = declare.read(spec, "\1")
  return message and match(message, "^must be (.*), not .-$") or nil
end

--- All keys of these families (nil: of all), in order: see Annotations:keys(); and expects.
function M.keys(annotations, prefixes)
  local wanted, list = {}, {}
  for _, prefix in ipairs(prefixes or {}) do wanted[prefix] = false end
  local families = {}
  for _, entry in pairs(annotations.by_key) do
    if prefixes == nil or wanted[entry.prefix] ~= nil then families[entry.prefix] = true end
  end
  for _, prefix in ipairs(prefixes or {}) do
    if not families[prefix] then error(format("no annotation with the prefix %s is declared", prefix), 0) end
  end
  for _, prefix in ipairs(sandbox.sorted_keys(families)) do
    for _, row in ipairs(annotations:keys(prefix)) do
      local entry = annotations.by_key[row.key]
      local reader = entry.reader or entry.spec
      row.prefix, row.expects = prefix, reader and expected(reader) or nil
      if row.type == "switch" or row.type == "bool" then row.values = { "true", "false" } end
      list[#list + 1] = row
    end
  end
  return list
end

--- The keys as JSON, for editors and shells: one object in each line.
function M.json(keys)
  local lines = {}
  for i, row in ipairs(keys) do
    lines[i] = "  " .. helpers.json_encode({ key = row.key, kinds = row.on, has_effect = not row.refused,
      type = row.type, values = row.values, min = row.min, max = row.max, unit = row.unit, shape = row.shape,
      default = row.default, expects = row.expects, description = row.doc, effect = row.effect, reload = row.reload,
      protects = row.protects or nil, reason = row.reason, note = row.note,
      replaced_by = row.old_for and row.prefix .. "/" .. row.old_for or nil })
  end
  return '{"annotations": [\n' .. gsub(concat(lines, ",\n"), "\\/", "/") .. "\n]}\n"
end

--- The keys for people: key, kinds, what a value must be.
function M.text(keys)
  local lines = {}
  for i, row in ipairs(keys) do
    local says = row.refused and "no effect: " .. row.reason or row.reason
      or row.old_for and "an older spelling of " .. row.old_for or row.expects or row.type
    lines[i] = concat({ row.key, concat(row.on, ","), says }, "\t")
  end
  return concat(lines, "\n") .. "\n"
end

--- A text as a CEL string.
local function cel(text)
  return '"' .. gsub(gsub(text, '[\\"]', "\\%0"), "[%c\127-\255]", function(c)
    return c:byte() < 128 and format("\\x%02x", c:byte()) or c
  end) .. '"'
end

local function matches(pattern) return "v.matches(" .. cel(pattern) .. ")" end

--- Milliseconds of a duration such as "1m30s", as a number.
local MS = { us = 0.001, ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }
local function milliseconds(text)
  local total = 0
  for number, unit in text:gmatch("%f[%d](%d+)(%l+)") do total = total + tonumber(number) * MS[unit] end
  return total
end

local function range(value, min, max)
  local parts = {}
  if min then parts[#parts + 1] = format("%s >= %d", value, min) end
  if max then parts[#parts + 1] = format("%s <= %d", value, max) end
  return #parts > 0 and concat(parts, " && ") or nil
end

local RULES = {}

function RULES.switch() return matches("^(?i)(true|t|on|yes|enabled|1|false|f|off|no|disabled|0)$") end
function RULES.bool() return matches("^(true|false)$") end
function RULES.enum(row) return "v in " .. helpers.json_encode(row.values) end
function RULES.size() return matches("^[0-9]+([kKmMgG][iI]?)?$") end

--- A text without further declaration is not checked: an annotation is always text.
function RULES.text(row) return row.shape and matches(row.shape) end

function RULES.integer(row)
  local limits = range("int(v)", row.min, row.max)
  return matches("^[+-]?[0-9]{1,15}$") .. (limits and " && " .. limits or "")
end

function RULES.lines(row)
  local rule = "!" .. matches("[\\x00-\\x09\\x0b\\x0c\\x0e-\\x1f\\x7f]")
  if row.max then
    rule = rule .. format(" && v.findAll(%s).size() <= %d", cel("[^\\r\\n]*[^\\s][^\\r\\n]*"), row.max)
  end
  return rule
end

function RULES.addresses(row)
  local named = row.references and format(" || a.startsWith(%s)", cel(row.references)) or ""
  return "v.findAll(" .. cel("[^,\\s]+") .. ").all(a, isIP(a) || isCIDR(a)" .. named .. ")"
end

--- CEL has no days, so a value in days is not compared with the limits.
function RULES.duration(row)
  local min, max = row.min and milliseconds(row.min), row.max and milliseconds(row.max)
  local shape = matches("^([0-9]{1,9}(us|ms|s|m|h|d))+$")
  local parts = {}
  if min then parts[#parts + 1] = format("duration(v) >= duration(%s)", cel(format("%dus", min * 1000))) end
  if max then parts[#parts + 1] = format("duration(v) <= duration(%s)", cel(format("%dus", max * 1000))) end
  local limits = #parts > 0 and " && (v.contains(\"d\") || " .. concat(parts, " && ") .. ")" or ""
  if not row.unit then return shape .. limits end
  local plain = row.unit ~= "us" and range(format("int(v) * %d", MS[row.unit]), min, max)
  return format("(%s ? %s : %s%s)", matches("^[0-9]{1,12}$"), plain or "true", shape, limits)
end

local function quote(text) return "'" .. gsub(text, "'", "''") .. "'" end

--- One validation: the rule, and the message that the owner would otherwise get as an Event.
local function add_validation(add, row)
  local rule, key = RULES[row.type](row), cel(row.key)
  local value = "variables.annotations[" .. key .. "]"
  local shown = format("(%s.size() > 60 ? %s.substring(0, 57) + \"...\" : %s)", value, value, value)
  local sentence = row.key .. " must be " .. row.expects
  add("  - expression: %s", quote(format("!(%s in variables.annotations) || [%s.trim()].all(v, v == \"\" || (%s))", key,
    value, rule)))
  add("    message: %s", quote(sentence))
  add("    messageExpression: %s", quote(cel(sentence .. ', not "') .. " + " .. shown .. ' + "\\""'))
end

local function add_policy(add, kind, keys, name, action)
  add("apiVersion: admissionregistration.k8s.io/v1")
  add("kind: ValidatingAdmissionPolicy")
  add("metadata:")
  add("  name: %s", name)
  add("spec:")
  add("  failurePolicy: Ignore")
  add("  matchConstraints:")
  add("    resourceRules:")
  add("    - apiGroups: [%s]", cel(kind.group))
  add("      apiVersions: [v1]")
  add("      operations: [CREATE, UPDATE]")
  add("      resources: [%s]", kind.resource)
  add("  variables:")
  add("  - name: annotations")
  add("    expression: 'has(object.metadata.annotations) ? object.metadata.annotations : {}'")
  add("  validations:")
  for _, row in ipairs(keys) do add_validation(add, row) end
  add("---")
  add("apiVersion: admissionregistration.k8s.io/v1")
  add("kind: ValidatingAdmissionPolicyBinding")
  add("metadata:")
  add("  name: %s", name)
  add("spec:")
  add("  policyName: %s", name)
  add("  validationActions: [%s]", ACTIONS[action])
end

--- Policies and their bindings as YAML: one for each kind of objects that has such keys.
---@param options table name, action ("deny", "warn", "audit")
function M.yaml(keys, options)
  local name, action = options.name or "haptic-annotations", options.action or "deny"
  if not match(name, "^[a-z0-9][a-z0-9.-]*$") or #name > 200 then
    error("a policy's name is letters, digits, - and .", 0)
  end
  if not ACTIONS[action] then error("an action is deny, warn or audit", 0) end
  local out = {}
  local function add(...) out[#out + 1] = select("#", ...) > 1 and format(...) or (...) end
  for _, kind in ipairs(KINDS) do
    local own = {}
    for _, row in ipairs(keys) do
      local applies = false
      for _, on in ipairs(row.on) do applies = applies or on == kind.kind end
      if applies and RULES[row.type or ""] and RULES[row.type](row) then own[#own + 1] = row end
    end
    if #own > 0 then
      add(#out == 0 and "# Made by \"haptic policy\" from the declarations of annotations." or "---")
      add_policy(add, kind, own, name .. "-" .. kind.resource, action)
    end
  end
  if #out == 0 then error("no key has a type that a policy can check", 0) end
  return concat(out, "\n") .. "\n"
end

--- The answer to a question from outside of the process.
---@param annotations table of a loaded program
---@param options table what ("json", "text", "policy"), prefixes, name, action; from: bytes that the asker has already
---@return string "STATUS\nTEXT": ok, more (the text goes on), error
function M.answer(annotations, options)
  local ok, text = pcall(function()
    local prefixes = options.prefixes
    local keys = M.keys(annotations, type(prefixes) == "table" and #prefixes > 0 and prefixes or nil)
    if options.what == "policy" then return M.yaml(keys, options) end
    return options.what == "text" and M.text(keys) or M.json(keys)
  end)
  if not ok then return "error\n" .. sandbox.tostring(text) end
  local from = tonumber(options.from) or 0
  return (#text > from + MAX_ANSWER and "more\n" or "ok\n") .. text:sub(from + 1, from + MAX_ANSWER)
end

return M
