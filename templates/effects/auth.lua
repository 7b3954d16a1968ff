--- auth.lua — user names and passwords, from a Secret whose keys are the names and whose values are crypt(3) hashes.
--
-- The list of users and the rule that asks for them are in one fragment, which belongs to the Secret: HAProxy refuses a
-- hash that its system does not know ($apr1$, {SHA}), and then nothing of the fragment is in force. A route that needs
-- a list which is not there answers 503.

local effects = use("effects")

local MAP = "auth.map"

--- A realm: it is part of a fragment's name and of a header.
local function parse_realm(text)
  if #text > 100 or not text:find("^[%w .:_-]+$") then return nil, "letters, digits, blanks and . : _ -" end
  return text
end

--- "name", or "namespace/name": {namespace=, name=}.
local function parse_secret(text)
  local namespace, name = text:match("^([^/]+)/([^/]+)$")
  name = name or text
  if #text > 320 or not name:find("^[a-z0-9][a-z0-9.-]*$") or namespace and not namespace:find("^[a-z0-9-]+$") then
    return nil, "the name of a Secret, with its namespace and a / in front of it or without"
  end
  return { namespace = namespace, name = name }
end

local function list_name(namespace, name) return "users_" .. namespace .. "_" .. name end

local request_users = watched("secrets") and each_requested(resources.secrets, "users", function(secret, out, asked)
  if not secret then return end
  local list = list_name(asked.namespace, asked.name)
  out:section("userlist " .. list, { order = 100, key = "users" }, function(b)
    for user, hash_handle in pairs(secret.data or {}) do
      if user:find("^[%w._-]+$") then b:line("user", user, "password", hash_handle) end
    end
  end)
  local id = list .. "|" .. asked.key
  out:section("frontend http", { order = effects.order.auth, key = "auth " .. id }, function(b)
    local needed = { effects.has("auth"), { "{", "var(txn.auth)", "-m", "str", id, "}" } }
    effects.write(b, "http-request", "auth", "realm", asked.key, "if", needed[1], needed[2], "!{",
      "http_auth(" .. list .. ")", "}")
    effects.write(b, "http-request", "set-var(txn.auth_done)", "bool(true)", "if", needed[1], needed[2])
  end)
end)

effects.declare("auth", {
  place = "auth_before",
  annotations = { "auth_type", "auth_secret", "auth_realm" },
  maps = { MAP },
  rules = function(rule, has)
    rule("http-request", "set-var(txn.auth)", "var(txn.record),map_str(" .. path:map(MAP) .. ")", "if", has("auth"))
  end,
  put = function(values, record, _, ing)
    if not values.auth_type and not values.auth_secret then return nil end
    local ref = values.auth_secret
    if not values.auth_type then return nil, "auth-secret without auth-type" end
    if not ref then return nil, "auth-type without auth-secret" end
    local namespace = ing.metadata.namespace
    if ref.namespace and ref.namespace ~= namespace then
      return nil, "auth-secret names a Secret of another namespace"
    end
    if not request_users then return nil, "auth-secret needs secrets among watchedResources" end
    local secret = resources.secrets:get(namespace, ref.name)
    if not secret then return nil, "auth-secret: there is no Secret " .. namespace .. "/" .. ref.name end
    local users = 0
    for _ in pairs(secret.data or {}) do users = users + 1 end
    if users == 0 then return nil, "auth-secret: the Secret " .. namespace .. "/" .. ref.name .. " has no users" end
    request_users(namespace, ref.name, values.auth_realm)
    record:entry(MAP, "", list_name(namespace, ref.name) .. "|" .. values.auth_realm)
    return { "auth" }
  end,
})

effects.declare("auth-missing", {
  place = "auth_after",
  annotations = {},
  rules = function(rule, has)
    rule("http-request", "deny", "deny_status", 503, "if", has("auth"), "!{", "var(txn.auth_done)", "-m", "found", "}")
  end,
  put = function() return nil end,
})

provide("effects.auth", { parse_realm = parse_realm, parse_secret = parse_secret })
