--- effects.lua — effects of a route besides its backend.
--
-- In the maps of routes, a value may continue after the backend: "BACKEND@RECORD@+word+word+". The words name the
-- effects of the route. RECORD is the key of their values in the maps of the effects. So two routes to one backend are
-- independent, and a new value is an entry of a map. A request for a route without a record skips all rules of effects
-- at once.
--
-- Effects apply in the fixed order of ORDER, whatever the order of the declarations. The rules of an effect are static:
-- they exist from the start, so its first use needs no reload.

--- Places in the frontend http. After 880, `http-request` rules run only for routes with a record.
local ORDER = {
  source = 881, -- the client's address
  access = 882, -- which clients may ask
  limit = 883,       -- how often
  cors = 884,        -- preflight requests carry no credentials: they are answered before
  redirect = 885, -- before authentication, which a redirect does not need
  auth_before = 886, -- which list of users, and hashes that HAProxy's lists do not support
  auth_hash = 887,   -- those that a script computes
  auth = 888, -- authentication; a piece for each list
  auth_after = 889, -- a missing list
  capture = 890, -- for the log: the request as the client sent it
  header = 891, -- the request as the pod gets it
  host = 892,
  path = 893,
  timeout = 894, -- time limits
  custom = 895,      -- effects of users' scripts
}

local configmap = use("base.configmap")
local effects, is_sorted = {}, true

