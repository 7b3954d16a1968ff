--- http.lua — contents of URLs, which the core fetches.
--
-- This file fetches nothing and does not wait. http:fetch(url, options) reads the object of the kind `fetched` that the
-- core keeps for the URL, and requests it. A request is a read of a place (reads.lua), so it lasts while a fragment or
-- a shared value has requested the URL in its last run. Each request is a fragment of its own. Its only output is the
-- wish (FETCH) with the known content. So the wish is replayed, sealed and withdrawn like any other output.
--
-- A content belongs to a URL and to the owner of the credentials: a URL alone never gives access to content that was
-- fetched with another owner's credentials. Interval and timeout are part of the wish, not of the content.
local emitters = require("haptic.emitters")
local helpers = require("haptic.helpers")
local nearest = require("haptic.nearest")
local sandbox = require("haptic.sandbox")
local word = require("haptic.word")

local M = {}

local type, error, ipairs, setmetatable, tonumber = type, error, ipairs, setmetatable, tonumber
local format, find, match = string.format, string.find, string.match

--- The kind whose objects the core keeps.
M.KIND = "fetched"

local UNITS = { s = 1, m = 60, h = 3600 }
local OPTIONS = { interval = true, timeout = true, max_bytes = true, auth = true, required = true }
local AUTH = { secret = true, bearer = true, username = true, password = true }
local MAX_URL = 2048
--- A content whose output would be longer is not kept across a restart.
local MAX_KEPT = 3 * 1024 * 1024

local Http = {}
Http.__index = Http

--- For a program that has the kind; nil: nothing may be fetched.
---@param fragments table of fragments.lua
---@param digest function(string) → hexadecimal digits
function M.new(fragments, digest)
  local self = setmetatable({ fragments = fragments, digest = digest, kind = fragments.objects.kinds[M.KIND] }, Http)
  if self.kind then
    self.def = fragments:define("http", "fetch", M.KIND, function(object, out) self:wish(object, out) end, nil, true)
  end
  return self
end

--- The output of a wish's fragment.
function Http:wish(object, out)
  local wish = self.fragments.running.wish
  local text = { url = wish.url, credentials = wish.credentials, auth = wish.auth, interval = wish.interval,
    timeout = wish.timeout, max_bytes = wish.max_bytes }
  if object and type(object.content) == "string" and #object.content <= MAX_KEPT then
    text.content, text.etag, text.modified = object.content, object.etag, object.modified
  end
  emitters.put_fetch(out, wish.id, helpers.json_encode(text))
end

local function seconds_of(value, what, default, min, max)
  if value == nil then return default end
  local number, unit = match(sandbox.tostring(value), "^(%d+)([smh])$")
  local seconds = number and tonumber(number) * UNITS[unit]
  if type(value) ~= "string" or not seconds or seconds < min or seconds > max then
    error(format('http:fetch: %s is a duration such as "30s", from %ds to %ds', what, min, max), 4)
  end
  return seconds
end

local function bytes_of(value)
  if value == nil then return 1024 * 1024 end
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > 2 * 1024 * 1024 then
    error("http:fetch: max_bytes is a whole number from 1 to 2097152", 4)
  end
  return value
end

local function key_of(secret, auth, field)
  local key = auth[field]
  if type(key) ~= "string" or helpers.dig(secret, "data", key) == nil then
    error(format("http:fetch: auth.%s is the name of a key of the Secret; it has no %s", field,
      word.show(sandbox.tostring(key))), 5)
  end
  return key
end

--- The Secret and its keys that the core sends, and a name for them.
---@return table|nil auth
---@return string name "" without credentials
local function auth_of(auth)
  if auth == nil then return nil, "" end
  if type(auth) ~= "table" then
    error("http:fetch: auth is {secret = …, bearer = …} or {secret = …, username = …, password = …}", 4)
  end
  nearest.check_fields(auth, AUTH, "http:fetch: auth", 3)
  local secret = auth.secret
  local namespace, name = helpers.dig(secret, "metadata", "namespace"), helpers.dig(secret, "metadata", "name")
  if type(secret) ~= "table" or secret.kind ~= "Secret" or not name then
    error("http:fetch: auth.secret is a Secret, as resources gives it", 4)
  end
  local id = (namespace and namespace .. "/" or "") .. name
  if auth.bearer ~= nil then
    local bearer = key_of(secret, auth, "bearer")
    return { secret = id, bearer = bearer }, id .. ":bearer:" .. bearer
  end
  local username, password = key_of(secret, auth, "username"), key_of(secret, auth, "password")
  return { secret = id, username = username, password = password }, id .. ":basic:" .. username .. ":" .. password
end

--- Requests a content while the present reader does so in its last run.
local function ask(self, wish)
  local F, def = self.fragments, self.def
  if not F.tracker.list then return end -- an explanation, or the second of two compared runs
  local request = format("%s/%d,%d,%d", wish.id, wish.interval, wish.timeout, wish.max_bytes)
  local f = def.by_owner[request]
  if not f then
    f = F:add(def, nil, request)
    f.wish = wish
  end
  F.tracker:record(def.asked, request)
end

--- The object for a URL. An object in a file that does not name the owner of credentials is for all owners.
local function object_for(self, url, credentials)
  for _, object in ipairs(self.accessor:fetch(url)) do
    if object.credentials == nil or object.credentials == credentials then return object end
  end
  return nil
end

--- The content of a URL; or nil, and the reason why there is none.
---@param url string
---@param options table|nil {interval=, timeout=, max_bytes=, auth=, required=}
function Http:fetch(url, options)
  options = options or {}
  if type(url) ~= "string" or url == "" or #url > MAX_URL or find(url, "[%c%s\127-\255\\#]") then
    error("http:fetch: expected a URL without blanks and \"#\", got " .. word.show(sandbox.tostring(url)), 3)
  end
  if type(options) ~= "table" then error("http:fetch: the options are a table", 3) end
  nearest.check_fields(options, OPTIONS, "http:fetch: options", 2)
  local auth, credentials = auth_of(options.auth)
  local wish = { url = url, auth = auth, credentials = credentials, id = self.digest(url .. "\n" .. credentials),
    interval = seconds_of(options.interval, "interval", 300, 1, 86400),
    timeout = seconds_of(options.timeout, "timeout", 10, 1, 60), max_bytes = bytes_of(options.max_bytes) }
  if not self.kind then
    error("http:fetch: nothing may be fetched; add the beginning of the URL to templatingSettings.httpFetch.allow", 3)
  end
  local F = self.fragments
  if not (F.out or F.tracker.list) then
    error("http:fetch is for when functions run, not for the time a script loads", 3)
  end
  ask(self, wish)
  local object = object_for(self, url, credentials)
  if object and type(object.content) == "string" then return object.content end
  local why = object and object.message or "not fetched yet"
  if options.required then error(format("http:fetch: %s: %s", match(url, "^[^?]*"), why), 3) end
  return nil, why
end

--- What templates see.
function Http:api()
  if self.kind then self.accessor = self.fragments.objects:accessor(self.kind) end
  return sandbox.frozen({
    fetch = function(accessor, url, options)
      if type(accessor) ~= "table" then error("http:fetch: write http:fetch(…) with a \":\", not with a \".\"", 2) end
      return self:fetch(url, options)
    end,
  }, "http")
end

return M
