--- classes.lua — the Ingresses that this controller serves, and the mode of their status.
--
-- It serves the classes of its controller name, and the class with its own name. ingress_classes adds others: during a
-- migration, classes of another controller, which may serve them at the same time.

settings({
  controller_name = { type = "text", default = "haproxy-haptic.org/controller",
    doc = "spec.controller of the IngressClasses that are ours" },
  ingress_class = { type = "text", default = "haptic", doc = "a class that is ours even without an IngressClass" },
  ingress_classes = { type = "records", default = {},
    fields = {
      name = { type = "text", pattern = "^[a-z0-9][a-z0-9.-]*$", expects = "the name of a class" },
      controller = { type = "text", pattern = "^%w[%w./_-]*$", expects = "spec.controller of IngressClasses" },
      status = { type = "enum", values = { "never", "handover", "own" }, default = "own" },
      defaults = { type = "map" },
    },
    parse = function(list)
      for _, entry in ipairs(list) do
        if not entry.name and not entry.controller then return nil, "a list of records with name or controller" end
      end
      return list
    end,
    doc = "further classes that are served: by name, by controller or by both; whether their status is written, and "
      .. "annotations that their Ingresses have by default" },
  watch_without_class = { type = "bool", doc = "take Ingresses without a class" },
})

local effects = use("effects")
local CONTROLLER, CLASS = context.controller_name, context.ingress_class
local FURTHER = context.ingress_classes

--- What stands for our own class.
local OWN = { status = "own" }

--- The entry for a class; nil: the class is not served. controller: nil when there is no such IngressClass.
local function entry_of(name, controller)
  for _, by_name in ipairs({ true, false }) do
    for _, entry in ipairs(FURTHER) do
      local same_controller = entry.controller == controller or entry.controller == nil
      if by_name and entry.name == name and (same_controller or controller == nil) then return entry end
      if not by_name and entry.name == nil and controller ~= nil and same_controller then return entry end
    end
  end
  local is_ours = controller == CONTROLLER or name == CLASS and controller == nil
  return is_ours and OWN or nil
end

--- served: class → entry, false for one of another controller; without: the entry of Ingresses without a class, or nil.
local classes = shared("classes", function()
  local served, any, any_default, default = {}, false, false, nil
  served[CLASS] = entry_of(CLASS, nil)
  for _, entry in ipairs(FURTHER) do
    if entry.name then served[entry.name] = entry_of(entry.name, nil) end
  end
  local own = served[CLASS]
  -- With rights in some namespaces only, IngressClasses cannot be read: only names count, and nothing is known about
  -- other classes.
  if not watched("ingressclasses") then
    return { served = served, without = context.watch_without_class == true and own or nil, unknown = true }
  end
  for _, class in ipairs(resources.ingressclasses:list()) do
    any = true
    local entry = entry_of(class.metadata.name, dig(class, "spec", "controller") or "")
    served[class.metadata.name] = entry or false
    if dig(class, "metadata", "annotations", "ingressclass.kubernetes.io/is-default-class") == "true" then
      any_default = true
      default = default or entry
    end
  end
  local without = context.watch_without_class
  if without == nil then without = not any end
  return { served = served, without = default or without and own or nil, any_default = any_default }
end)

local function class_of(ing)
  local class = dig(ing, "spec", "ingressClassName")
  if class == nil then class = dig(ing, "metadata", "annotations", "kubernetes.io/ingress.class") end
  return class
end

--- The mode of the status of an Ingress that is served here: "never", "handover" or "own"; nil when it is not served.
--- If no controller serves it then, its owner is told.
local function mode_of_ingress(ing, out)
  local class, known = class_of(ing), classes()
  if class == nil or class == "" then
    if not known.without and not known.any_default and not known.unknown then
      out:event("ClassNotFound", "the Ingress names no class, and no IngressClass is the default: it is not served")
    end
    return known.without and known.without.status
  end
  if dig(ing, "spec", "ingressClassName") ~= nil and known.served[class] == nil and not known.unknown then
    out:event("ClassNotFound", ("there is no IngressClass %s; the Ingress is not served here"):format(tostring(class)))
  end
  local entry = known.served[class]
  return entry and entry.status or nil
end

local HAS_DEFAULTS = false
for _, entry in ipairs(FURTHER) do HAS_DEFAULTS = HAS_DEFAULTS or entry.defaults ~= nil end

--- The values of annotations that an Ingress gets from its class: key → text, or nil.
local function defaults_of(ing)
  if not HAS_DEFAULTS then return nil end
  local class, known = class_of(ing), classes()
  local entry = known.served[class]
  if class == nil or class == "" then entry = known.without end
  return entry and entry.defaults or nil
end
effects.set_class(defaults_of)

--- Names of annotations that a class can have, besides those of routes.
local REDIRECT = { ssl_redirect = true, ssl_redirect_code = true, ssl_redirect_port = true }

if #FURTHER > 0 then
  fragment("further-classes", function(out)
    for _, entry in ipairs(FURTHER) do
      if not entry.name and not watched("ingressclasses") then
        out:warn("InvalidSetting", ("ingress_classes: which classes are those of %s is not known, as ingressclasses "
          .. "is not among watchedResources: name them"):format(entry.controller))
      end
      for key, value in pairs(entry.defaults or {}) do
        local what = ("ingress_classes: defaults of %s: %s "):format(entry.name or entry.controller, key)
        local known = annotation(key, "Ingress")
        if not known or not known.is_honoured or not (REDIRECT[known.name] or effects.is_of_routes(known.name)) then
          out:warn("InvalidSetting", what .. "is no annotation about routes")
        else
          annotated({ known.name }, { { kind = "Ingress", values = { [key] = value } } }, function(_, _, message)
            out:warn("InvalidSetting", what .. message)
          end)
        end
      end
    end
  end)
end

--- True when another controller serves the class. Unknown while its IngressClass is missing.
local function is_others(ing)
  local class = dig(ing, "spec", "ingressClassName")
  return class ~= nil and classes().served[class] == false
end

provide("ingress.classes", { mode_of = mode_of_ingress, is_others = is_others, defaults_of = defaults_of,
  has_defaults = HAS_DEFAULTS })
