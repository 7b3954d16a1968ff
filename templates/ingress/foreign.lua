--- foreign.lua — parts of an Ingress that other controllers honour and this one does not: annotations, `tls`, patterns
--- in paths.
--
-- All of them are reported. A key that protects a route and is not honoured closes the route, unless the administrator
-- decides otherwise.

local families = use("ingress.families")
local has_ssl, ssl = pcall(use, "ssl")
local TLS = has_ssl and ssl.on

settings({
  unsupported_protection = { type = "enum", values = { "refuse", "ignore" }, default = "refuse",
    doc = "what happens to routes whose protection is not honoured" },
  honoured_annotations = { type = "list", pattern = "^[%w./_-]+%*?$", default = {},
    expects = "keys of annotations, or their beginnings with * behind", doc = "what your templates honour" },
  tls_elsewhere = { type = "bool", default = false, doc = "spec.tls needs no warning" },
})

local OURS = "haproxy-haptic.org"
--- The controller's own annotations at an Ingress.
local NOTE = OURS .. "/status-entries"

--- Room for keys in one message.
local MAX_KEYS_BYTES = 800

local REFUSES = context.unsupported_protection == "refuse"

--- Annotations that the administrator's own templates honour: whole keys, or prefixes followed by "*".
local honoured, honoured_beginnings = {}, {}
for _, key in ipairs(context.honoured_annotations) do
  if key:ends_with("*") then
    honoured_beginnings[#honoured_beginnings + 1] = key:sub(1, -2)
  else
    honoured[key] = true
  end
end

local function is_honoured(annotation)
  if honoured[annotation] then return true end
  for _, beginning in ipairs(honoured_beginnings) do
    if annotation:starts_with(beginning) then return true end
  end
  return false
end

local OFF = { [""] = true, ["false"] = true, ["off"] = true, ["no"] = true, ["none"] = true }

--- Configuration text for another proxy that refuses some clients.
local function refuses_in_snippet(key, value)
  return key:find("snippet", 1, true) ~= nil
    and (value:find("%f[%w]deny%f[^%w]") or value:find("%f[%w]auth") or value:find("%f[%w]reject%f[^%w]")) ~= nil
end

--- Keys as a list for a message; keys that do not fit are counted.
local function listed(keys)
  local parts, bytes = {}, 0
  for i, key in ipairs(keys) do
    bytes = bytes + #key + 2
    if bytes > MAX_KEYS_BYTES then
      parts[#parts + 1] = ("and %d more"):format(#keys - i + 1)
      break
    end
    parts[#parts + 1] = key
  end
  return table.concat(parts, ", ")
end

--- Keys of one object for which the nearest known one is looked up.
local MAX_HINTS = 5

--- A key that nobody has declared, with the one that was perhaps meant. hints: how many of these there are already.
local function unknown(name, kind, hints)
  local meant = hints < MAX_HINTS and annotation_near(name, kind)
  return meant and name .. " (did you mean " .. meant .. "?)" or name
end

local function is_switched_on(value) return not OFF[tostring(value):trim():lower()] end

--- Splits the annotations of an object into those that are ignored and those that protect.
local function sorted(object, kind)
  local ignored, protects, canary, hints = {}, {}, nil, 0
  for name, value in pairs(dig(object, "metadata", "annotations") or {}) do
    local prefix, key = tostring(name):match("^([^/]+)/(.+)$")
    local family = families[prefix]
    local known = prefix and annotation(name, kind)
    local is_ours = known and known.is_honoured or is_honoured(name)
    if not is_ours and known then
      local is_closing = known.protects
      if key:find("snippet", 1, true) then is_closing = refuses_in_snippet(key, tostring(value)) end
      local list = is_closing and is_switched_on(value) and protects or ignored
      list[#list + 1] = name .. " (" .. known.refused .. ")"
    elseif not is_ours and family then
      if is_switched_on(value) and (family[key] or refuses_in_snippet(key, tostring(value))) then
        protects[#protects + 1] = name
      elseif key == "canary" and is_switched_on(value) then
        canary = name
      else
        ignored[#ignored + 1], hints = unknown(name, kind, hints), hints + 1
      end
    elseif not is_ours and prefix == OURS and name ~= NOTE then
      ignored[#ignored + 1], hints = unknown(name, kind, hints), hints + 1
    elseif not is_ours and prefix and (prefix:starts_with("backend.") or prefix:starts_with("frontend.")) then
      ignored[#ignored + 1] = name .. " (another controller's administrator has defined it: declare it in a template)"
    end
  end
  return ignored, protects, canary
end

--- Effects that do not restrict access to a route: TLS to servers, and settings.
local BESIDE = { ["server-tls"] = true, settings = true }

--- The first key by which an object protects its routes, honoured or not; nil: none. level: {kind=, values=, family=},
--- as for annotated().
local function protecting(level)
  for name, value in pairs(level.values) do
    local whole = level.family and level.family .. "/" .. tostring(name) or tostring(name)
    local prefix, key = whole:match("^([^/]+)/(.+)$")
    local known = prefix and annotation(whole, level.kind)
    local does = known and known.protects and not BESIDE[known.effect]
      or not known and families[prefix] and families[prefix][key]
    if prefix and key:find("snippet", 1, true) then does = refuses_in_snippet(key, tostring(value)) end
    if does and is_switched_on(value) then return tostring(name) end
  end
  return nil
end

--- Tells the owner which annotations of an object are not honoured. True when its routes must not be served.
local function judge_annotations(out, object, kind, what)
  if dig(object, "metadata", "annotations") == nil then return false end
  local ignored, protects, canary = sorted(object, kind)
  if #ignored > 0 then out:warn("AnnotationIgnored", what .. "these have no effect here: " .. listed(ignored)) end
  if canary then
    out:warn("CanaryNotSupported", canary .. ": canaries are not supported; this Ingress gets no requests")
  end
  if #protects == 0 then return false, canary ~= nil end
  out:warn("ProtectionNotSupported", what .. (REFUSES and "answered with 503, because these" or "these")
    .. " protect and are not honoured: " .. listed(protects))
  return REFUSES, canary ~= nil
end

--- Tells the owner of an Ingress which parts of it are not honoured. Returns whether its routes answer 503, and whether
--- it is a canary, which has no routes of its own.
local function judge_ingress(out, ing)
  if dig(ing, "spec", "tls") ~= nil and not TLS and not context.tls_elsewhere then
    out:warn("TlsNotSupported", "spec.tls is not honoured: the hosts are served without TLS. It needs the library ssl, "
      .. "and Secrets among watchedResources; where something in front of HAProxy ends TLS, set tls_elsewhere")
  end
  return judge_annotations(out, ing, "Ingress", "")
end

--- Tells the owner of a Service which annotations are not honoured, and which values are wrong.
local function judge_service(out, service)
  judge_annotations(out, service, "Service", "")
  for key, value in pairs(dig(service, "metadata", "annotations") or {}) do
    local known = annotation(key, "Service")
    if known and known.is_honoured and known.is_value then
      annotated({ known.name }, { { kind = "Service", values = { [key] = value } } }, function(_, name, message)
        out:warn("InvalidAnnotation", name .. " " .. message .. (known.protects
          and "; what it protects is closed, where no other level has a right one" or "; it has no effect"))
      end)
    end
  end
end

--- True when a Service asks for protection that is not honoured, so that its backends answer 503.
local function is_refused(service)
  if not REFUSES or dig(service, "metadata", "annotations") == nil then return false end
  local _, protects = sorted(service, "Service")
  return #protects > 0
end

--- The path that a rule means. Other controllers write a prefix with "/*" at the end when the type of the path is
--- theirs to define. Patterns are compared as plain text, and the owner is told.
local function path_meant(out, path, path_type)
  if not path:find("[*($]") then return path end
  if path_type == "ImplementationSpecific" and path:ends_with("/*") and not path:sub(1, -2):find("[*($]") then
    return path:sub(1, -2)
  end
  if path:find("*", 1, true) or path:find("(", 1, true) or path:ends_with("$") then
    out:warn("LiteralPath", ("the path %q looks like a pattern; it is compared literally"):format(path))
  end
  return path
end

--- True when an annotation has an effect. kind: "Ingress" or "Service".
local function has_effect(name, kind)
  local known = annotation(name, kind)
  return known and known.is_honoured or is_honoured(name)
end

provide("ingress.foreign", { judge_ingress = judge_ingress, judge_service = judge_service, is_refused = is_refused,
  path_meant = path_meant, is_honoured = has_effect, protecting = protecting })
