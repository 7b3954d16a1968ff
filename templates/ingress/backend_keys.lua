--- backend_keys.lua — annotations about a backend: the Ingress' value counts before the Service's.
--
-- An Ingress with such an annotation has backends of its own, so that two Ingresses of one Service are independent.

local values = use("ingress.backend_annotations")
local effects = use("effects")

local SERVER_KEYS = { ["server-ssl"] = true, ["server-ca"] = true, ["server-crt"] = true, ["server-sni"] = true,
  ["server-proto"] = true }
local KEYS = { ["standalone-backend"] = true, ["ssl-passthrough"] = true }
for key in pairs(SERVER_KEYS) do KEYS[key] = true end

--- Of two prefixes the first counts.
local PREFIXES = { "haproxy-haptic.org/", "haproxy.org/" }
local ON = { ["true"] = true, on = true, yes = true, enabled = true }
local OFF = { ["false"] = true, off = true, no = true, disabled = true }

--- true or false, or nil when it is neither.
local function read_bool(text)
  text = text:lower()
  if ON[text] then return true end
  if OFF[text] then return false end
  return nil
end

--- The value of a key in the first of these levels that has it: the text, the whole key, and the level. A level is
--- {object=, out=}: out is who is told what is wrong.
local function annotated(levels, key)
  for _, level in ipairs(levels) do
    local annotations = dig(level.object, "metadata", "annotations") or {}
    for _, prefix in ipairs(PREFIXES) do
      local value = annotations[prefix .. key]
      if value ~= nil then return tostring(value):trim(), prefix .. key, level end
    end
  end
  return nil
end

--- Does an Ingress need backends of its own?
local function is_own(ing, service)
  local annotations = dig(ing, "metadata", "annotations")
  if effects.is_own(ing) then return true end
  for name in pairs(annotations or {}) do
    local prefix, key = tostring(name):match("^([^/]+/)(.+)$")
    if SERVER_KEYS[key] and (prefix == PREFIXES[1] or prefix == PREFIXES[2]) then return true end
    if prefix and values.is_key(name) then return true end
  end
  local value = annotated({ { object = ing }, { object = service } }, "standalone-backend")
  return value ~= nil and read_bool(value) == true
end

--- Is it a key about a backend, of ours or of haproxy.org's?
local function is_key(prefix, key)
  return KEYS[key] == true and (prefix .. "/" == PREFIXES[1] or prefix .. "/" == PREFIXES[2])
end

provide("ingress.backend_keys", { annotated = annotated, read_bool = read_bool, is_own = is_own, is_key = is_key })
