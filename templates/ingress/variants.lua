--- variants.lua — several Services for one path, chosen by conditions, such as canaries.
--
-- A path to a Service with a condition is a variant when another path of its namespace has the same host, path and
-- type, and leads to a Service without a condition: the main Service. Then the main Service has the route, even if it
-- is younger. A request whose route leads to the main Service goes to the variant instead when the condition is true.
-- So no Ingress takes requests of another namespace. Without a main Service, the path is an ordinary route.
--
-- Each condition is a rule of the frontend, because it cannot be a value of a map; all else are entries of maps.

local classes, foreign, names = use("ingress.classes"), use("ingress.foreign"), use("ingress.names")
local passthrough, tls = use("ingress.passthrough"), use("ingress.tls")
local backend_values = use("ingress.backend_annotations")

--- Replaces an invalid backend of a main Service: no route leads there.
local NO_BACKEND = "-"

--- The limit of conditions for one path.
local MAX_CONDITIONS = 16

local SILENT = { event = function() end, warn = function() end }

local function id_of(condition) return hash(table.concat(condition, " ")):sub(1, 16) end

--- The client certificates that an Ingress requires, as a text.
local function clients_of(ing)
  return tls.protects and tls.clients_value(ing) or ""
end

local function is_served(ing)
  if not classes.mode_of(ing, SILENT) then return false end
  local _, is_canary = foreign.judge_ingress(SILENT, ing)
  return not is_canary and passthrough.state(SILENT, ing) == nil
end

