--- auth.lua — user names and passwords, from a Secret whose keys are the names and whose values are hashes.
--
-- Hashes of crypt(3) become a user list of HAProxy. The list and the rule that uses it are in one fragment, which
-- belongs to the Secret: HAProxy refuses a hash that its system does not support, and then no part of the fragment is
-- in force. {SHA} and $apr1$, which htpasswd makes, are entries of a map that the request's password is compared with.
-- A route whose list does not exist answers 503.

local effects, apr1 = use("effects"), use("effects.apr1")

local MAP, HASHES = "auth.map", "auth-hashes.map"

--- From this time in microseconds on, a login (a fact of the core, which leaves it out when it is too long) noticeably
--- delays other requests, because HAProxy's thread computes it.
local SLOW_US = 15000
--- The limit for all users of a list together: HAProxy computes each hash once when it reads its configuration.
local LIST_US = 5000000

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
    return nil, "the name of a Secret, or NAMESPACE/NAME"
  end
  return { namespace = namespace, name = name }
end

local function list_name(namespace, name) return "users_" .. namespace .. "_" .. name end

--- The users of a Secret by the method that verifies their passwords: {crypt=, sha1=, apr1=, none=}, lists of names.
--- tell(reason, message) is called for users that cannot log in, or whose login is slow.
local function sort_users(secret, tell)
  local by, sum = { crypt = {}, sha1 = {}, apr1 = {}, none = {} }, 0
  for _, user in ipairs(keys(secret.data or {})) do
    local facts = dig(secret, "passwords", user) or {}
    local scheme, kind, us = facts.scheme, "crypt", facts.microseconds
    if not user:find("^[%w._-]+$") then
      kind = "none"
    elseif facts.line_end then
      kind = "none"
      tell("UserCannotLogIn", user .. ": a line end is behind the hash; write it without one, as printf %s does")
    elseif scheme == "ssha" then
      kind = "none"
      tell("UserCannotLogIn", user .. ": {SSHA} is not supported; make a new hash with `htpasswd -nb2 USER PASSWORD`")
    elseif scheme == "sha1" then
      kind = "sha1"
    elseif scheme == "apr1" then
      kind = apr1.on and "apr1" or "none"
      if not apr1.on then
        tell("UserCannotLogIn", user .. ": $apr1$ needs a HAProxy with Lua; make a new hash with `openssl passwd -5`")
      end
    elseif not us then
      kind = "none"
      tell("UserCannotLogIn", user .. ": " .. (scheme and "to compare a password with this hash takes too long, or "
        .. "nobody knows how long: HAProxy would answer no other request meanwhile" or "it is no hash of a known kind")
        .. "; make it anew by `openssl passwd -5`")
    elseif sum + us > LIST_US then
      kind = "none"
      tell("UserCannotLogIn", user .. ": the hashes of this list take too long together; make new ones with "
        .. "`openssl passwd -5`")
    elseif us > SLOW_US then
      tell("SlowPasswordHash", ("%s: each request with a password computes %s%s, and other requests wait; "
        .. "`openssl passwd -5` makes one that is quick"):format(user, scheme,
        facts.cost and " (" .. facts.cost .. ")" or ""))
    end
    if kind == "crypt" then sum = sum + us end
    by[kind][#by[kind] + 1] = user
  end
  return by
end

local request_users = watched("secrets") and each_requested(resources.secrets, "users", function(secret, out, asked)
  if not secret then return end
  local list = list_name(asked.namespace, asked.name)
  if #keys(secret.data or {}) == 0 then return end
  local by = sort_users(secret, function(reason, message) out:warn(reason, message) end)
  out:section("userlist " .. list, { order = 100, key = "users" }, function(b)
    for _, user in ipairs(by.crypt) do b:line("user", user, "password", secret.data[user]) end
  end)
  for _, users in ipairs({ by.sha1, by.apr1 }) do
    for _, user in ipairs(users) do out:map_entry(HASHES, list .. ":" .. user, secret.data[user]) end
  end
  if #by.apr1 > 0 then apr1.put(out) end
  local id = list .. "|" .. asked.key
  out:section("frontend http", { order = effects.order.auth, key = "auth " .. id }, function(b)
    local needed = { effects.has("auth"), { "{", "var(txn.auth)", "-m", "str", id, "}" } }
    effects.write(b, "http-request", "auth", "realm", asked.key, "if", needed[1], needed[2], "!{", "var(txn.auth_ok)",
      "-m", "found", "}", "!{", "http_auth(" .. list .. ")", "}")
    effects.write(b, "http-request", "set-var(txn.auth_done)", "bool(true)", "if", needed[1], needed[2])
  end)
end)

effects.declare("auth", {
  place = "auth_before",
  annotations = { "auth_type", "auth_secret", "auth_realm" },
  maps = { MAP, HASHES },
  rules = function(rule, has)
    local function set(name, expression, ...)
      rule("http-request", "set-var(txn." .. name .. ")", expression, "if", has("auth"), ...)
    end
    set("auth", "var(txn.record),map_str(" .. path:map(MAP) .. ")")
    set("auth_user", "http_auth_user")
    set("auth_hash", "var(txn.auth),field(1,|),concat(:,txn.auth_user),map_str(" .. path:map(HASHES) .. ")")
    local has_hash = { "{", "var(txn.auth_hash)", "-m", "beg", "{SHA}", "}" }
    set("auth_sha1", "http_auth_pass,sha1,base64", has_hash)
    set("auth_sha1", "str({SHA}),concat(,txn.auth_sha1)", has_hash)
    set("auth_ok", "bool(true)", has_hash, "{", "var(txn.auth_sha1),secure_memcmp(txn.auth_hash)", "}")
  end,
  judge = function(values, tell)
    local ref, problem = values.auth_secret, nil
    if not values.auth_type and not ref then return end
    if not values.auth_type then
      problem = "auth-secret without auth-type"
    elseif not ref then
      problem = "auth-type without auth-secret"
    elseif watched("secrets") and ref.namespace and not resources.secrets:get(ref.namespace, ref.name) then
      problem = "auth-secret: there is no Secret " .. ref.namespace .. "/" .. ref.name
    end
    if problem then tell(problem .. "; routes without a right value of their own answer 503") end
  end,
  put = function(values, record, _, ing)
    if not values.auth_type and not values.auth_secret then return nil end
    local ref = values.auth_secret
    if not values.auth_type then return nil, "auth-secret without auth-type" end
    if not ref then return nil, "auth-type without auth-secret" end
    local namespace = ing.metadata.namespace
    if ref.namespace and ref.namespace ~= namespace then
      if not record:is_of_administrator("auth_secret") then
        return nil, "auth-secret names a Secret of another namespace"
      end
      namespace = ref.namespace
    end
    if not request_users then return nil, "auth-secret needs secrets among watchedResources" end
    -- Read first: when the Secret may not be read, its former output and this fragment's stay.
    request_users(namespace, ref.name, values.auth_realm)
    local secret = resources.secrets:get(namespace, ref.name)
    local id = namespace .. "/" .. ref.name
    if not secret then return nil, "auth-secret: there is no Secret " .. id end
    if #keys(secret.data or {}) == 0 then return nil, "auth-secret: the Secret " .. id .. " has no users" end
    local told = {}
    local by = sort_users(secret, function(reason, message) told[#told + 1] = { reason, message } end)
    for _, t in ipairs(told) do record.out:warn(t[1], "auth-secret " .. id .. ": " .. t[2]) end
    if #by.crypt + #by.sha1 + #by.apr1 == 0 then
      return nil, "auth-secret: nobody of the Secret " .. id .. " can log in"
    end
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

provide("effects.auth", { sort_users = sort_users, parse_realm = parse_realm, parse_secret = parse_secret })
