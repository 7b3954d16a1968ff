--- annotation_policy.lua — a ValidatingAdmissionPolicy from the declarations of annotations.
--
--   luajit tools/annotation_policy.lua        writes examples/annotation-policy.yaml
--
-- The API server then refuses an Ingress whose annotations have values that would be told and passed over. A value is
-- compared with what a regular expression and a range can say of its type; the rest is found when it is rendered.
package.path = "./?.lua;lua/?.lua;" .. package.path
local cjson = require("cjson")
local page = require("tools.annotations")

local M = {}

local SWITCH = "^(?i)(true|on|yes|enabled|1|false|off|no|disabled|0)?$"
local DURATION = "^(([0-9]+(us|ms|s|m|h|d))+)?$"
local ADDRESSES = "^[0-9A-Fa-f.:/,\\s]*$"

--- A CEL expression for the text `v`, and what it must be; nil when nothing can be said.
local function rule(k)
  local function matches(pattern) return ("v.matches(%s)"):format(cjson.encode(pattern):gsub("\\/", "/")) end
  if k.values then
    return ("v == '' || v in %s"):format(cjson.encode(k.values)), "one of " .. table.concat(k.values, ", ")
  end
  if k.type == "switch" then return matches(SWITCH), "true or false" end
  if k.type == "addresses" then return matches(ADDRESSES), "a list of addresses and networks" end
  if k.type == "duration" then
    if k.unit then return matches("^([0-9]+|([0-9]+(us|ms|s|m|h|d))+)?$"), "a duration, such as 5s" end
    return matches(DURATION), "a duration, such as 5s"
  end
  if k.type == "integer" then
    local parts = { matches("^\\s*[0-9]{1,12}\\s*$") }
    if k.min then parts[#parts + 1] = ("int(v.trim()) >= %d"):format(k.min) end
    if k.max then parts[#parts + 1] = ("int(v.trim()) <= %d"):format(k.max) end
    return "v == '' || (" .. table.concat(parts, " && ") .. ")", "a whole number"
  end
  return nil
end

local function quote(text) return "'" .. text:gsub("'", "''") .. "'" end

--- The policy and its binding as YAML.
function M.policy(family)
  local out = {}
  local function add(...) out[#out + 1] = (...):format(select(2, ...)) end
  add("# Written by tools/annotation_policy.lua from the declarations of annotations.")
  add("apiVersion: admissionregistration.k8s.io/v1")
  add("kind: ValidatingAdmissionPolicy")
  add("metadata:")
  add("  name: haptic-annotations")
  add("spec:")
  add("  failurePolicy: Ignore")
  add("  matchConstraints:")
  add("    resourceRules:")
  add("    - {apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [ingresses]}")
  add("  variables:")
  add("  - {name: annotations, expression: 'has(object.metadata.annotations) ? object.metadata.annotations : {}'}")
  add("  validations:")
  for _, k in ipairs(page.keys(family)) do
    local expression, expects
    for _, kind in ipairs(k.on) do
      if kind == "Ingress" and k.type then expression, expects = rule(k) end
    end
    if expression then
      local key = cjson.encode(k.key):gsub("\\/", "/")
      local all = "!(%s in variables.annotations) || [variables.annotations[%s]].all(v, %s)"
      add("  - expression: %s", quote(all:format(key, key, expression)))
      add("    message: %s", quote(k.key .. " must be " .. expects))
    end
  end
  add("---")
  add("apiVersion: admissionregistration.k8s.io/v1")
  add("kind: ValidatingAdmissionPolicyBinding")
  add("metadata:")
  add("  name: haptic-annotations")
  add("spec:")
  add("  policyName: haptic-annotations")
  add("  validationActions: [Deny]")
  add("")
  return table.concat(out, "\n")
end

M.FILE = "examples/annotation-policy.yaml"

if arg and arg[0] and arg[0]:find("annotation_policy.lua", 1, true) then
  local f = assert(io.open(M.FILE, "wb"))
  f:write(M.policy(page.FAMILY))
  f:close()
end

return M