--- The Ingresses of a namespace that are served, the oldest first.
local function ingresses_of(namespace)
  local list = {}
  for _, ing in ipairs(resources.ingresses:fetch(namespace)) do
    if is_served(ing) then
      list[#list + 1] = { ing = ing, age = tostring(ing.metadata.creationTimestamp or "") .. "\n" .. ing.metadata.name }
    end
  end
  return sort_by(list, "age")
end

--- place and backend_name: as the routes are made: of a path, its map and its key without the host; of a Service, the
--- name of its backend.
local function make(place, backend_name)
  --- Paths of a namespace with a main Service: map and key → {main=, clients=, ranks=}. ranks: condition → its place
  --- among those of the path.
  local of_namespace = shared("variants-of-namespace", function(namespace)
    local all, with_main = {}, {}
    local function add(ing, host, p)
      local map, route = place(SILENT, p)
      local service = dig(p, "backend", "service")
      if not map or type(service) ~= "table" or not names.is_label(service.name) then return end
      local id = map .. "\n" .. host .. route
      local here = all[id] or { ranks = {}, count = 0 }
      all[id] = here
      local condition = backend_values.condition_of(resources.services:get(namespace, service.name))
      if condition == nil then
        here.main = here.main or backend_name(ing, service) or NO_BACKEND
        here.clients = here.clients or clients_of(ing)
      elseif condition then
        local condition_id = id_of(condition)
        if not here.ranks[condition_id] then
          here.count = here.count + 1
          here.ranks[condition_id] = here.count
        end
      end
    end
    for _, entry in ipairs(ingresses_of(namespace)) do
      for _, rule in ipairs(dig(entry.ing, "spec", "rules") or {}) do
        local host = names.host_key(rule.host)
        for _, p in ipairs(host and dig(rule, "http", "paths") or {}) do add(entry.ing, host, p) end
      end
    end
    for id, here in pairs(all) do
      if here.main then with_main[id] = here end
    end
    return with_main
  end)

  -- For one path, so that its variants do not run again after changes of others.
  local at = shared("variants-of-path", function(key)
    local namespace, id = key:match("^([^\n]*)\n(.*)$")
    return of_namespace(namespace)[id] or false
  end)

  --- What there is at the place of a path to a Service with a condition (false for a wrong one); nil when it is a route
  --- like any other.
  local function of(ing, map, key, condition)
    if condition == nil or passthrough.state(SILENT, ing) ~= nil then return nil end
    local here = at(ing.metadata.namespace .. "\n" .. map .. "\n" .. key)
    -- The required client certificates are known before the condition.
    return here and here.clients == clients_of(ing) and here or nil
  end

  return of
end

--- The place of a variant, from the request's own path and main Service.
local function write_look_up(b)
  local function look_up(text, map)
    b:line("http-request", "set-var(txn.variant_at)", "var(txn.backend)," .. text .. "," .. map, "if", "{",
      "var(txn.has_variant)", "-m", "found", "}", "!{", "var(txn.variant_at)", "-m", "found", "}")
  end
  local exact = "map_str(" .. path:map("variant-exact.map") .. ")"
  local prefix = "map_beg(" .. path:map("variant-prefix.map") .. ")"
  b:line("http-request", "set-var(txn.has_variant)", "var(txn.backend),map_str(" .. path:map("variant-main.map") .. ")")
  look_up("concat(@,txn.host),concat(,txn.path)", exact)
  look_up("concat(@,txn.host),concat(,txn.path,/)", prefix)
  look_up("concat(@*.,txn.domain),concat(,txn.path)", exact)
  look_up("concat(@*.,txn.domain),concat(,txn.path,/)", prefix)
  look_up("concat(@,txn.path)", exact)
  look_up("concat(@,txn.path,/)", prefix)
end

--- The variant's route instead of the main one.
local function write_choice(b)
  local is_chosen = { "if", "{", "var(txn.variant)", "-m", "found", "}" }
  local has_record = { "if", "{", "var(txn.variant)", "-m", "sub", "@", "}" }
  b:line("http-request", "unset-var(txn.record)", unpack(is_chosen))
  b:line("http-request", "unset-var(txn.effects)", unpack(is_chosen))
  b:line("http-request", "set-var(txn.record)", "var(txn.variant),field(2,@)", unpack(has_record))
  b:line("http-request", "set-var(txn.effects)", "var(txn.variant),field(3,@)", unpack(has_record))
  b:line("http-request", "set-var(txn.backend)", "var(txn.variant),field(1,@)", unpack(is_chosen))
end

--- Put a variant out. here: as of() gave it; key: host and path; value: of its route. false when the Ingress has
--- another one with the same condition there.
local function put(out, here, map, key, condition, value)
  -- A wrong condition is never true; the Service's owner is told.
  if not condition then return true end
  local id = id_of(condition)
  local rank = here.ranks[id]
  if not rank or rank > MAX_CONDITIONS then
    out:warn("TooManyConditions", ("%s has more than %d conditions; only the oldest ones are used")
      :format(key, MAX_CONDITIONS))
    return true
  end
  local is_exact = map == "path-exact.map"
  local spot = hash(map .. "\n" .. here.main .. "@" .. key):sub(1, 16)
  for _, name in ipairs({ "variant-main.map", "variant-exact.map", "variant-prefix.map" }) do out:map(name) end
  out:map("variant.map", { duplicate = "DuplicatePath", means = "condition at host and path" })
  out:map_entry("variant-main.map", here.main, "yes")
  out:map_entry(is_exact and "variant-exact.map" or "variant-prefix.map", here.main .. "@" .. key, spot)
  out:section("frontend http", { order = 503, key = "variants" }, write_look_up)
  out:section("frontend http", { order = 504, key = ("variant %02d %s"):format(rank, id) }, function(b)
    local words = { "http-request", "set-var(txn.variant)",
      "str(" .. id .. "@),concat(,txn.variant_at),map_str(" .. path:map("variant.map") .. ")", "if", "{",
      "var(txn.variant_at)", "-m", "found", "}", "!{", "var(txn.variant)", "-m", "found", "}", "{" }
    for _, w in ipairs(condition) do words[#words + 1] = w end
    words[#words + 1] = "}"
    b:line(unpack(words))
  end)
  out:section("frontend http", { order = 505, key = "variant chosen" }, write_choice)
  return out:map_entry("variant.map", id .. "@" .. spot, value) ~= false
end

provide("ingress.variants", { make = make, put = put })