--- The words of a condition: the route has one of these words.
local function has(...)
  local words = {}
  for i, word in ipairs({ ... }) do
    if i > 1 then words[#words + 1] = "or" end
    for _, w in ipairs({ "{", "var(txn.effects)", "-m", "sub", "+" .. word .. "+", "}" }) do words[#words + 1] = w end
  end
  return words
end

--- Writes a line; a table among the words stands for its words.
local function write(b, ...)
  local words = {}
  for _, word in ipairs({ ... }) do
    if type(word) == "table" then
      for _, w in ipairs(word) do words[#words + 1] = w end
    else
      words[#words + 1] = word
    end
  end
  b:line(unpack(words))
end

--- Declares an effect.
--   place        a name of ORDER
--   annotations  names of declared annotations; put() gets their values
--   follows      false: what the ConfigMap has for these names is no value of routes
--   maps         names of maps
--   backend(rule)     writes its rules in the backends of Ingresses and Services that have one of the annotations; such
--                an Ingress has backends of its own
--   judge(values, tell)  tells what is wrong with what the ConfigMap has, beyond its types: tell(message)
--   rules(rule, has)  writes its rules in the frontend: rule(word, …); has(word, …) gives the words of the condition
--   put(values, record, out, ing)   emits the values of a route by record:entry() and returns its words; or
--                nil and a message: the route is closed
local function declare(name, effect)
  local place = ORDER[effect.place] or fail("effect " .. name .. ": there is no place " .. tostring(effect.place))
  local has_annotation = {}
  for _, declared in ipairs(effect.annotations) do has_annotation[declared] = true end
  effects[#effects + 1] = { name = name, order = place, sequence = #effects, annotations = effect.annotations,
    has_annotation = has_annotation, put = effect.put, follows = effect.follows ~= false, backend = effect.backend }
  if effect.backend then
    -- With the profile of such a backend from the start, the first one needs no reload.
    fragment("effect-" .. name .. "-backend", function(out)
      out:backend("haptic_" .. name, function(b) effect.backend(function(...) write(b, ...) end) end)
    end)
  end
  is_sorted = false
  if effect.rules then
    section("frontend http", { name = "effect-" .. name, order = place, key = "effect " .. name }, function(b)
      effect.rules(function(...) write(b, ...) end, has)
    end)
  end
  if effect.judge then
    -- Each Ingress is told that its routes are closed; the administrator finds the reason at the ConfigMap.
    configmap.each("effect-" .. name, function(out)
      effect.judge(annotated(effect.annotations, { configmap.level() }), function(message)
        out:warn("InvalidReference", message)
      end)
    end)
  end
  if effect.maps then
    fragment("effect-" .. name .. "-maps", function(out)
      for _, map in ipairs(effect.maps) do out:map(map) end
    end)
  end
end

section("frontend http", { name = "effects", order = 880 }, function(b)
  b:line("http-request", "allow", "unless", "{", "var(txn.record)", "-m", "found", "}")
end)

local Record = {}

--- An entry of a map for this record: the key is the record and `suffix`.
function Record.entry(record, map, suffix, value) return record.out:map_entry(map, record.id .. suffix, value) end

--- True when the administrator wrote the value of a declared name: in the ConfigMap, or as a default of the class.
function Record.is_of_administrator(record, name)
  local own = {}
  for _, level in ipairs(record.levels) do
    if level.kind ~= "ConfigMap" and not level.silent then own[#own + 1] = level end
  end
  return annotated({ name }, own)[name] == nil
end

--- The declared annotations of an object; nil when it has none.
local function values_of(object, kind)
  local annotations = dig(object, "metadata", "annotations")
  if annotations == nil then return nil end
  local values
  for key, value in pairs(annotations) do
    local known = annotation(key, kind)
    if known and known.is_honoured and value ~= "" then
      values = values or {}
      values[key] = value
    end
  end
  return values
end

--- The ConfigMap's values for routes, as a level; false when there are none.
local below_all = shared("configmap-effects", function()
  local level, names, values = configmap.level(), {}, nil
  for _, effect in ipairs(effects) do
    for _, name in ipairs(effect.follows and effect.annotations or {}) do names[name] = true end
  end
  for key, value in pairs(level.values) do
    local known = annotation(level.family .. "/" .. key, "ConfigMap")
    if known and known.is_honoured and names[known.name] and value ~= "" then
      values = values or {}
      values[key] = value
    end
  end
  return values and { kind = level.kind, family = level.family, values = values } or false
end)

--- The value of an Ingress's class, for annotations that no level has: key → text, or nil.
local function by_class() return nil end
local function set_class(fn) by_class = fn end

--- Declared name → indexes of the effects that use it, in their order; made when all effects are declared.
local by_name

local function sort_effects()
  effects, is_sorted, by_name = sort_by(sort_by(effects, "sequence"), "order"), true, {}
  for i, effect in ipairs(effects) do
    for _, name in ipairs(effect.annotations) do
      by_name[name] = by_name[name] or {}
      by_name[name][#by_name[name] + 1] = i
    end
  end
end

--- The effects for which a level has an annotation: index → true, and whether there is any. The others write nothing,
--- as for a route without annotations.
local function asked_for(levels)
  local asked, any = {}, false
  for _, level in ipairs(levels) do
    for key in pairs(level.values) do
      local known = annotation(level.family and level.family .. "/" .. key or key, level.kind)
      for _, i in ipairs(known and known.name and by_name[known.name] or {}) do asked[i], any = true, true end
    end
  end
  return asked, any
end

--- The text after the backend in the routes of an Ingress to a Service: "" without effects, nil when these routes are
--- closed.
local function suffix_of(out, ing, service)
  local own, services = values_of(ing, "Ingress"), values_of(service, "Service")
  local below, class = configmap.is_set and below_all() or nil, by_class(ing)
  if not own and not services and not below and not class then return "" end
  if not is_sorted then sort_effects() end
  local levels = {}
  if own then levels[1] = { kind = "Ingress", values = own } end
  if services then levels[#levels + 1] = { kind = "Service", values = services } end
  if below then levels[#levels + 1] = below end
  if class then levels[#levels + 1] = { kind = "Ingress", values = class, silent = true } end
  local asked, any = asked_for(levels)
  if not any then return "" end
  local m = ing.metadata
  local id = m.namespace .. "/" .. m.name
  if services then id = id .. "/" .. service.metadata.name end
  if not id:find("^[%w./-]+$") then id = hash(id) end
  local record = { id = id, out = out, levels = levels, entry = Record.entry,
    is_of_administrator = Record.is_of_administrator }
  local closed = false
  local function tell(kind, key, message)
    if kind == "ConfigMap" then return end
    local what = kind == "Service" and "service " .. service.metadata.name .. ": " or ""
    out:warn("InvalidAnnotation", ("%s%s %s; %s"):format(what, key, message, annotation(key, kind).protects
      and "where no other level has a right one, the routes answer 503" or "it has no effect"))
  end
  local words = {}
  for i, effect in ipairs(effects) do
    if asked[i] then
      local values, wrong = annotated(effect.annotations, levels, tell)
      for _, key in pairs(wrong) do
        local known = annotation(key, "Ingress") or annotation(key, "Service")
        if known and known.protects then
          out:warn("InvalidProtection", key .. " protects and is wrong: answered with 503")
          closed = true
        end
      end
      local given, message = effect.put(values, record, out, ing)
      if message then
        out:warn("InvalidProtection", message .. ": answered with 503")
        closed = true
      end
      for _, word in ipairs(given or {}) do words[#words + 1] = word end
    end
  end
  if closed then return nil end
  if #words == 0 then return "" end
  return "@" .. id .. "@+" .. table.concat(words, "+") .. "+"
end

--- True when an object has one of the annotations of an effect. values: key → text, or nil.
local function is_any_of(effect, values, kind)
  for key in pairs(values or {}) do
    local known = annotation(key, kind)
    if known and effect.has_annotation[known.name] then return true end
  end
  return false
end

local NONE = {}

--- The effects with rules in backends that an object has, in order; not to be changed.
local function backend_effects(object, kind)
  local annotations = dig(object, "metadata", "annotations")
  local class = object and kind == "Ingress" and by_class(object) or nil
  if annotations == nil and class == nil then return NONE end
  local list = {}
  for _, effect in ipairs(effects) do
    if effect.backend and (is_any_of(effect, annotations, kind) or is_any_of(effect, class, kind)) then
      local values, wrong = annotated(effect.annotations, { { kind = kind, values = annotations or {} },
        { kind = kind, values = class or {} } })
      for _, name in ipairs(effect.annotations) do
        if values[name] ~= nil or wrong[name] ~= nil then
          list[#list + 1] = effect
          break
        end
      end
    end
  end
  return list
end

--- True when an Ingress needs its own backends.
local function is_own(ing) return #backend_effects(ing, "Ingress") > 0 end

--- Writes the effects in a backend. ing: the Ingress that owns the backend, or nil.
local function write_backend(b, ing, service)
  local of_ingress, of_service = backend_effects(ing, "Ingress"), backend_effects(service, "Service")
  if #of_ingress == 0 and #of_service == 0 then return end
  local written = {}
  for _, list in ipairs({ of_ingress, of_service }) do
    for _, effect in ipairs(list) do
      if not written[effect.name] then effect.backend(function(...) write(b, ...) end) end
      written[effect.name] = true
    end
  end
end

--- True for a value of routes.
local function is_of_routes(name)
  for _, effect in ipairs(effects) do
    for _, known in ipairs(effect.annotations) do
      if known == name then return true end
    end
  end
  return false
end

provide("effects", { set_class = set_class, is_of_routes = is_of_routes, is_own = is_own,
  write_backend = write_backend, declare = declare, suffix_of = suffix_of, has = has, write = write, order = ORDER })
